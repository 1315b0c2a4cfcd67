# SPDX-License-Identifier: GPL-2.0-only
"""What a VMM does while a vCPU is paused, for claims about the memory that KVM writes meanwhile."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest

from fixtures.counters import NSEC_PER_MSEC
from fixtures.kvm.errors import KvmError
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.uapi.x86.kvm_para import MSR_KVM_STEAL_TIME, MSR_KVM_SYSTEM_TIME_NEW, MSR_KVM_WALL_CLOCK_NEW
from fixtures.uapi.x86.msr_index import MSR_IA32_TSC, MSR_IA32_TSC_ADJUST

CLOCK_NS = 10**15


def kvmclock_ctrl(vcpu: X86Vcpu) -> None:
    """Mark the guest as paused."""
    vcpu.kvmclock_ctrl()


def set_clock(vcpu: X86Vcpu) -> None:
    """Set the clock."""
    vcpu.vm.set_clock(CLOCK_NS)


def set_offset(vcpu: X86Vcpu) -> None:
    """Set a TSC offset."""
    vcpu.tsc_offset = 2**40


def set_value(vcpu: X86Vcpu) -> None:
    """Set the TSC by value."""
    vcpu.set_msr(MSR_IA32_TSC, 2**41)


def set_adjust(vcpu: X86Vcpu) -> None:
    """Set IA32_TSC_ADJUST."""
    vcpu.set_msr(MSR_IA32_TSC_ADJUST, 2**41)


def set_khz(vcpu: X86Vcpu) -> None:
    """Set the frequency that the vCPU has, which KVM refuses where the TSC is not KVM's."""
    with contextlib.suppress(KvmError):
        vcpu.tsc_khz = vcpu.tsc_khz


def create_vcpu(vcpu: X86Vcpu) -> None:
    """Create another vCPU."""
    vcpu.vm.create_vcpu(1)


def save_all(vcpu: X86Vcpu) -> None:
    """Read what a VMM reads when it saves a vCPU."""
    _ = vcpu.regs, vcpu.sregs, vcpu.mp_state, vcpu.tsc_khz, vcpu.vm.clock()
    for msr in (MSR_IA32_TSC, MSR_KVM_SYSTEM_TIME_NEW, MSR_KVM_STEAL_TIME, MSR_KVM_WALL_CLOCK_NEW):
        vcpu.get_msr(msr)


def restore_all(vcpu: X86Vcpu) -> None:
    """Write registers back that were read."""
    vcpu.sregs, vcpu.regs = vcpu.sregs, vcpu.regs
    vcpu.mp_state = vcpu.mp_state


def run_with_immediate_exit(vcpu: X86Vcpu) -> None:
    """KVM_RUN that does not enter the guest."""
    vcpu.poke_without_entry()


def pass_time(vcpu: X86Vcpu) -> None:
    """Do nothing for 20 ms."""
    vcpu.vm.time.sleep_ns(20 * NSEC_PER_MSEC)


CALLS: list[Callable[[X86Vcpu], None]] = [
    kvmclock_ctrl,
    set_clock,
    set_offset,
    set_value,
    set_adjust,
    set_khz,
    create_vcpu,
    save_all,
    restore_all,
    run_with_immediate_exit,
    pass_time,
]


EACH_CALL = pytest.mark.parametrize("call", CALLS, ids=[call.__name__.replace("_", "-") for call in CALLS])
