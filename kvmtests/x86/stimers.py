# SPDX-License-Identifier: GPL-2.0-only
"""vCPUs with Hyper-V's synthetic interrupt controller, and its timers."""

from __future__ import annotations

from fixtures.counters import NSEC_PER_MSEC
from fixtures.guests import layout
from fixtures.guests.x86.state import TIMER_VECTOR
from fixtures.kvm.errors import CapabilityMissing
from fixtures.kvm.exits import HypervExit, IoExit
from fixtures.kvm.x86.messages import TimerMessage
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.uapi import kvm as uapi
from fixtures.uapi.x86 import msr_index
from fixtures.uapi.x86.apicdef import APIC_LVR, APIC_SPIV, APIC_SPIV_APIC_ENABLED
from fixtures.uapi.x86.hyperv import (
    HV_STIMER_APIC_VECTOR_SHIFT,
    HV_STIMER_DIRECT_MODE,
    HV_STIMER_ENABLE,
    HV_STIMER_PERIODIC,
    HV_STIMER_SINT_SHIFT,
    HV_SYNIC_CONTROL_ENABLE,
    HV_SYNIC_SIMP_ENABLE,
    HV_SYNIC_SINT_AUTO_EOI,
)
from kvmtests.x86.apic import Interrupts, interrupts, register, set_register
from kvmtests.x86.hyperv import enlighten, require_hyperv

SOURCE = 2  # the interrupt source that Linux's and Windows' timers use
MSEC = NSEC_PER_MSEC // 100  # in units of the reference counter
SECOND = 1_000 * MSEC
"""Longer than even a slow host takes to arm a timer and disarm it again."""

PAST_A_SECOND_NS = 1_100 * NSEC_PER_MSEC
HOUR = 3_600 * SECOND
MESSAGE = SOURCE << HV_STIMER_SINT_SHIFT
ONE_SHOT = MESSAGE | HV_STIMER_ENABLE
PERIODIC = ONE_SHOT | HV_STIMER_PERIODIC
DIRECT = HV_STIMER_DIRECT_MODE | TIMER_VECTOR << HV_STIMER_APIC_VECTOR_SHIFT | HV_STIMER_ENABLE
DIRECT_MODE_AVAILABLE = 1 << 19  # CPUID 0x40000003, EDX


def without_synic(vm: X86Vm, number: int = 0) -> X86Vcpu:
    """Return a new vCPU with an enabled in-kernel APIC and Hyper-V's leaves; *number* 0 in a new VM first."""
    require_hyperv(vm)
    vm.require(uapi.KVM_CAP_HYPERV_SYNIC2)
    vm.require(uapi.KVM_CAP_IRQCHIP)
    if number == 0:
        vm.handle.call(uapi.KVM_CREATE_IRQCHIP)
    vcpu = vm.create_vcpu(number)
    vcpu.mp_state = uapi.KVM_MP_STATE_RUNNABLE
    if not register(vcpu, APIC_LVR):
        raise CapabilityMissing("an in-kernel APIC with KVM_CAP_IRQCHIP")
    enlighten(vcpu)
    set_register(vcpu, APIC_SPIV, APIC_SPIV_APIC_ENABLED | 0xFF)
    return vcpu


def with_synic(vm: X86Vm, number: int = 0, capability: int = uapi.KVM_CAP_HYPERV_SYNIC2) -> X86Vcpu:
    """Return `without_synic`'s vCPU with the interrupt controller, its message page and `SOURCE`.

    The source needs no EOI of the guest's, so that its handler may be entered again.
    """
    vcpu = without_synic(vm, number)
    vcpu.enable_cap(capability)
    vcpu.set_msr(msr_index.HV_X64_MSR_SCONTROL, HV_SYNIC_CONTROL_ENABLE)
    vcpu.set_msr(msr_index.HV_X64_MSR_SIMP, simp(vcpu))
    vcpu.set_msr(msr_index.HV_X64_MSR_SINT0 + SOURCE, TIMER_VECTOR | HV_SYNIC_SINT_AUTO_EOI)
    return vcpu


def simp(vcpu: X86Vcpu) -> int:
    """Return HV_X64_MSR_SIMP with the vCPU's message page, enabled."""
    return layout.message_page(vcpu.id) | HV_SYNIC_SIMP_ENABLE


def guest_writes(vcpu: X86Vcpu, msr: int, value: int) -> HypervExit:
    """Let the guest write *msr*; return the exit to user space that this is."""
    vcpu.guest.load("wrmsr")
    vcpu.guest.mailbox.operand[0], vcpu.guest.mailbox.operand[1] = msr, value
    left = vcpu.run_to(HypervExit)
    vcpu.run_to(IoExit)
    return left


def config_msr(timer: int) -> int:
    """Return HV_X64_MSR_STIMERn_CONFIG of *timer*, 0 to 3."""
    return msr_index.HV_X64_MSR_STIMER0_CONFIG + 2 * timer


def count_msr(timer: int) -> int:
    """Return HV_X64_MSR_STIMERn_COUNT of *timer*, 0 to 3."""
    return msr_index.HV_X64_MSR_STIMER0_COUNT + 2 * timer


def reference_time_100ns(vcpu: X86Vcpu) -> int:
    """Return the reference counter now, 100 ns."""
    return vcpu.get_msr(msr_index.HV_X64_MSR_TIME_REF_COUNT)


def arm_timer(vcpu: X86Vcpu, config: int, count: int, timer: int = 0) -> None:
    """Let the guest write count and then configuration of *timer*, as the specification orders."""
    vcpu.guest.wrmsr(count_msr(timer), count)
    vcpu.guest.wrmsr(config_msr(timer), config)


def arm_by_user_space(vcpu: X86Vcpu, config: int, count: int, timer: int = 0) -> None:
    """`arm_timer` by KVM_SET_MSRS: the timer starts, or expires, at the next entry."""
    vcpu.set_msr(count_msr(timer), count)
    vcpu.set_msr(config_msr(timer), config)


def arm_ahead(vcpu: X86Vcpu, config: int, ahead: int, timer: int = 0) -> int:
    """`arm_timer` for a time *ahead*, in 100 ns, of the reference counter; return that time."""
    count = reference_time_100ns(vcpu) + ahead
    arm_timer(vcpu, config, count, timer)
    return count


def armed_state(vcpu: X86Vcpu, timer: int = 0) -> tuple[int, int]:
    """Return configuration and count of *timer*, as user space reads them."""
    return vcpu.get_msr(config_msr(timer)), vcpu.get_msr(count_msr(timer))


def sleep(vcpu: X86Vcpu) -> Interrupts:
    """Let the guest halt until a timer has interrupted it: KVM may also wake it without an interrupt."""
    return interrupts(vcpu, "halt_until_interrupt")


def message(vcpu: X86Vcpu) -> TimerMessage:
    """Return what lies in the slot of `SOURCE`."""
    return TimerMessage.of(vcpu, SOURCE)


def require_direct_mode(vcpu: X86Vcpu) -> None:
    """`CapabilityMissing` unless the vCPU's timers may interrupt without a message."""
    if not vcpu.guest.cpuid(0x40000003)[3] & DIRECT_MODE_AVAILABLE:
        raise CapabilityMissing("HV_STIMER_DIRECT_MODE_AVAILABLE")
