# SPDX-License-Identifier: GPL-2.0-only
"""What is set to another value and back is as at first: values, what KVM writes by them, and rates."""

from __future__ import annotations

import pytest

from fixtures.counters import NSEC_PER_MSEC, NSEC_PER_SEC
from fixtures.guests import layout
from fixtures.kvm.errors import MsrRefused
from fixtures.kvm.run_delay import RunDelay
from fixtures.kvm.x86.cpuid import cpuid_without
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.uapi import kvm as uapi
from fixtures.uapi.x86 import kvm_para, kvm_xen, msr_index
from kvmtests.frames import differing
from kvmtests.x86.frames import OF_A_VCPU, OF_THE_VM, frame
from kvmtests.x86.hyperv import enlighten, require_hyperv
from kvmtests.x86.xen import require_xen, set_vm, share, shared_page

pytestmark = [
    pytest.mark.promise(de_facto="Linux 5.10 to 7.3"),
    pytest.mark.thorough,
    pytest.mark.usefixtures("stable_tsc"),
]

OTHER_PAGE = layout.SAMPLES  # where no program here leaves samples


def write_back(vcpu: X86Vcpu) -> None:
    """Write what KVM_GET_MSRS reads of all MSRs about time, as a VMM does that saves and restores."""
    for index in (*OF_THE_VM, *OF_A_VCPU):
        try:
            vcpu.set_msr(index, vcpu.get_msr(index))
        except MsrRefused:
            continue


@pytest.fixture
def timed(vm: X86Vm, vcpu: X86Vcpu) -> X86Vcpu:
    """vCPU 0 with kvmclock, wall clock and steal time."""
    vm.require(uapi.KVM_CAP_CLOCKSOURCE)
    vcpu.guest.enable_kvmclock()
    vcpu.guest.write_wall_clock()
    if vm.check_extension(uapi.KVM_CAP_STEAL_TIME):
        vcpu.set_msr(kvm_para.MSR_KVM_STEAL_TIME, layout.steal_time(0) | kvm_para.KVM_MSR_ENABLED)
    vcpu.guest.read_tsc()
    return vcpu


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_SET_MSRS")
def test_what_is_read_can_be_written_back(vm: X86Vm, timed: X86Vcpu) -> None:
    """MSRs about time that are read and written back read as before, and no clock has moved."""
    vm.set_clock(1000 * NSEC_PER_SEC)
    timed.guest.read_tsc()
    before = frame(vm, [timed])

    write_back(timed)

    changed = differing(before, frame(vm, [timed]))
    assert {name for name in changed if " page" not in name} == set()
    assert timed.get_msr(kvm_para.MSR_KVM_WALL_CLOCK_NEW) == layout.WALL_CLOCK


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_SET_MSRS")
def test_kvmclock_continues_after_writing_back(vm: X86Vm, timed: X86Vcpu) -> None:
    """After its MSRs were written back a guest still has a kvmclock: it follows KVM_SET_CLOCK."""
    write_back(timed)

    vm.set_clock(1000 * NSEC_PER_SEC)

    assert timed.guest.read_kvmclock().kvmclock_ns >= 1000 * NSEC_PER_SEC


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_SET_MSRS")
def test_steal_time_continues_after_writing_back(vm: X86Vm, timed: X86Vcpu, run_delay: RunDelay) -> None:
    """After its MSRs were written back a guest still has steal time: its version is new after an entry."""
    vm.require(uapi.KVM_CAP_STEAL_TIME)
    write_back(timed)
    before = timed.guest.steal_time()

    for _ in range(3):
        run_delay.wait()
        timed.guest.read_tsc()

    assert timed.guest.steal_time().version != before.version


@pytest.mark.promise(documented="Documentation/virt/kvm/x86/msr.rst, MSR_KVM_SYSTEM_TIME_NEW")
def test_kvmclock_can_be_enabled_again(vm: X86Vm, timed: X86Vcpu) -> None:
    """A guest that disables kvmclock, and enables it again where it was, has a record that KVM keeps."""
    timed.guest.disable_kvmclock()
    timed.guest.wrmsr(kvm_para.MSR_KVM_SYSTEM_TIME_NEW, layout.pvclock(0))  # the address without enabling
    timed.guest.read_tsc()

    timed.guest.enable_kvmclock()
    vm.set_clock(1000 * NSEC_PER_SEC)

    assert timed.guest.read_kvmclock().kvmclock_ns >= 1000 * NSEC_PER_SEC


@pytest.mark.usefixtures("settable_tsc")
def test_offset_there_and_back(vm: X86Vm, vcpus: list[X86Vcpu]) -> None:
    """A TSC offset that is set to another and back, also on each vCPU in turn, leaves all as at first."""
    before = frame(vm, vcpus)
    offsets = [vcpu.tsc_offset for vcpu in vcpus]

    for vcpu in (*vcpus, *reversed(vcpus)):
        vcpu.tsc_offset = 3 * 10**12
        vcpu.tsc_offset = offsets[vcpu.id]

    assert differing(before, frame(vm, vcpus)) == set()


@pytest.mark.parametrize("part", [pytest.param(2, id="half"), pytest.param(4, id="a-quarter")])
@pytest.mark.usefixtures("settable_tsc")
def test_frequency_there_and_back(vm: X86Vm, vcpu: X86Vcpu, part: int) -> None:
    """After KVM_SET_TSC_KHZ to another frequency and back TSC and kvmclock run at their old rates."""
    vm.require(uapi.KVM_CAP_TSC_CONTROL)
    vcpu.guest.enable_kvmclock()
    vcpu.guest.read_tsc()
    old, khz = vcpu.guest.pvclock(), vcpu.tsc_khz

    vcpu.tsc_khz = khz // part
    vm.set_clock(0)
    vcpu.guest.read_tsc()
    vcpu.tsc_khz = khz
    vm.set_clock(0)
    vcpu.guest.read_tsc()

    new = vcpu.guest.pvclock()
    assert (new.tsc_to_system_mul, new.tsc_shift) == (old.tsc_to_system_mul, old.tsc_shift)
    first = vcpu.guest.read_tsc()
    vm.time.sleep_ns(20 * NSEC_PER_MSEC)
    second = vcpu.guest.read_tsc()
    assert second.value - first.value in second.since(first.before, first.after)


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_SET_CLOCK")
@pytest.mark.usefixtures("tsc_clocksource")
@pytest.mark.parametrize("clock_ns", [0, 1, 999, 123_456_789_012_345_678])
def test_each_nanosecond_of_a_clock_counts(vm: X86Vm, vcpu: X86Vcpu, clock_ns: int) -> None:
    """With the master clock on a record begins with all digits of the clock that was set."""
    vcpu.guest.enable_kvmclock()
    vcpu.guest.read_tsc()

    vm.set_clock(clock_ns)
    vcpu.guest.read_tsc()

    assert vcpu.guest.pvclock().system_time_ns == clock_ns


def test_enforcement_can_be_turned_off(vm: X86Vm, vcpu: X86Vcpu) -> None:
    """With KVM_CAP_ENFORCE_PV_FEATURE_CPUID enabled and disabled again kvmclock works without its feature."""
    vm.require(uapi.KVM_CAP_ENFORCE_PV_FEATURE_CPUID)
    vcpu.set_cpuid(cpuid_without(vm.cpuid, kvm_para.KVM_CPUID_FEATURES, "eax", 0xFFFFFFFF))
    vcpu.enable_cap(uapi.KVM_CAP_ENFORCE_PV_FEATURE_CPUID, 1)

    vcpu.enable_cap(uapi.KVM_CAP_ENFORCE_PV_FEATURE_CPUID, 0)

    vcpu.set_msr(kvm_para.MSR_KVM_SYSTEM_TIME_NEW, layout.pvclock(0) | kvm_para.KVM_MSR_ENABLED)
    vcpu.guest.read_tsc()
    assert vcpu.guest.pvclock().version > 0


@pytest.mark.promise(architectural="Hyper-V TLFS, Partition Reference Time Stamp Counter Page")
@pytest.mark.usefixtures("tsc_clocksource")
def test_reference_page_moves(vcpu: X86Vcpu) -> None:
    """A reference TSC page that the guest enables at another address is written there, and holds."""
    require_hyperv(vcpu.vm)
    enlighten(vcpu)
    vcpu.guest.wrmsr(msr_index.HV_X64_MSR_REFERENCE_TSC, OTHER_PAGE | 1)
    vcpu.guest.read_tsc()

    vcpu.guest.enable_reference_tsc()
    vcpu.guest.read_tsc()

    assert vcpu.guest.reference_tsc_page().sequence != 0
    assert vcpu.guest.rdmsr(msr_index.HV_X64_MSR_REFERENCE_TSC).value == layout.REFERENCE_TSC_PAGE | 1


@pytest.mark.promise(
    documented="Documentation/virt/kvm/api.rst, KVM_XEN_HVM_SET_ATTR: KVM_XEN_ATTR_TYPE_LONG_MODE"
)
def test_long_mode_there_and_back(vm: X86Vm) -> None:
    """A Xen guest that was a 64-bit one and is a 32-bit one again gets its wall clock where those look."""
    require_xen(vm)
    share(vm, 1)

    set_vm(vm, kvm_xen.KVM_XEN_ATTR_TYPE_LONG_MODE, 0)

    assert shared_page(vm, 0).wc.version == 2


def test_shared_page_keeps_the_mode(vm: X86Vm) -> None:
    """Setting a Xen guest's shared page leaves KVM_XEN_ATTR_TYPE_LONG_MODE as it was."""
    require_xen(vm)
    share(vm, 1)

    attr = kvm_xen.kvm_xen_hvm_attr(type=kvm_xen.KVM_XEN_ATTR_TYPE_LONG_MODE)
    vm.handle.pass_structure(kvm_xen.KVM_XEN_HVM_GET_ATTR, attr)

    assert attr.u.long_mode == 1
