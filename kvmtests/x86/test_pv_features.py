# SPDX-License-Identifier: GPL-2.0-only
"""Paravirtual MSRs exist as CPUID announces them, if user space enables that rule.

Source: Documentation/virt/kvm/api.rst, KVM_CAP_ENFORCE_PV_FEATURE_CPUID; arch/x86/kvm/x86.c.
"""

from __future__ import annotations

import pytest

from fixtures.counters import NSEC_PER_SEC
from fixtures.kvm.errors import GuestFault
from fixtures.kvm.x86.cpuid import cpuid_without
from fixtures.kvm.x86.guest import GENERAL_PROTECTION
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.uapi import kvm as uapi
from fixtures.uapi.names import msr_name
from fixtures.uapi.x86.kvm_para import (
    KVM_CPUID_FEATURES,
    KVM_FEATURE_CLOCKSOURCE,
    MSR_KVM_STEAL_TIME,
    MSR_KVM_SYSTEM_TIME,
    MSR_KVM_SYSTEM_TIME_NEW,
    MSR_KVM_WALL_CLOCK,
    MSR_KVM_WALL_CLOCK_NEW,
)

pytestmark = [
    pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_CAP_ENFORCE_PV_FEATURE_CPUID"),
    pytest.mark.thorough,
]

CLOCK_NS = 1000 * NSEC_PER_SEC
CLOCK_MSRS = (
    MSR_KVM_WALL_CLOCK,
    MSR_KVM_SYSTEM_TIME,
    MSR_KVM_WALL_CLOCK_NEW,
    MSR_KVM_SYSTEM_TIME_NEW,
    MSR_KVM_STEAL_TIME,
)
ALL_MSRS = [
    pytest.param(msr, id=msr_name(msr).replace(" ", "-"))
    for msr in (MSR_KVM_WALL_CLOCK, MSR_KVM_SYSTEM_TIME, *range(0x4B564D00, 0x4B564D08))
]


@pytest.fixture(autouse=True)
def capability(vm: X86Vm) -> None:
    """KVM can be made to follow CPUID."""
    vm.require(uapi.KVM_CAP_ENFORCE_PV_FEATURE_CPUID)


def restrict(vcpu: X86Vcpu, features: int) -> None:
    """Take *features* out of leaf 0x40000001, and make KVM enforce the leaf."""
    vcpu.enable_cap(uapi.KVM_CAP_ENFORCE_PV_FEATURE_CPUID, 1)
    vcpu.set_cpuid(cpuid_without(vcpu.vm.cpuid, KVM_CPUID_FEATURES, "eax", features))


@pytest.mark.parametrize("msr", ALL_MSRS)
def test_msr_without_its_feature_does_not_exist(vcpu: X86Vcpu, msr: int) -> None:
    """With the capability enabled and the leaf empty, RDMSR and WRMSR raise #GP in the guest."""
    restrict(vcpu, 2**32 - 1)

    with pytest.raises(GuestFault) as read:
        vcpu.guest.rdmsr(msr)
    with pytest.raises(GuestFault) as write:
        vcpu.guest.wrmsr(msr, 0)

    assert (read.value.vector, write.value.vector) == (GENERAL_PROTECTION, GENERAL_PROTECTION)


@pytest.mark.parametrize("msr", CLOCK_MSRS)
def test_cpuid_alone_hides_nothing(vm: X86Vm, vcpu: X86Vcpu, msr: int) -> None:
    """If the capability is not enabled, an empty leaf leaves the MSRs usable."""
    vcpu.set_cpuid(cpuid_without(vm.cpuid, KVM_CPUID_FEATURES, "eax", 2**32 - 1))

    vcpu.guest.wrmsr(msr, 0)

    assert vcpu.guest.rdmsr(msr).value == 0


def test_features_decide_one_by_one(vm: X86Vm, vcpu: X86Vcpu) -> None:
    """Without KVM_FEATURE_CLOCKSOURCE the legacy MSRs are gone and the new ones work."""
    vm.set_clock(CLOCK_NS)
    restrict(vcpu, 1 << KVM_FEATURE_CLOCKSOURCE)

    for legacy in (MSR_KVM_SYSTEM_TIME, MSR_KVM_WALL_CLOCK):
        with pytest.raises(GuestFault):
            vcpu.guest.rdmsr(legacy)
        with pytest.raises(GuestFault):
            vcpu.guest.wrmsr(legacy, 0)
    vcpu.guest.enable_kvmclock(MSR_KVM_SYSTEM_TIME_NEW)

    assert vcpu.guest.write_wall_clock(MSR_KVM_WALL_CLOCK_NEW).version == 2
    assert vcpu.guest.read_kvmclock().kvmclock_ns >= CLOCK_NS


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
def test_enforcement_can_be_taken_back(vm: X86Vm, vcpu: X86Vcpu) -> None:
    """With the capability's argument set back to 0 the clocks' MSRs all exist again, and kvmclock works."""
    vm.set_clock(CLOCK_NS)
    restrict(vcpu, 2**32 - 1)

    vcpu.enable_cap(uapi.KVM_CAP_ENFORCE_PV_FEATURE_CPUID, 0)

    assert [vcpu.guest.rdmsr(msr).value for msr in CLOCK_MSRS] == [0] * len(CLOCK_MSRS)
    vcpu.guest.enable_kvmclock()
    assert vcpu.guest.read_kvmclock().kvmclock_ns >= CLOCK_NS
