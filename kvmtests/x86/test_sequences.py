# SPDX-License-Identifier: GPL-2.0-only
"""Versions of all that KVM shares with guests as a clock: a content that is new has a version that is new.

A reader that begins before several updates and ends after them must notice, so a version may not come
again once the content has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from fixtures.counters import NSEC_PER_SEC
from fixtures.guests import layout
from fixtures.kvm.run_delay import RunDelay
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.uapi import kvm as uapi
from fixtures.uapi.x86 import kvm_para, kvm_xen
from fixtures.uapi.x86.pvclock import PVCLOCK_GUEST_STOPPED
from kvmtests.x86.hyperv import enlighten, require_hyperv
from kvmtests.x86.xen import PLACES, pvclock_at, require_xen, set_vcpu, share, shared_page

pytestmark = [pytest.mark.thorough, pytest.mark.usefixtures("tsc_clocksource")]

CLOCKS_NS = [seconds * NSEC_PER_SEC for seconds in (1000, 0, 5000, 1000, 2**31)]
Content = tuple[int, object]
"""A version or sequence, and all else of the structure."""


def versions_repeat(contents: Iterable[Content]) -> set[int]:
    """Return the versions that stand for more than one content."""
    first: dict[int, object] = {}
    return {version for version, body in contents if first.setdefault(version, body) != body}


def updates(vcpu: X86Vcpu, look: Callable[[], Content]) -> list[Content]:
    """Return what *look* finds after each of several KVM_SET_CLOCK and the next entry."""
    found = []
    for clock_ns in CLOCKS_NS:
        vcpu.vm.set_clock(clock_ns)
        vcpu.guest.read_tsc()
        found.append(look())
    return found


@pytest.mark.promise(documented="Documentation/virt/kvm/x86/msr.rst, MSR_KVM_SYSTEM_TIME_NEW: version")
def test_record_of_kvmclock(vcpu: X86Vcpu) -> None:
    """Each new line in kvmclock's record has a version that no other line had."""
    vcpu.guest.enable_kvmclock()

    contents = updates(vcpu, lambda: _record(vcpu))

    assert len({body for _, body in contents}) > 1
    assert versions_repeat(contents) == set()


@pytest.mark.promise(documented="Documentation/virt/kvm/x86/msr.rst, MSR_KVM_SYSTEM_TIME_NEW: version")
def test_flag_of_kvmclocks_record(vcpu: X86Vcpu) -> None:
    """Flags that KVM_KVMCLOCK_CTRL changes, on a line that stays, have a version of their own."""
    vcpu.vm.require(uapi.KVM_CAP_KVMCLOCK_CTRL)
    vcpu.guest.enable_kvmclock()
    vcpu.guest.read_tsc()
    before = vcpu.guest.pvclock()

    vcpu.kvmclock_ctrl()
    vcpu.guest.read_tsc()
    after = vcpu.guest.pvclock()

    assert after.line == before.line
    assert after.flags == before.flags | PVCLOCK_GUEST_STOPPED != before.flags
    assert after.version != before.version


@pytest.mark.promise(documented="Documentation/virt/kvm/x86/msr.rst, MSR_KVM_WALL_CLOCK_NEW: version")
def test_wall_clock(vcpu: X86Vcpu) -> None:
    """Each wall clock that the guest has written again has a version that no other one had."""

    def look() -> Content:
        clock = vcpu.guest.write_wall_clock()
        return clock.version, (clock.sec, clock.nsec)

    contents = updates(vcpu, look)

    assert len({body for _, body in contents}) > 1
    assert versions_repeat(contents) == set()


@pytest.mark.promise(documented="Documentation/virt/kvm/x86/msr.rst, MSR_KVM_STEAL_TIME: version")
def test_steal_time(vcpu: X86Vcpu, run_delay: RunDelay) -> None:
    """Steal time that has grown has a version that no other value had."""
    vcpu.vm.require(uapi.KVM_CAP_STEAL_TIME)
    vcpu.guest.wrmsr(kvm_para.MSR_KVM_STEAL_TIME, layout.steal_time(vcpu.id) | kvm_para.KVM_MSR_ENABLED)
    contents: list[Content] = []

    for _ in range(4):
        run_delay.wait()
        vcpu.guest.read_tsc()
        steal = vcpu.guest.steal_time()
        contents.append((steal.version, steal.steal_ns))

    assert versions_repeat(contents) == set()


@pytest.mark.promise(architectural="Hyper-V TLFS, Partition Reference TSC Mechanism: TscSequence")
def test_reference_tsc_page(vcpu: X86Vcpu) -> None:
    """Each new content of Hyper-V's reference TSC page has a sequence that no other one had, and not 0."""
    require_hyperv(vcpu.vm)
    enlighten(vcpu)
    vcpu.guest.enable_reference_tsc()

    def look() -> Content:
        page = vcpu.guest.reference_tsc_page()
        return page.sequence, (page.scale, page.offset)

    contents = updates(vcpu, look)

    assert len({body for _, body in contents}) > 1
    assert versions_repeat(contents) == set()
    assert 0 not in {sequence for sequence, _ in contents}


@pytest.mark.promise(architectural="Xen public headers, struct vcpu_time_info: version")
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kvm_xen.KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO, id="vcpu-info"),
        pytest.param(kvm_xen.KVM_XEN_VCPU_ATTR_TYPE_VCPU_TIME_INFO, id="vcpu-time-info"),
    ],
)
def test_record_of_a_xen_guest(vcpu: X86Vcpu, kind: int) -> None:
    """Each new line in a Xen guest's record has a version that no other line had."""
    require_xen(vcpu.vm)
    set_vcpu(vcpu, kind, PLACES[kind][0])

    def look() -> Content:
        record = pvclock_at(vcpu, kind)
        return record.version, record.line

    contents = updates(vcpu, look)

    assert len({body for _, body in contents}) > 1
    assert versions_repeat(contents) == set()


@pytest.mark.promise(architectural="Xen public headers, struct vcpu_time_info")
def test_both_records_of_a_xen_guest_are_one_line(vcpu: X86Vcpu) -> None:
    """A Xen guest that has registered both of its records finds one line in them, after each update."""
    require_xen(vcpu.vm)
    for kind, (address, _) in PLACES.items():
        set_vcpu(vcpu, kind, address)

    for clock_ns in CLOCKS_NS:
        vcpu.vm.set_clock(clock_ns)
        vcpu.guest.read_tsc()
        first, second = (pvclock_at(vcpu, kind) for kind in PLACES)
        assert first.line == second.line


@pytest.mark.promise(architectural="Xen public headers, struct shared_info: wc_version")
@pytest.mark.parametrize("long_mode", [pytest.param(1, id="64-bit"), pytest.param(0, id="32-bit")])
def test_wall_clock_of_a_xen_guest(vcpu: X86Vcpu, long_mode: int) -> None:
    """Each wall clock in a Xen guest's shared page has a version that no other one had."""
    require_xen(vcpu.vm)

    def look() -> Content:
        share(vcpu.vm, long_mode)
        page = shared_page(vcpu.vm, long_mode)
        return page.wc.version, (page.wc.sec, page.wc.nsec)

    contents = updates(vcpu, look)

    assert len({body for _, body in contents}) > 1
    assert versions_repeat(contents) == set()


def _record(vcpu: X86Vcpu) -> Content:
    record = vcpu.guest.pvclock()
    return record.version, (record.line, record.flags)
