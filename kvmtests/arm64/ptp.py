# SPDX-License-Identifier: GPL-2.0-only
"""The PTP hypercall, for several subjects: CLOCK_REALTIME and a guest's counter at one instant."""

from __future__ import annotations

from fixtures.kvm.arm64.values import Counter, Hypercall
from fixtures.kvm.arm64.vcpu import Arm64Vcpu
from fixtures.kvm.errors import CapabilityMissing
from fixtures.targets import Probe
from fixtures.uapi import kvm as uapi
from fixtures.uapi.arm64 import smccc

ARGUMENTS = {Counter.VIRTUAL: smccc.KVM_PTP_VIRT_COUNTER, Counter.PHYSICAL: smccc.KVM_PTP_PHYS_COUNTER}


def require_ptp(vcpu: Arm64Vcpu, target_facts: Probe) -> None:
    """`CapabilityMissing` unless KVM has the hypercall, and the clocksource is the guests' counter."""
    vcpu.require_capability(uapi.KVM_CAP_PTP_KVM, "KVM_CAP_PTP_KVM")
    if target_facts.facts["clocksource"] != "arch_sys_counter":
        raise CapabilityMissing("clocksource arch_sys_counter")


def call_ptp(vcpu: Arm64Vcpu, argument: int) -> Hypercall:
    """Let the guest call PTP for the counter with the number *argument*."""
    return vcpu.guest.call_hypervisor(smccc.ARM_SMCCC_VENDOR_HYP_KVM_PTP_FUNC_ID, argument)


def pair(call: Hypercall) -> tuple[int, int]:
    """Return CLOCK_REALTIME in ns and the counter, from the halves in X0 to X3."""
    return call.x[0] << 32 | call.x[1], call.x[2] << 32 | call.x[3]
