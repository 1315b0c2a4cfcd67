# SPDX-License-Identifier: GPL-2.0-only
"""vCPUs whose APIC timer follows IA32_TSC_DEADLINE, and what their guests see of it."""

from __future__ import annotations

from dataclasses import dataclass

from fixtures.guests.x86.state import TIMER_VECTOR
from fixtures.kvm.errors import CapabilityMissing
from fixtures.kvm.exits import IoExit
from fixtures.kvm.x86.cpuid import cpuid_with
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.uapi import kvm as uapi
from fixtures.uapi.x86.apicdef import (
    APIC_IRR,
    APIC_LVR,
    APIC_LVT_TIMER_TSCDEADLINE,
    APIC_LVTT,
    APIC_SPIV,
    APIC_SPIV_APIC_ENABLED,
)
from fixtures.uapi.x86.cpuid import LEAF_1_ECX_TSC_DEADLINE
from fixtures.uapi.x86.msr_index import MSR_IA32_TSC, MSR_IA32_TSC_DEADLINE

WAIT_TICKS = 200_000
"""How long a guest lets an interrupt come that is due when it is entered, or would be."""


def with_apic(vm: X86Vm) -> X86Vcpu:
    """Return vCPU 0 of *vm*, which has none yet, with an in-kernel APIC as KVM resets it."""
    vm.require(uapi.KVM_CAP_TSC_DEADLINE_TIMER)
    vm.require(uapi.KVM_CAP_IRQCHIP)
    vm.handle.call(uapi.KVM_CREATE_IRQCHIP)
    vcpu = vm.create_vcpu(0)
    if not register(vcpu, APIC_LVR):
        raise CapabilityMissing("an APIC timer with KVM_CAP_IRQCHIP")
    vcpu.set_cpuid(cpuid_with(vm.cpuid, 1, "ecx", LEAF_1_ECX_TSC_DEADLINE))
    return vcpu


def with_apic_timer(vm: X86Vm) -> X86Vcpu:
    """Return `with_apic`'s vCPU, enabled and in TSC-deadline mode."""
    vcpu = with_apic(vm)
    set_register(vcpu, APIC_SPIV, APIC_SPIV_APIC_ENABLED | 0xFF)
    set_register(vcpu, APIC_LVTT, APIC_LVT_TIMER_TSCDEADLINE | TIMER_VECTOR)
    return vcpu


def register(vcpu: X86Vcpu, offset: int) -> int:
    """Return a 32-bit register of the APIC."""
    return int.from_bytes(vcpu.lapic[offset : offset + 4], "little")


def set_register(vcpu: X86Vcpu, offset: int, value: int) -> None:
    """Write a 32-bit register of the APIC."""
    registers = vcpu.lapic
    vcpu.lapic = registers[:offset] + value.to_bytes(4, "little") + registers[offset + 4 :]


def requested(vcpu: X86Vcpu) -> bool:
    """Return whether the timer's vector is requested: in the APIC's IRR, and not taken yet."""
    return requested_in(vcpu.lapic)


def requested_in(registers: bytes) -> bool:
    """Return the same of the *registers* that KVM_GET_LAPIC returned."""
    offset = APIC_IRR + 0x10 * (TIMER_VECTOR >> 5)
    word = int.from_bytes(registers[offset : offset + 4], "little")
    return bool(word >> (TIMER_VECTOR & 31) & 1)


def arm(vcpu: X86Vcpu, ahead_ns: int) -> int:
    """Let user space set a deadline *ahead_ns* from the vCPU's TSC; return it."""
    deadline = (vcpu.get_msr(MSR_IA32_TSC) + ahead_ns * vcpu.tsc_khz // 1_000_000) % 2**64
    vcpu.set_msr(MSR_IA32_TSC_DEADLINE, deadline)
    return deadline


def is_ahead(vcpu: X86Vcpu, deadline: int) -> bool:
    """Return whether the vCPU's TSC has a millisecond or more to go until *deadline*.

    That much, since KVM converts a deadline to a time of a clock that is steered, and takes a little off it.
    """
    ahead_ticks = (deadline - vcpu.get_msr(MSR_IA32_TSC)) % 2**64
    return vcpu.tsc_khz <= ahead_ticks < 2**63


@dataclass(frozen=True, slots=True)
class Interrupts:
    """What the guest's handler has seen, and what is left afterwards."""

    count: int
    handled_tsc: int  # in the handler, at the last one
    deadline_left: int  # IA32_TSC_DEADLINE
    requested: bool  # the vector is in IRR once more

    @property
    def outcome(self) -> tuple[int, int, bool]:
        """How many came, the deadline that is left, and whether one more is requested: `ONCE`, or not."""
        return self.count, self.deadline_left, self.requested


ONCE = (1, 0, False)
"""One interrupt came, and none is to come."""


def interrupts(vcpu: X86Vcpu, program: str = "await_interrupt", ticks: int = WAIT_TICKS) -> Interrupts:
    """Let the guest take interrupts: for *ticks* at most, or, by the program "sleep", until one comes."""
    mailbox = vcpu.guest.mailbox
    mailbox.result[0] = mailbox.result[3] = 0
    vcpu.guest.run(program, (ticks,))
    return _seen(vcpu)


def interrupts_after_halt(vcpu: X86Vcpu) -> Interrupts:
    """`interrupts` of a vCPU that is halted, in a program that was loaded: it sleeps until one comes."""
    vcpu.guest.mailbox.result[0] = vcpu.guest.mailbox.result[3] = 0
    vcpu.run_to(IoExit)
    return _seen(vcpu)


def _seen(vcpu: X86Vcpu) -> Interrupts:
    mailbox = vcpu.guest.mailbox
    return Interrupts(
        mailbox.result[3], mailbox.result[0], vcpu.get_msr(MSR_IA32_TSC_DEADLINE), requested(vcpu)
    )
