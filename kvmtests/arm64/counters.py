# SPDX-License-Identifier: GPL-2.0-only
"""Helpers for counters that several subjects of arm64 share, whatever the interface generation."""

from __future__ import annotations

from fixtures.counters import NSEC_PER_SEC
from fixtures.kvm.arm64.values import Counter
from fixtures.kvm.arm64.vcpu import Arm64Vcpu
from fixtures.targets import Probe
from fixtures.uapi import kvm as uapi

COUNTERS = list(Counter)
SPARE = 2**40  # ticks: longer than a test, 18 minutes at 1 GHz


def offset_counter(vcpu: Arm64Vcpu, counter: Counter, offset: int) -> None:
    """Make *counter* the host counter - *offset*; with the upstream interface that moves both counters.

    `CapabilityMissing` where the kernel has neither interface.
    """
    if vcpu.vm.check_extension(uapi.KVM_CAP_COUNTER_OFFSET):
        vcpu.vm.set_counter_offset(offset)
        return
    vcpu.require_series_offsets()
    if counter is Counter.VIRTUAL:
        vcpu.virtual_offset = offset
    else:
        vcpu.physical_offset = offset


def fitted(vcpu: Arm64Vcpu, value: int) -> int:
    """Return *value*, meant for 64 bits, for the counter of *vcpu*: a count or compare value that it has.

    What lies near 2**64 comes to lie as near to 2**bits, and what lies near 2**63 to 2**(bits - 1).
    """
    missing = 64 - vcpu.vm.counter_bits
    for end in (64, 63):
        distance = value - (1 << end)
        if abs(distance) < 2**48:
            return (1 << end - missing) + distance
    return value


def without_wrapping(vcpu: Arm64Vcpu, cval: int, start: int = 0) -> int:
    """Return *cval*, or what is left of it if its sum with an offset would wrap.

    With the offset the guest's counter is at *start* now. Where KVM holds CVAL + offset, a sum that
    wraps is a finding of its own (docs/findings/adjusted-cval-wraps.md), and the longer a host has
    been up, the larger are the offsets that its guests have.
    """
    offset = max(0, vcpu.vm.time.counter() - start)
    return min(cval, (1 << vcpu.vm.counter_bits) - offset - SPARE)


def beyond_the_host(vcpu: Arm64Vcpu) -> int:
    """Return a count that the host's counter does not reach during a test."""
    return vcpu.vm.time.counter() + SPARE


def ticks(target_facts: Probe, duration_ns: int) -> int:
    """Return how many ticks the counter makes in *duration_ns*, rounded down."""
    return duration_ns * int(target_facts.facts["counter_hz"]) // NSEC_PER_SEC


def counter_traps(vcpu: Arm64Vcpu, target_facts: Probe) -> bool:
    """Return whether CNTPCT_EL0 traps while it has an offset, as the table of traps has it.

    It does not if KVM uses CNTPOFF_EL2 (since v6.4, VHE only), nor in protected mode.
    """
    facts = target_facts.facts
    uses_cntpoff = facts["mode"] == "vhe" and facts["KVM_CAP_COUNTER_OFFSET"] and vcpu.ecv >= 2
    return facts["mode"] != "protected" and not uses_cntpoff
