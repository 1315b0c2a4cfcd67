# SPDX-License-Identifier: GPL-2.0-only
"""Helpers for time bases that several subjects of Power share."""

from __future__ import annotations

import pytest

from fixtures.kvm.powerpc.vcpu import PpcVcpu

STEP = 2**24
"""What KVM rounds offsets up to a multiple of: TBU40 writes the upper 40 bits of a time base."""

OFFSETS = [
    pytest.param(0, id="zero"),
    pytest.param(STEP, id="step"),
    pytest.param(2**64 - STEP, id="minus-step"),
    pytest.param(2**36, id="two-to-36"),
    pytest.param(2**64 - 2**40, id="minus-two-to-40"),
    pytest.param(2**63, id="two-to-63"),
]
"""Offsets in ticks that KVM can hold: both signs, and where a signed number ends."""


def rounded(offset: int) -> int:
    """Return *offset* as KVM holds it: the next multiple of STEP, modulo 2**64."""
    return -(-offset // STEP) * STEP % 2**64


def guest_now(vcpu: PpcVcpu) -> int:
    """Return about what the guest's time base is, without running the guest."""
    return (vcpu.vm.time.counter() + vcpu.timebase_offset) % 2**64
