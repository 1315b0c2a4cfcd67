# SPDX-License-Identifier: GPL-2.0-only
"""IA32_TSC and IA32_TSC_ADJUST: what guest and host read and write, and what each write moves.

Source: arch/x86/kvm/x86.c: kvm_get_msr_common(), kvm_set_msr_common(); Intel SDM 3B, "Time-Stamp Counter
Adjustment".
"""

from __future__ import annotations

import pytest

from fixtures.counters import Window
from fixtures.kvm.errors import CapabilityMissing, GuestFault
from fixtures.kvm.expect import refused
from fixtures.kvm.x86.cpuid import cpuid_of_vendor, cpuid_without
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.uapi.x86.cpuid import LEAF_7_EBX_TSC_ADJUST, LEAF_80000001_EDX_RDTSCP
from fixtures.uapi.x86.msr_index import MSR_IA32_TSC, MSR_IA32_TSC_ADJUST, MSR_TSC_AUX
from kvmtests.windows import timed
from kvmtests.x86.clocks import check_tsc_continues, continued, host_reading
from kvmtests.x86.processors import AMD, UNDEFINED_OPCODE, require_intel, require_rdtscp

pytestmark = pytest.mark.promise(architectural="Intel SDM 3B, Time-Stamp Counter Adjustment")

GIB = 2**30

ADJUSTS = [
    pytest.param(1, id="one"),
    pytest.param(2**64 - 1, id="minus-one"),
    pytest.param(123456 * GIB, id="123456-gib"),
    pytest.param(2**63, id="two-to-63"),
]


@pytest.fixture
def tsc_adjust(vcpu: X86Vcpu) -> None:
    """The guest's CPUID announces IA32_TSC_ADJUST."""
    if not vcpu.guest.cpuid(7)[1] & LEAF_7_EBX_TSC_ADJUST:
        raise CapabilityMissing("X86_FEATURE_TSC_ADJUST")


def guest_writes_tsc(vcpu: X86Vcpu, value: int) -> tuple[Window, Window]:
    """Let the guest write IA32_TSC; return the host ticks between which it did, and its TSC just before."""
    written, (guest_before, _) = timed(vcpu.vm, lambda: vcpu.guest.wrmsr(MSR_IA32_TSC, value))
    return written, Window(guest_before, guest_before + written.width)


@pytest.mark.promise(architectural="Intel SDM 3B, Time-Stamp Counter")
@pytest.mark.usefixtures("stable_tsc", "settable_tsc")
def test_first_vcpu_starts_at_zero(vm: X86Vm) -> None:
    """The TSC of a VM's first vCPU starts at 0 when the vCPU is made; TSC_ADJUST is 0."""
    created, vcpu = timed(vm, lambda: vm.create_vcpu(0))

    check_tsc_continues(vcpu, 0, since=created)
    assert vcpu.get_msr(MSR_IA32_TSC_ADJUST) == 0


@pytest.mark.promise(architectural="Intel SDM 3B, Time-Stamp Counter")
def test_rdmsr_lies_between_two_rdtsc(vcpu: X86Vcpu) -> None:
    """In the guest, RDMSR of IA32_TSC reads the counter that RDTSC reads."""
    readings = vcpu.guest.samples("rdmsr_triples", 64, width=3, operands=(MSR_IA32_TSC,))

    for before, value, after in zip(readings[::3], readings[1::3], readings[2::3], strict=True):
        assert value in Window(before, after)


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_GET_MSRS")
def test_host_reads_between_two_guest_readings(vcpu: X86Vcpu) -> None:
    """KVM_GET_MSRS of IA32_TSC is what the guest would have read."""
    before = vcpu.guest.read_tsc()

    seen = vcpu.get_msr(MSR_IA32_TSC)

    assert seen in Window(before.value, vcpu.guest.read_tsc().value)


@pytest.mark.usefixtures("tsc_adjust", "stable_tsc", "settable_tsc")
@pytest.mark.parametrize("value", [pytest.param(2**32, id="two-to-32"), pytest.param(10**11, id="10e10")])
def test_guest_tsc_write_moves_tsc_and_adjust(vcpu: X86Vcpu, value: int) -> None:
    """The guest's WRMSR of IA32_TSC sets its TSC, and TSC_ADJUST gains the distance."""
    written, tsc_before = guest_writes_tsc(vcpu, value)

    adjust = vcpu.get_msr(MSR_IA32_TSC_ADJUST)
    assert adjust in Window(value - tsc_before.last, value - tsc_before.first)
    assert vcpu.guest.rdmsr(MSR_IA32_TSC_ADJUST).value == adjust
    check_tsc_continues(vcpu, value, since=written)


@pytest.mark.usefixtures("tsc_adjust", "stable_tsc", "settable_tsc")
@pytest.mark.parametrize("value", ADJUSTS)
def test_guest_adjust_write_moves_the_tsc_by_the_difference(vcpu: X86Vcpu, value: int) -> None:
    """The guest's WRMSR of TSC_ADJUST moves its TSC by the change of TSC_ADJUST; repeated, by nothing."""
    vcpu.guest.wrmsr(MSR_IA32_TSC_ADJUST, 5 * GIB)
    start = vcpu.guest.read_tsc()

    for _ in range(2):
        vcpu.guest.wrmsr(MSR_IA32_TSC_ADJUST, value)

        assert vcpu.get_msr(MSR_IA32_TSC_ADJUST) == value
        assert vcpu.guest.rdmsr(MSR_IA32_TSC_ADJUST).value == value
        check_tsc_continues(vcpu, start.value + value - 5 * GIB, since=start.window)


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
@pytest.mark.usefixtures("tsc_adjust", "stable_tsc", "settable_tsc")
def test_host_tsc_write_leaves_adjust_alone(vcpu: X86Vcpu) -> None:
    """KVM_SET_MSRS of IA32_TSC sets the TSC of guest and host; TSC_ADJUST keeps what the guest wrote."""
    vcpu.guest.wrmsr(MSR_IA32_TSC_ADJUST, 5 * GIB)

    written, _ = timed(vcpu.vm, lambda: vcpu.set_msr(MSR_IA32_TSC, 64 * GIB))

    assert vcpu.get_msr(MSR_IA32_TSC_ADJUST) == 5 * GIB
    assert vcpu.guest.rdmsr(MSR_IA32_TSC_ADJUST).value == 5 * GIB
    check_tsc_continues(vcpu, 64 * GIB, since=written)


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
@pytest.mark.usefixtures("tsc_adjust", "stable_tsc")
@pytest.mark.parametrize("value", ADJUSTS)
def test_host_adjust_write_leaves_the_tsc_alone(vcpu: X86Vcpu, value: int) -> None:
    """KVM_SET_MSRS of TSC_ADJUST stores the value and moves neither TSC nor offset."""
    start, tsc_offset = vcpu.guest.read_tsc(), vcpu.tsc_offset

    vcpu.set_msr(MSR_IA32_TSC_ADJUST, value)

    assert vcpu.get_msr(MSR_IA32_TSC_ADJUST) == value
    assert vcpu.guest.rdmsr(MSR_IA32_TSC_ADJUST).value == value
    assert vcpu.tsc_offset == tsc_offset
    check_tsc_continues(vcpu, start.value, since=start.window)


@pytest.mark.usefixtures("tsc_adjust", "stable_tsc", "settable_tsc")
def test_guest_adjust_write_keeps_the_hosts_write(vcpu: X86Vcpu) -> None:
    """After the host has moved the TSC, the guest's TSC_ADJUST still moves it by the difference."""
    written, _ = timed(vcpu.vm, lambda: vcpu.set_msr(MSR_IA32_TSC, 64 * GIB))

    vcpu.guest.wrmsr(MSR_IA32_TSC_ADJUST, 12 * GIB)

    assert vcpu.get_msr(MSR_IA32_TSC_ADJUST) == 12 * GIB
    check_tsc_continues(vcpu, 76 * GIB, since=written)


@pytest.mark.usefixtures("tsc_adjust", "stable_tsc", "settable_tsc")
def test_guest_tsc_write_shows_the_hosts_write_in_adjust(vcpu: X86Vcpu) -> None:
    """A guest that sets back a TSC which the host had moved finds that distance in TSC_ADJUST."""
    moved, _ = timed(vcpu.vm, lambda: vcpu.set_msr(MSR_IA32_TSC, 64 * GIB))

    written, tsc_before = guest_writes_tsc(vcpu, 16 * GIB)

    assert tsc_before.first in continued(64 * GIB, since=moved, now=written)
    expected = Window(16 * GIB - tsc_before.last, 16 * GIB - tsc_before.first)
    assert vcpu.get_msr(MSR_IA32_TSC_ADJUST) in expected
    check_tsc_continues(vcpu, 16 * GIB, since=written)


@pytest.mark.promise(de_facto="Linux 6.1 to 7.3")
@pytest.mark.usefixtures("tsc_adjust", "stable_tsc", "settable_tsc")
def test_restored_adjust_and_offset_come_in_either_order(vcpus: list[X86Vcpu]) -> None:
    """TSC_ADJUST is opaque to the host: written before or after the offset, both end as written."""
    first, second = vcpus

    first.tsc_offset = 777 * GIB
    first.set_msr(MSR_IA32_TSC_ADJUST, 5 * GIB)
    second.set_msr(MSR_IA32_TSC_ADJUST, 5 * GIB)
    second.tsc_offset = 777 * GIB

    for vcpu in vcpus:
        assert (vcpu.tsc_offset, vcpu.get_msr(MSR_IA32_TSC_ADJUST)) == (777 * GIB, 5 * GIB)
        seen = host_reading(vcpu)
        assert seen.value in seen.window.shifted(777 * GIB)


@pytest.mark.usefixtures("stable_tsc")
def test_guest_writes_concern_one_vcpu(vcpus: list[X86Vcpu]) -> None:
    """What a guest writes to IA32_TSC and TSC_ADJUST leaves TSC and TSC_ADJUST of the other vCPU alone."""
    first, other = vcpus
    start, adjust = other.guest.read_tsc(), other.get_msr(MSR_IA32_TSC_ADJUST)

    first.guest.wrmsr(MSR_IA32_TSC, 2**40)
    first.guest.wrmsr(MSR_IA32_TSC_ADJUST, 2**41)

    assert other.get_msr(MSR_IA32_TSC_ADJUST) == adjust
    check_tsc_continues(other, start.value, since=start.window)


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
@pytest.mark.usefixtures("stable_tsc")
def test_adjust_needs_its_cpuid_bit(vm: X86Vm, vcpu: X86Vcpu) -> None:
    """Without CPUID.7.EBX.TSC_ADJUST writes of host and guest are dropped without an error."""
    vcpu.set_cpuid(cpuid_without(vm.cpuid, 7, "ebx", LEAF_7_EBX_TSC_ADJUST))
    start, tsc_offset = vcpu.guest.read_tsc(), vcpu.tsc_offset

    vcpu.set_msr(MSR_IA32_TSC_ADJUST, 5 * GIB)
    vcpu.guest.wrmsr(MSR_IA32_TSC_ADJUST, 7 * GIB)

    assert vcpu.get_msr(MSR_IA32_TSC_ADJUST) == 0
    assert vcpu.tsc_offset == tsc_offset
    check_tsc_continues(vcpu, start.value, since=start.window)


@pytest.mark.promise(architectural="Intel SDM 3B, IA32_TSC_AUX Register and RDTSCP Support")
@pytest.mark.parametrize("value", [0, 10, 0x100, 2**32 - 1], ids=["zero", "ten", "two-to-8", "all-bits"])
def test_rdtscp_returns_tsc_aux(vcpu: X86Vcpu, value: int) -> None:
    """RDTSCP returns in ECX what was written to TSC_AUX."""
    require_rdtscp(vcpu)

    vcpu.set_msr(MSR_TSC_AUX, value)

    assert vcpu.guest.read_tsc_aux() == value


@pytest.mark.promise(architectural="Intel SDM 2B, RDTSCP")
def test_rdtscp_needs_its_cpuid_bit(vm: X86Vm, vcpu: X86Vcpu) -> None:
    """Without CPUID.80000001.EDX.RDTSCP the instruction raises #UD. Source: Intel SDM 2B, RDTSCP."""
    require_rdtscp(vcpu)
    other = vm.create_vcpu(1)
    other.set_cpuid(cpuid_without(vm.cpuid, 0x80000001, "edx", LEAF_80000001_EDX_RDTSCP))

    with pytest.raises(GuestFault) as fault:
        other.guest.read_tsc_aux()

    assert fault.value.vector == UNDEFINED_OPCODE


@pytest.mark.promise(architectural="Intel SDM 3B, IA32_TSC_AUX Register and RDTSCP Support")
def test_upper_half_of_tsc_aux_is_reserved(vcpu: X86Vcpu) -> None:
    """If the guest's CPUID names Intel, a TSC_AUX of more than 32 bits is refused.

    The old value stays. Source: Intel SDM 4, IA32_TSC_AUX: bits 63:32 are reserved.
    """
    require_rdtscp(vcpu)
    require_intel(vcpu)
    vcpu.set_msr(MSR_TSC_AUX, 5)

    with refused(0):
        vcpu.set_msr(MSR_TSC_AUX, 2**32)

    assert vcpu.get_msr(MSR_TSC_AUX) == 5


@pytest.mark.promise(de_facto="Linux 6.1 to 7.3")
def test_upper_half_of_tsc_aux_is_dropped_on_other_cpus(vm: X86Vm, vcpu: X86Vcpu) -> None:
    """If the guest's CPUID names AMD, the upper half of a TSC_AUX is dropped and reads 0.

    AMD's CPUs ignore the bits. Source: arch/x86/kvm/x86.c: __kvm_set_msr(), case MSR_TSC_AUX.
    """
    require_rdtscp(vcpu)
    other = vm.create_vcpu(1)
    other.set_cpuid(cpuid_of_vendor(vm.cpuid, AMD))

    other.set_msr(MSR_TSC_AUX, 2**32 + 5)

    assert (other.get_msr(MSR_TSC_AUX), other.guest.read_tsc_aux()) == (5, 5)
