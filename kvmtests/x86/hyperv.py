# SPDX-License-Identifier: GPL-2.0-only
"""Guests of Hyper-V's interface, for several subjects: identity, and reference time."""

from __future__ import annotations

from fixtures.counters import Window
from fixtures.kvm.spans import Span
from fixtures.kvm.x86.cpuid import hyperv_cpuid
from fixtures.kvm.x86.guest import ReferenceTscPage
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.uapi import kvm as uapi
from fixtures.uapi.x86.msr_index import HV_X64_MSR_GUEST_OS_ID

LINUX = 0x8100 << 48  # HV_LINUX_VENDOR_ID in the guest's identity; any value other than 0 will do


def require_hyperv(vm: X86Vm) -> None:
    """`CapabilityMissing` unless KVM offers Hyper-V's clocks and CPUID leaves."""
    vm.require(uapi.KVM_CAP_HYPERV_TIME)
    vm.require(uapi.KVM_CAP_HYPERV_CPUID)


def enlighten(vcpu: X86Vcpu) -> None:
    """Give a vCPU that has not run Hyper-V's CPUID leaves, and let its guest identify itself."""
    vm = vcpu.vm
    handle = vm.system if vm.check_extension(uapi.KVM_CAP_SYS_HYPERV_CPUID) else vcpu.handle
    vcpu.set_cpuid(hyperv_cpuid(vm.cpuid, handle))
    vcpu.guest.wrmsr(HV_X64_MSR_GUEST_OS_ID, LINUX)


def elapsed_units(first: Span, last: Span) -> Window:
    """Return how many units of 100 ns lie between two calls, a microsecond wider at either end."""
    elapsed_ns = first.until(last)
    return Window(elapsed_ns.first // 100, elapsed_ns.last // 100).widened(10)


def time_of_page(page: ReferenceTscPage, tsc: int) -> int:
    """Return the reference time at the guest's *tsc* that a guest computes from *page*, in 100 ns."""
    return ((tsc * page.scale >> 64) + page.offset) % 2**64
