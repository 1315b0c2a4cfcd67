# SPDX-License-Identifier: GPL-2.0-only
"""KVM_SET_CPUID2 decides for one vCPU what its guest may do with the TSC; before it runs the last one holds.

Source: Documentation/virt/kvm/api.rst, KVM_SET_CPUID2; Intel SDM 2B, RDTSCP, and 3B, Time-Stamp Counter
Adjustment; arch/x86/kvm/cpuid.c.
"""

from __future__ import annotations

from ctypes import Structure

import pytest

from fixtures.kvm.errors import CapabilityMissing, GuestFault
from fixtures.kvm.x86.cpuid import cpuid_of_vendor, cpuid_without
from fixtures.kvm.x86.guest import GENERAL_PROTECTION
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.uapi.x86.cpuid import LEAF_7_EBX_TSC_ADJUST, LEAF_80000001_EDX_RDTSCP
from fixtures.uapi.x86.msr_index import MSR_IA32_TSC_ADJUST, MSR_TSC_AUX
from kvmtests.x86.clocks import check_tsc_continues
from kvmtests.x86.processors import AMD, INTEL, UNDEFINED_OPCODE, require_rdtscp

pytestmark = [
    pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_SET_CPUID2"),
    pytest.mark.thorough,
]

MOVED = 2**40


@pytest.fixture
def without_rdtscp(vm: X86Vm, vcpu: X86Vcpu) -> Structure:
    """A CPUID table without RDTSCP, of a KVM that offers it."""
    require_rdtscp(vcpu)
    return cpuid_without(vm.cpuid, 0x80000001, "edx", LEAF_80000001_EDX_RDTSCP)


@pytest.fixture
def without_tsc_adjust(vm: X86Vm, vcpu: X86Vcpu) -> Structure:
    """A CPUID table without TSC_ADJUST, of a KVM that offers it."""
    if not vcpu.guest.cpuid(7)[1] & LEAF_7_EBX_TSC_ADJUST:
        raise CapabilityMissing("X86_FEATURE_TSC_ADJUST")
    return cpuid_without(vm.cpuid, 7, "ebx", LEAF_7_EBX_TSC_ADJUST)


def test_last_table_decides_about_rdtscp(vm: X86Vm, without_rdtscp: Structure) -> None:
    """RDTSCP taken away and given back works; given and taken away it is #UD."""
    back, away = vm.create_vcpu(1), vm.create_vcpu(2)
    for vcpu in (back, away):
        vcpu.set_msr(MSR_TSC_AUX, 5)
    back.set_cpuid(without_rdtscp)
    back.set_cpuid(vm.cpuid)
    away.set_cpuid(vm.cpuid)
    away.set_cpuid(without_rdtscp)

    assert back.guest.read_tsc_aux() == 5
    with pytest.raises(GuestFault) as fault:
        away.guest.read_tsc_aux()
    assert fault.value.vector == UNDEFINED_OPCODE


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
@pytest.mark.usefixtures("stable_tsc", "settable_tsc")
def test_each_vcpu_has_its_own_table(vm: X86Vm, without_tsc_adjust: Structure) -> None:
    """The guest's write of TSC_ADJUST moves the TSC of a vCPU that has it, and not of one that has not."""
    having, lacking = vm.create_vcpu(1), vm.create_vcpu(2)
    lacking.set_cpuid(without_tsc_adjust)
    starts = {vcpu: vcpu.guest.read_tsc() for vcpu in (having, lacking)}

    for vcpu in starts:
        vcpu.guest.wrmsr(MSR_IA32_TSC_ADJUST, MOVED)

    assert [vcpu.get_msr(MSR_IA32_TSC_ADJUST) for vcpu in starts] == [MOVED, 0]
    for (vcpu, start), moved in zip(starts.items(), (MOVED, 0), strict=True):
        check_tsc_continues(vcpu, start.value + moved, since=start.window)


@pytest.mark.promise(de_facto="Linux 6.1 to 7.3")
def test_each_table_names_a_vendor_of_its_own(vm: X86Vm, vcpu: X86Vcpu) -> None:
    """A guest's TSC_AUX of more than 32 bits is #GP where its table names Intel, and is cut where AMD.

    Source: arch/x86/kvm/x86.c: __kvm_set_msr(), case MSR_TSC_AUX.
    """
    require_rdtscp(vcpu)
    intel, amd = vm.create_vcpu(1), vm.create_vcpu(2)
    intel.set_cpuid(cpuid_of_vendor(vm.cpuid, INTEL))
    amd.set_cpuid(cpuid_of_vendor(vm.cpuid, AMD))

    with pytest.raises(GuestFault) as fault:
        intel.guest.wrmsr(MSR_TSC_AUX, 2**40 + 6)
    amd.guest.wrmsr(MSR_TSC_AUX, 2**40 + 6)

    assert fault.value.vector == GENERAL_PROTECTION
    assert [each.guest.rdmsr(MSR_TSC_AUX).value for each in (intel, amd)] == [0, 6]
