# SPDX-License-Identifier: GPL-2.0-only
"""What KVM shares of one vCPU, looked at all the while by the guest of another one that never leaves.

A guest may read another vCPU's areas at any time: Linux does so for steal time, and its vDSO reads the
first vCPU's clock on all CPUs. It must never take half of an update for a content.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from fixtures.counters import NSEC_PER_SEC
from fixtures.guests import layout
from fixtures.kvm.meanwhile import await_readings
from fixtures.kvm.run_delay import RunDelay
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.kvm.x86.watching import (
    SharedArea,
    SharedContent,
    flags_of,
    record_at,
    reference_tsc_page,
    steal_time_of,
    wall_clock_at,
    watched,
)
from fixtures.uapi import kvm as uapi
from fixtures.uapi.x86 import kvm_xen as xen
from fixtures.uapi.x86.kvm_para import (
    KVM_MSR_ENABLED,
    MSR_KVM_STEAL_TIME,
    MSR_KVM_SYSTEM_TIME_NEW,
    MSR_KVM_WALL_CLOCK_NEW,
)
from fixtures.uapi.x86.msr_index import HV_X64_MSR_REFERENCE_TSC, HV_X64_MSR_TSC_REFERENCE_ENABLE
from fixtures.uapi.x86.pvclock import PVCLOCK_GUEST_STOPPED
from fixtures.uapi.x86.xen import compat_shared_info, shared_info
from kvmtests.x86.clocks import enter_all
from kvmtests.x86.hyperv import enlighten, require_hyperv
from kvmtests.x86.xen import PLACES, SHARED_INFO, require_xen, set_vcpu, set_vm, share

pytestmark = [pytest.mark.thorough, pytest.mark.usefixtures("tsc_clocksource", "stable_tsc")]

CLOCKS_NS = [seconds * NSEC_PER_SEC + nanoseconds for seconds, nanoseconds in ((9000, 1), (20, 2), (5000, 3))]
SLOW_LIMIT_S = 30.0  # giving others their turn takes seconds where there are many
VERSION = "Documentation/virt/kvm/x86/msr.rst, MSR_KVM_SYSTEM_TIME_NEW: version"


@dataclass(frozen=True, slots=True)
class WatchedArea:
    """What KVM writes for a vCPU, how user space has it begin and end, and how it is written again."""

    area: Callable[[X86Vcpu], SharedArea]
    register: Callable[[X86Vcpu], None]
    remove: Callable[[X86Vcpu], None]
    update: Callable[[X86Vcpu], None]


def enter(vcpu: X86Vcpu) -> None:
    """Let the guest run, which has what is due written."""
    vcpu.guest.read_tsc()


def nothing(_vcpu: X86Vcpu) -> None:
    """Do nothing: what is written at a call is not registered."""


def msr(index: int, value: Callable[[X86Vcpu], int]) -> Callable[[X86Vcpu], None]:
    """Return the call by which user space writes *value* to an MSR."""
    return lambda vcpu: vcpu.set_msr(index, value(vcpu))


def xen_record(kind: int) -> WatchedArea:
    """Return a Xen guest's record in one of its two places."""

    def register(vcpu: X86Vcpu) -> None:
        require_xen(vcpu.vm)
        set_vcpu(vcpu, kind, PLACES[kind][0])

    return WatchedArea(
        lambda _: record_at(PLACES[kind][1]),
        register,
        lambda vcpu: set_vcpu(vcpu, kind, xen.KVM_XEN_INVALID_GPA),
        enter,
    )


def xen_wall_clock(long_mode: int) -> WatchedArea:
    """Return the wall clock in a Xen guest's shared page."""
    structure = shared_info if long_mode else compat_shared_info

    def register(vcpu: X86Vcpu) -> None:
        require_xen(vcpu.vm)
        share(vcpu.vm, long_mode)

    def update(vcpu: X86Vcpu) -> None:
        set_vm(vcpu.vm, xen.KVM_XEN_ATTR_TYPE_SHARED_INFO, SHARED_INFO // layout.PAGE_SIZE)

    return WatchedArea(lambda _: wall_clock_at(SHARED_INFO + structure.wc.offset), register, nothing, update)


def enable_page(vcpu: X86Vcpu) -> None:
    """Let user space enable Hyper-V's reference TSC page, as after a migration."""
    require_hyperv(vcpu.vm)
    enlighten(vcpu)
    vcpu.set_msr(HV_X64_MSR_REFERENCE_TSC, layout.REFERENCE_TSC_PAGE | HV_X64_MSR_TSC_REFERENCE_ENABLE)


KVMCLOCK = WatchedArea(
    lambda vcpu: record_at(layout.pvclock(vcpu.id)),
    msr(MSR_KVM_SYSTEM_TIME_NEW, lambda vcpu: layout.pvclock(vcpu.id) | KVM_MSR_ENABLED),
    msr(MSR_KVM_SYSTEM_TIME_NEW, lambda _: 0),
    enter,
)
WALL_CLOCK = WatchedArea(
    lambda _: wall_clock_at(layout.WALL_CLOCK),
    nothing,
    nothing,
    msr(MSR_KVM_WALL_CLOCK_NEW, lambda _: layout.WALL_CLOCK),
)
STEAL_TIME = WatchedArea(
    steal_time_of,
    msr(MSR_KVM_STEAL_TIME, lambda vcpu: layout.steal_time(vcpu.id) | KVM_MSR_ENABLED),
    msr(MSR_KVM_STEAL_TIME, lambda _: 0),
    enter,
)
REFERENCE_TSC = WatchedArea(
    lambda _: reference_tsc_page(), enable_page, msr(HV_X64_MSR_REFERENCE_TSC, lambda _: 0), enter
)
RECORDS = [
    pytest.param(KVMCLOCK, id="kvmclock"),
    pytest.param(REFERENCE_TSC, id="hyper-v"),
    pytest.param(xen_record(xen.KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO), id="xen-vcpu-info"),
    pytest.param(xen_record(xen.KVM_XEN_VCPU_ATTR_TYPE_VCPU_TIME_INFO), id="xen-time-info"),
]
WALL_CLOCKS = [
    pytest.param(WALL_CLOCK, id="wall-clock"),
    pytest.param(xen_wall_clock(1), id="xen-wall-clock"),
    pytest.param(xen_wall_clock(0), id="xen-wall-clock-32-bit"),
]


def prepared(vcpus: list[X86Vcpu], subject: WatchedArea) -> None:
    """Register *subject* on the first of *vcpus*, and enter both until nothing is due any more."""
    subject.register(vcpus[0])
    enter_all(vcpus)
    enter_all(vcpus)


def finished(area: SharedArea, contents: list[SharedContent]) -> list[SharedContent]:
    """Return *contents* without those that Hyper-V's page says do not hold."""
    return [content for content in contents if area.odd_is_unfinished or content.version]


def versions_repeat(contents: list[SharedContent]) -> set[int]:
    """Return the versions that stand for more than one content."""
    first: dict[int, SharedContent] = {}
    return {each.version for each in contents if first.setdefault(each.version, each) != each}


@pytest.mark.promise(documented=VERSION)
@pytest.mark.parametrize("subject", [*RECORDS, *WALL_CLOCKS])
def test_watcher_finds_whole_contents(vm: X86Vm, vcpus: list[X86Vcpu], subject: WatchedArea) -> None:
    """All that a second vCPU finds lay there between two updates, under a version that nothing else had."""
    written, reader = vcpus
    prepared(vcpus, subject)
    subject.update(written)
    area = subject.area(written)
    at_rest = [area.content(vm)]

    def work() -> None:
        for clock_ns in CLOCKS_NS:
            vm.set_clock(clock_ns)
            subject.update(written)
            at_rest.append(area.content(vm))

    found = finished(area, watched(reader, area, work))

    assert [content for content in found if content not in at_rest] == []
    assert (found[0], found[-1]) == (at_rest[0], at_rest[-1])
    assert versions_repeat(found) == set()


@pytest.mark.promise(documented="Documentation/virt/kvm/x86/msr.rst, MSR_KVM_STEAL_TIME")
def test_watched_steal_time_grows(vcpus: list[X86Vcpu], run_delay: RunDelay) -> None:
    """A second vCPU finds steal time that never becomes less, each value under a version of its own."""
    written, reader = vcpus
    written.vm.require(uapi.KVM_CAP_STEAL_TIME)
    prepared(vcpus, STEAL_TIME)
    reader.run_limit_s = SLOW_LIMIT_S

    def work() -> None:
        for _ in range(3):
            run_delay.wait()
            enter(written)
            await_readings(reader, reader.guest.readings_so_far, 2)

    found = watched(reader, steal_time_of(written), work)

    steal_ns = [content.words[0] for content in (*found, steal_time_of(written).content(written.vm))]
    assert steal_ns == sorted(steal_ns)
    assert versions_repeat(found) == set()


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_KVMCLOCK_CTRL")
def test_stop_is_announced_whole(vm: X86Vm, vcpus: list[X86Vcpu]) -> None:
    """A second vCPU finds KVM_KVMCLOCK_CTRL's flag once, in a record that is otherwise as before."""
    vm.require(uapi.KVM_CAP_KVMCLOCK_CTRL)
    written, reader = vcpus
    prepared(vcpus, KVMCLOCK)

    def work() -> None:
        written.kvmclock_ctrl()
        enter(written)

    found = watched(reader, KVMCLOCK.area(written), work)

    assert [flags_of(content) & PVCLOCK_GUEST_STOPPED for content in found] == [0, PVCLOCK_GUEST_STOPPED]
    before, after = found
    assert after.words[:2] == before.words[:2]
    assert after.words[2] - before.words[2] == PVCLOCK_GUEST_STOPPED << 40
    assert after.version != before.version


@pytest.mark.promise(de_facto="Linux 6.12 to 7.3")
@pytest.mark.parametrize("subject", RECORDS)
def test_registered_area_appears_whole(vm: X86Vm, vcpus: list[X86Vcpu], subject: WatchedArea) -> None:
    """What user space registers under a watching vCPU is there from the entry on, and from then on whole."""
    written, reader = vcpus
    area = subject.area(written)
    at_rest = []

    def work() -> None:
        subject.register(written)
        at_rest.append(area.content(vm))
        for _ in range(2):
            enter(written)
            at_rest.append(area.content(vm))

    enter(reader)
    found = watched(reader, area, work)

    assert at_rest[0] == SharedContent(0, (0, 0, 0))
    assert at_rest[1].words != at_rest[0].words
    assert [content for content in finished(area, found) if content not in at_rest] == []


@pytest.mark.promise(de_facto="Linux 6.12 to 7.3")
@pytest.mark.parametrize("subject", [*RECORDS, pytest.param(STEAL_TIME, id="steal-time")])
def test_removed_area_is_not_written(vm: X86Vm, vcpus: list[X86Vcpu], subject: WatchedArea) -> None:
    """What user space takes away under a watching vCPU stays as it was, whatever else changes."""
    written, reader = vcpus
    prepared(vcpus, subject)
    before = subject.area(written).content(vm)

    def work() -> None:
        subject.remove(written)
        for clock_ns in CLOCKS_NS:
            vm.set_clock(clock_ns)
            enter(written)

    found = watched(reader, subject.area(written), work)

    assert before.version != 0
    assert found == [before]
