# SPDX-License-Identifier: GPL-2.0-only
"""Helpers for deadlines that several subjects of riscv64 share."""

from __future__ import annotations

from fixtures.counters import NSEC_PER_SEC
from fixtures.kvm.riscv.vcpu import RiscvVcpu
from fixtures.targets import Probe
from fixtures.uapi.riscv.kvm import KVM_RISCV_TIMER_STATE_OFF, KVM_RISCV_TIMER_STATE_ON

OFF, ON = KVM_RISCV_TIMER_STATE_OFF, KVM_RISCV_TIMER_STATE_ON
NEVER = 2**64 - 1
FAR = 2**44  # ticks: longer than a host has been up


def ticks(target_facts: Probe, duration_ns: int) -> int:
    """Return how many ticks time makes in *duration_ns*, rounded down."""
    return duration_ns * int(target_facts.facts["counter_hz"]) // NSEC_PER_SEC


def arm(vcpu: RiscvVcpu, deadline: int) -> None:
    """Have the timer's interrupt become pending at *deadline*, as user space restores a timer."""
    vcpu.compare = deadline
    if not vcpu.has_sstc:
        vcpu.state = ON


def now(vcpu: RiscvVcpu) -> int:
    """Return the guest's time, as the guest reads it."""
    return vcpu.guest.read_time().value


def deadline_ahead(vcpu: RiscvVcpu, distance: int) -> int:
    """Have the guest set a deadline that still lies ahead once it is set; return it.

    It is *distance* ticks away, or more on a host so slow that it has passed by then.
    """
    while True:
        deadline = now(vcpu) + distance
        if vcpu.guest.set_deadline(deadline).last < deadline:
            return deadline
        distance *= 2
