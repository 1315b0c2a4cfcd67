# SPDX-License-Identifier: GPL-2.0-only
"""The two EL1 timers by their names in the guest, in KVM_GET_ONE_REG and in kvm_run."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from fixtures.kvm.arm64.values import Counter
from fixtures.kvm.arm64.vcpu import Arm64Vcpu
from fixtures.kvm.values import TimerAccess
from fixtures.uapi import kvm as uapi
from fixtures.uapi.arm64 import kvm as kvm_arm64
from fixtures.uapi.arm64.sysreg import ARCH_TIMER_CTRL_ENABLE as ENABLE
from fixtures.uapi.arm64.sysreg import ARCH_TIMER_CTRL_IT_MASK as IMASK
from fixtures.uapi.arm64.sysreg import ARCH_TIMER_CTRL_IT_STAT as ISTATUS

__all__ = ["ENABLE", "IMASK", "ISTATUS", "PHYSICAL", "TIMERS", "VIRTUAL", "Timer"]


@dataclass(frozen=True, slots=True)
class Timer:
    """One of the two EL1 timers."""

    counter: Counter
    prefix: str  # of its registers in the guest
    ctl: str  # the name of its register id, as of cval and cnt
    cval: str
    cnt: str
    line_bit: int  # in kvm_sync_regs.device_irq_level

    def read(self, vcpu: Arm64Vcpu, register: str) -> TimerAccess:
        """Let the guest read "ctl", "cval" or "tval", between two readings of the timer's counter."""
        return vcpu.guest.read_timer(f"{self.prefix}_{register}")

    def write(self, vcpu: Arm64Vcpu, register: str, value: int) -> TimerAccess:
        """Let the guest write "ctl", "cval" or "tval", between two readings of the timer's counter."""
        return vcpu.guest.write_timer(f"{self.prefix}_{register}", value)

    def count(self, vcpu: Arm64Vcpu) -> int:
        """Return the timer's counter, as the guest reads it."""
        return vcpu.guest.read_counter(self.counter).value

    def arm(self, vcpu: Arm64Vcpu, cval: int, control: int = ENABLE) -> None:
        """Let the guest program CVAL, then CTL."""
        self.write(vcpu, "cval", cval)
        self.write(vcpu, "ctl", control)

    def line(self, vcpu: Arm64Vcpu) -> bool:
        """Enter the guest once, and return the line that kvm_run shows afterwards."""
        vcpu.guest.read_cntvct()
        return bool(vcpu.device_irq_level & self.line_bit)

    def get(self, vcpu: Arm64Vcpu, register: str) -> int:
        """Return "ctl", "cval" or "cnt" by KVM_GET_ONE_REG; `CapabilityMissing` if the id does not exist."""
        return vcpu.get_reg(self._id(vcpu, register))

    def set(self, vcpu: Arm64Vcpu, register: str, value: int) -> None:
        """Set "ctl", "cval" or "cnt" by KVM_SET_ONE_REG; `CapabilityMissing` if the id does not exist."""
        vcpu.set_reg(self._id(vcpu, register), value)

    def _id(self, vcpu: Arm64Vcpu, register: str) -> int:
        name: str = getattr(self, register)
        reg_id: int = getattr(kvm_arm64, name)
        vcpu.require_reg(reg_id, name)
        return reg_id


VIRTUAL = Timer(
    counter=Counter.VIRTUAL,
    prefix="cntv",
    ctl="KVM_REG_ARM_TIMER_CTL",
    cval="KVM_REG_ARM_TIMER_CVAL",
    cnt="KVM_REG_ARM_TIMER_CNT",
    line_bit=kvm_arm64.KVM_ARM_DEV_EL1_VTIMER,
)
PHYSICAL = Timer(
    counter=Counter.PHYSICAL,
    prefix="cntp",
    ctl="KVM_REG_ARM_PTIMER_CTL",
    cval="KVM_REG_ARM_PTIMER_CVAL",
    cnt="KVM_REG_ARM_PTIMER_CNT",
    line_bit=kvm_arm64.KVM_ARM_DEV_EL1_PTIMER,
)
TIMERS = [pytest.param(VIRTUAL, id="virtual"), pytest.param(PHYSICAL, id="physical")]


def require_lines(vcpu: Arm64Vcpu) -> None:
    """Raise `CapabilityMissing` unless kvm_run shows the timers' lines."""
    vcpu.require_capability(uapi.KVM_CAP_ARM_USER_IRQ, "KVM_CAP_ARM_USER_IRQ")
