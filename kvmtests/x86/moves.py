# SPDX-License-Identifier: GPL-2.0-only
"""Helpers of the claims about moving x86 guests: guests with kvmclock, and where their clocks stand."""

from __future__ import annotations

from dataclasses import dataclass

from fixtures.counters import NSEC_PER_SEC, wrap
from fixtures.kvm.errors import CapabilityMissing
from fixtures.kvm.system import Kvm
from fixtures.kvm.values import KvmclockReading
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.migration.ticks import ticks_at_khz
from fixtures.migration.x86.procedure import ByOffset
from fixtures.migration.x86.tsc import Source


@dataclass(frozen=True, slots=True)
class HostPlace:
    """Where a vCPU's clocks stood at one instant, as its guest read them."""

    tsc: int
    kvmclock_ns: int

    def line(self, khz: int) -> int:
        """Return guest TSC - f · kvmclock in ticks, modulo 2**64: what a move must not change."""
        return wrap(self.tsc - ticks_at_khz(self.kvmclock_ns, khz))


def new_vm(kvm: Kvm[X86Vm]) -> X86Vm:
    """Return a new VM without vCPUs."""
    return kvm.create_vm()


def new_guest(kvm: Kvm[X86Vm], vcpus: int = 2, uptime_ns: int = NSEC_PER_SEC) -> X86Vm:
    """Return a VM whose *vcpus* use kvmclock and have been up for *uptime_ns*."""
    vm = new_vm(kvm)
    for number in range(vcpus):
        vm.create_vcpu(number)
    resume(vm)
    vm.time.sleep_ns(uptime_ns)
    return vm


def resume(vm: X86Vm) -> None:
    """Let each guest register its pvclock record, as a restored MSR would."""
    for vcpu in vm.vcpus:
        vcpu.guest.enable_kvmclock()


def places(vm: X86Vm) -> list[HostPlace]:
    """Return where each vCPU's guest finds its clocks."""
    return [_place(vcpu.guest.read_kvmclock()) for vcpu in vm.vcpus]


def save(vm: X86Vm) -> Source:
    """Return what the documented algorithm takes from a stopped guest."""
    return ByOffset().save(vm, vm.vcpus)


def restore(source: Source, kvm: Kvm[X86Vm], realtime_ns: int | None) -> X86Vm:
    """Return a VM on *kvm* that continues where *source* stood, by the documented algorithm."""
    vm = new_vm(kvm)
    ByOffset().restore(source, vm, realtime_ns)
    resume(vm)
    return vm


def require_offsets(vcpu: X86Vcpu) -> None:
    """Raise `CapabilityMissing` unless KVM takes TSC offsets and keeps them.

    A backend that takes offsets and ignores them fails another claim (test_tsc_offset.py).
    """
    if not vcpu.tsc_offset_attribute.exists():
        raise CapabilityMissing("KVM_VCPU_TSC_OFFSET")
    old, vcpu.tsc_offset = vcpu.tsc_offset, 12345
    kept = vcpu.tsc_offset == 12345
    vcpu.tsc_offset = old
    if not kept:
        raise CapabilityMissing("KVM_VCPU_TSC_OFFSET that is honoured")


def _place(reading: KvmclockReading) -> HostPlace:
    return HostPlace(reading.tsc, reading.kvmclock_ns)
