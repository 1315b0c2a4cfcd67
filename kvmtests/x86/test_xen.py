# SPDX-License-Identifier: GPL-2.0-only
"""Clocks of Xen guests: the wall clock in the shared page, pvclock in vcpu_info and vcpu_time_info.

Source: Documentation/virt/kvm/api.rst, KVM_XEN_HVM_SET_ATTR to KVM_XEN_VCPU_GET_ATTR; arch/x86/kvm/xen.c;
include/xen/interface/xen.h.
"""

from __future__ import annotations

import ctypes
import errno

import pytest

from fixtures.counters import NSEC_PER_SEC, Window
from fixtures.guests import layout
from fixtures.kvm.errors import CapabilityMissing
from fixtures.kvm.expect import refused
from fixtures.kvm.handle import BAD_ADDRESS
from fixtures.kvm.spans import spanned
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.uapi.x86 import kvm_xen as xen
from fixtures.uapi.x86.pvclock import (
    PVCLOCK_GUEST_STOPPED,
    PVCLOCK_TSC_STABLE_BIT,
    pvclock_vcpu_time_info,
)
from kvmtests.x86.clocks import MARGIN_NS, epoch_window
from kvmtests.x86.xen import (
    PLACES,
    VCPU_INFO,
    configure,
    enter,
    get_vcpu,
    get_vm,
    pvclock_at,
    require_xen,
    set_vcpu,
    set_vm,
    share,
    shared_page,
)

pytestmark = [pytest.mark.promise(de_facto="Linux 6.1 to 7.3"), pytest.mark.thorough]

OUTSIDE_OF_MEMORY = 0x7000_0000
UNKNOWN_TYPE = 0x77

MODES = pytest.mark.parametrize("long_mode", [pytest.param(1, id="64-bit"), pytest.param(0, id="32-bit")])
KINDS = pytest.mark.parametrize(
    "kind",
    [
        pytest.param(xen.KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO, id="vcpu-info"),
        pytest.param(xen.KVM_XEN_VCPU_ATTR_TYPE_VCPU_TIME_INFO, id="vcpu-time-info"),
    ],
)


@pytest.fixture(autouse=True)
def offered(vm: X86Vm) -> int:
    """The flags of what KVM offers to Xen guests; the VM is configured as one."""
    return require_xen(vm)


@pytest.mark.promise(architectural="Xen public headers, struct shared_info: wc_sec and wc_nsec")
@MODES
@pytest.mark.parametrize(
    "kvmclock_ns", [pytest.param(0, id="new"), pytest.param(1000 * NSEC_PER_SEC, id="old")]
)
def test_wall_clock_and_kvmclock_make_realtime(
    vm: X86Vm, vcpu: X86Vcpu, long_mode: int, kvmclock_ns: int
) -> None:
    """The shared page's wall clock is CLOCK_REALTIME - kvmclock; its version is even and not 0."""
    vcpu.guest.read_tsc()
    vm.set_clock(kvmclock_ns)

    written, _ = spanned(vm.time, lambda: share(vm, long_mode))

    page = shared_page(vm, long_mode)
    epoch_ns = (page.wc_sec_hi << 32 | page.wc.sec) * NSEC_PER_SEC + page.wc.nsec
    assert epoch_ns in epoch_window(vm, written)
    assert page.wc.nsec < NSEC_PER_SEC
    assert (page.wc.version > 0, page.wc.version % 2) == (True, 0)


@pytest.mark.promise(
    documented="Documentation/virt/kvm/api.rst, KVM_XEN_HVM_SET_ATTR: KVM_XEN_ATTR_TYPE_LONG_MODE"
)
def test_wall_clock_is_written_again_with_the_mode(vm: X86Vm) -> None:
    """A guest that turns out to be a 64-bit one gets its wall clock where 64-bit guests look for it."""
    share(vm, 0)
    assert not shared_page(vm, 1).wc.version

    set_vm(vm, xen.KVM_XEN_ATTR_TYPE_LONG_MODE, 1)

    assert shared_page(vm, 1).wc.version == 2
    assert shared_page(vm, 1).wc.sec == shared_page(vm, 0).wc.sec


@pytest.mark.promise(architectural="Xen public headers, struct vcpu_time_info")
@pytest.mark.usefixtures("stable_tsc")
@KINDS
def test_xen_guest_reads_kvmclock(vcpu: X86Vcpu, kind: int) -> None:
    """A Xen guest's record holds the line of kvmclock's own record; its version is even and not 0."""
    vcpu.guest.enable_kvmclock()
    vcpu.vm.set_clock(1000 * NSEC_PER_SEC)

    record = enter(vcpu, kind)

    reading = vcpu.guest.read_kvmclock()
    own = vcpu.guest.pvclock()
    assert record.kvmclock_ns(reading.tsc) == reading.kvmclock_ns
    assert (record.tsc_to_system_mul, record.tsc_shift) == (own.tsc_to_system_mul, own.tsc_shift)
    assert (record.version > 0, record.version % 2) == (True, 0)


@pytest.mark.usefixtures("tsc_clocksource", "stable_tsc")
@pytest.mark.parametrize("parted", [pytest.param(0, id="together"), pytest.param(10**12, id="parted")])
@KINDS
def test_padding_of_the_record_is_zero(vcpus: list[X86Vcpu], kind: int, parted: int) -> None:
    """KVM clears the padding at the end of a record, whatever lay there, in either mode of its clock."""
    vcpus[1].tsc_offset = vcpus[1].tsc_offset + parted
    vcpu = vcpus[0]
    at = PLACES[kind][1]
    record = pvclock_vcpu_time_info.from_buffer(vcpu.vm.memory, at)
    vcpu.vm.memory[at : at + ctypes.sizeof(record)] = b"\xff" * ctypes.sizeof(record)

    enter(vcpu, kind)

    assert bytes(record.pad) == bytes(2)


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_SET_CLOCK")
@KINDS
def test_set_clock_reaches_the_xen_guest(vm: X86Vm, vcpu: X86Vcpu, kind: int) -> None:
    """After KVM_SET_CLOCK and an entry the record shows the new time."""
    enter(vcpu, kind)

    span, _ = spanned(vm.time, lambda: vm.set_clock(1000 * NSEC_PER_SEC))

    reading_span, reading = spanned(vm.time, vcpu.guest.read_tsc)
    elapsed = span.until(reading_span)
    assert pvclock_at(vcpu, kind).kvmclock_ns(reading.value) in elapsed.shifted(1000 * NSEC_PER_SEC).widened(
        MARGIN_NS
    )


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_XEN_VCPU_SET_ATTR")
@KINDS
def test_each_vcpu_has_its_own_record(vcpus: list[X86Vcpu], kind: int) -> None:
    """A vCPU without an address gets no record written, and its entries do not write another vCPU's."""
    first, second = vcpus
    enter(first, kind)
    before = pvclock_at(first, kind)

    second.guest.read_tsc()

    assert get_vcpu(second, kind) == xen.KVM_XEN_INVALID_GPA
    assert pvclock_at(first, kind) == before


@pytest.mark.promise(architectural="Xen public headers, struct vcpu_time_info")
@KINDS
def test_stopped_flag_is_not_for_xen_guests(vcpu: X86Vcpu, kind: int) -> None:
    """KVM_KVMCLOCK_CTRL marks the guest as stopped in kvmclock's record, and not in Xen's."""
    vcpu.guest.enable_kvmclock()
    enter(vcpu, kind)

    vcpu.kvmclock_ctrl()
    vcpu.guest.read_tsc()

    assert vcpu.guest.pvclock().flags & PVCLOCK_GUEST_STOPPED
    assert not pvclock_at(vcpu, kind).flags & PVCLOCK_GUEST_STOPPED


@pytest.mark.promise(
    documented="Documentation/virt/kvm/api.rst, KVM_CAP_XEN_HVM: KVM_XEN_HVM_CONFIG_PVCLOCK_TSC_UNSTABLE"
)
@pytest.mark.usefixtures("tsc_clocksource")
@KINDS
def test_stable_flag_can_be_kept_from_xen_guests(vm: X86Vm, vcpu: X86Vcpu, kind: int, offered: int) -> None:
    """KVM_XEN_HVM_CONFIG_PVCLOCK_TSC_UNSTABLE clears the stable flag in Xen's records, not in kvmclock's."""
    if not offered & xen.KVM_XEN_HVM_CONFIG_PVCLOCK_TSC_UNSTABLE:
        raise CapabilityMissing("KVM_XEN_HVM_CONFIG_PVCLOCK_TSC_UNSTABLE in KVM_CAP_XEN_HVM")
    vcpu.guest.enable_kvmclock()
    vm.set_clock(0)
    assert enter(vcpu, kind).flags & PVCLOCK_TSC_STABLE_BIT

    configure(vm, xen.KVM_XEN_HVM_CONFIG_PVCLOCK_TSC_UNSTABLE)
    vm.set_clock(0)
    vcpu.guest.read_tsc()

    assert not pvclock_at(vcpu, kind).flags & PVCLOCK_TSC_STABLE_BIT
    assert vcpu.guest.pvclock().flags & PVCLOCK_TSC_STABLE_BIT


@pytest.mark.usefixtures("tsc_clocksource")
def test_shared_page_does_not_move_kvmclock(vm: X86Vm, vcpu: X86Vcpu) -> None:
    """Giving the guest its shared page leaves kvmclock where it was for any guest TSC."""
    vcpu.guest.enable_kvmclock()
    vm.set_clock(1000 * NSEC_PER_SEC)
    vcpu.guest.read_tsc()
    before = vcpu.guest.pvclock()

    share(vm)

    reading = vcpu.guest.read_kvmclock()
    expected = before.kvmclock_ns(reading.tsc)
    assert reading.kvmclock_ns in Window(expected, expected).widened(MARGIN_NS)


@pytest.mark.promise(
    de_facto="the proposals since 2024",
    began='633d7652f80f ("KVM: x86/xen: Do not corrupt KVM clock in kvm_xen_shared_info_init()")',
)
@pytest.mark.since("xen_page_keeps_the_snapshot")
@pytest.mark.usefixtures("tsc_clocksource")
def test_shared_page_takes_no_snapshot(vm: X86Vm, vcpu: X86Vcpu) -> None:
    """Giving the guest its shared page, however late, leaves the line in its pvclock record as it is."""
    vcpu.guest.enable_kvmclock()
    vcpu.guest.read_tsc()
    vm.time.sleep_ns(NSEC_PER_SEC // 20)
    before = vcpu.guest.pvclock()

    share(vm)

    vcpu.guest.read_tsc()
    after = vcpu.guest.pvclock()
    assert after.line == before.line


@pytest.mark.promise(
    de_facto="the proposals since 2024",
    began='633d7652f80f ("KVM: x86/xen: Do not corrupt KVM clock in kvm_xen_shared_info_init()")',
)
@pytest.mark.since("xen_page_keeps_the_snapshot")
@pytest.mark.usefixtures("tsc_clocksource")
@KINDS
def test_shared_page_leaves_the_xen_record(vm: X86Vm, vcpu: X86Vcpu, kind: int) -> None:
    """A Xen guest that is given its shared page late has the line in its record that it had before."""
    before = enter(vcpu, kind)
    vm.time.sleep_ns(NSEC_PER_SEC // 20)

    share(vm)
    vcpu.guest.read_tsc()

    assert pvclock_at(vcpu, kind).line == before.line


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_XEN_VCPU_SET_ATTR")
@KINDS
def test_unregistered_record_is_left_alone(vm: X86Vm, vcpu: X86Vcpu, kind: int) -> None:
    """After the address was taken back KVM does not write the record again."""
    before = enter(vcpu, kind)

    set_vcpu(vcpu, kind, xen.KVM_XEN_INVALID_GPA)
    vm.set_clock(1000 * NSEC_PER_SEC)
    vcpu.guest.read_tsc()

    assert pvclock_at(vcpu, kind) == before


@KINDS
def test_record_outside_of_memory_is_refused(vcpu: X86Vcpu, kind: int) -> None:
    """An address outside of all memory is refused with EFAULT."""
    with refused(errno.EFAULT):
        set_vcpu(vcpu, kind, OUTSIDE_OF_MEMORY)


def test_shared_page_outside_of_memory_is_refused(vm: X86Vm) -> None:
    """A shared page outside of all memory is refused with EFAULT."""
    with refused(errno.EFAULT):
        set_vm(vm, xen.KVM_XEN_ATTR_TYPE_SHARED_INFO, OUTSIDE_OF_MEMORY // layout.PAGE_SIZE)


def test_unaligned_vcpu_info_is_refused(vcpu: X86Vcpu) -> None:
    """vcpu_info at an address that is not a multiple of 4 is refused with ENXIO, and none is set."""
    kind = xen.KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO

    with refused(errno.ENXIO):
        set_vcpu(vcpu, kind, VCPU_INFO + 2)

    assert get_vcpu(vcpu, kind) == xen.KVM_XEN_INVALID_GPA


@pytest.mark.parametrize("distance", [1, 2, 3], ids="{}-bytes".format)
def test_refused_vcpu_info_leaves_the_one_before(vcpu: X86Vcpu, distance: int) -> None:
    """After an unaligned address was refused, KVM continues to write the record at the address before it."""
    kind = xen.KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO
    before = enter(vcpu, kind)

    with refused(errno.ENXIO):
        set_vcpu(vcpu, kind, VCPU_INFO + layout.PAGE_SIZE // 2 + distance)

    assert get_vcpu(vcpu, kind) == VCPU_INFO
    vcpu.vm.set_clock(1000 * NSEC_PER_SEC)
    vcpu.guest.read_tsc()
    assert pvclock_at(vcpu, kind).version > before.version


def test_unknown_attributes_do_not_exist(vm: X86Vm, vcpu: X86Vcpu) -> None:
    """Attributes of an unknown type are refused with ENOENT, for VM and vCPU."""
    with refused(errno.ENOENT):
        set_vm(vm, UNKNOWN_TYPE, 0)
    with refused(errno.ENOENT):
        get_vm(vm, UNKNOWN_TYPE)
    with refused(errno.ENOENT):
        set_vcpu(vcpu, UNKNOWN_TYPE, 0)
    with refused(errno.ENOENT):
        get_vcpu(vcpu, UNKNOWN_TYPE)


def test_unknown_flag_of_the_configuration_is_refused(vm: X86Vm) -> None:
    """KVM_XEN_HVM_CONFIG refuses a flag that cannot be enabled with EINVAL."""
    with refused(errno.EINVAL):
        configure(vm, 1 << 31)


def test_bad_pointers_are_refused(vm: X86Vm, vcpu: X86Vcpu) -> None:
    """Structures that cannot be read are refused with EFAULT."""
    for request in (xen.KVM_XEN_HVM_CONFIG, xen.KVM_XEN_HVM_SET_ATTR, xen.KVM_XEN_HVM_GET_ATTR):
        with refused(errno.EFAULT):
            vm.handle.call(request, BAD_ADDRESS)
    for request in (xen.KVM_XEN_VCPU_SET_ATTR, xen.KVM_XEN_VCPU_GET_ATTR):
        with refused(errno.EFAULT):
            vcpu.handle.call(request, BAD_ADDRESS)
