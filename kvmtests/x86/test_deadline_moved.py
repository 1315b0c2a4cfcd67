# SPDX-License-Identifier: GPL-2.0-only
"""An armed TSC deadline, and a TSC that is moved afterwards.

Source: Intel SDM 3A, TSC-Deadline Mode: the timer interrupts when the TSC has reached the deadline, however
it came there.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fixtures.counters import NSEC_PER_MSEC
from fixtures.kvm.errors import CapabilityMissing
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.uapi import kvm as uapi
from fixtures.uapi.x86.msr_index import MSR_IA32_TSC, MSR_IA32_TSC_ADJUST
from kvmtests.x86.apic import ONCE, arm, interrupts, with_apic_timer
from kvmtests.x86.moves import require_offsets

pytestmark = [
    pytest.mark.promise(architectural="Intel SDM 3A, APIC Timer: TSC-Deadline Mode"),
    pytest.mark.thorough,
    pytest.mark.usefixtures("settable_tsc", "stable_tsc"),
]

HOUR_NS = 3_600 * 1_000 * NSEC_PER_MSEC

Lever = Callable[[X86Vcpu, int], None]


def by_offset(vcpu: X86Vcpu, ticks: int) -> None:
    """User space moves the TSC by KVM_VCPU_TSC_OFFSET."""
    vcpu.tsc_offset = (vcpu.tsc_offset + ticks) % 2**64


def by_value(vcpu: X86Vcpu, ticks: int) -> None:
    """User space moves the TSC by writing IA32_TSC."""
    vcpu.set_msr(MSR_IA32_TSC, (vcpu.get_msr(MSR_IA32_TSC) + ticks) % 2**64)


def by_guest_value(vcpu: X86Vcpu, ticks: int) -> None:
    """The guest moves its TSC by writing IA32_TSC."""
    vcpu.guest.wrmsr(MSR_IA32_TSC, (vcpu.get_msr(MSR_IA32_TSC) + ticks) % 2**64)


def by_guest_adjust(vcpu: X86Vcpu, ticks: int) -> None:
    """The guest moves its TSC by writing IA32_TSC_ADJUST."""
    vcpu.guest.wrmsr(MSR_IA32_TSC_ADJUST, (vcpu.get_msr(MSR_IA32_TSC_ADJUST) + ticks) % 2**64)


LEVERS = [
    pytest.param(by_offset, id="offset"),
    pytest.param(by_value, id="value"),
    pytest.param(by_guest_value, id="guest-value"),
    pytest.param(by_guest_adjust, id="guest-adjust"),
]


@pytest.fixture
def apic_vcpu(vm: X86Vm) -> X86Vcpu:
    """vCPU 0 with an APIC timer in TSC-deadline mode, and a TSC that can be moved by an hour either way."""
    vcpu = with_apic_timer(vm)
    require_offsets(vcpu)
    vcpu.tsc_offset = 2**50
    return vcpu


def hours(vcpu: X86Vcpu, number: int) -> int:
    """Return *number* hours in ticks of the vCPU."""
    return number * HOUR_NS * vcpu.tsc_khz // 1_000_000


@pytest.mark.parametrize("move", LEVERS)
def test_tsc_moved_past_the_deadline_interrupts(apic_vcpu: X86Vcpu, move: Lever) -> None:
    """A deadline an hour ahead interrupts, once, as soon as the TSC is moved past it."""
    deadline = arm(apic_vcpu, HOUR_NS)

    move(apic_vcpu, hours(apic_vcpu, 2))
    seen = interrupts(apic_vcpu)

    assert seen.outcome == ONCE
    assert (seen.handled_tsc - deadline) % 2**64 < 2**63


@pytest.mark.parametrize("move", LEVERS)
def test_tsc_moved_back_does_not_interrupt(apic_vcpu: X86Vcpu, move: Lever) -> None:
    """A deadline that the TSC was moved an hour away from does not interrupt when it would have before."""
    deadline = arm(apic_vcpu, 5 * NSEC_PER_MSEC)

    move(apic_vcpu, -hours(apic_vcpu, 1))
    apic_vcpu.vm.time.sleep_ns(10 * NSEC_PER_MSEC)
    seen = interrupts(apic_vcpu)

    assert seen.outcome == (0, deadline, False)


@pytest.mark.parametrize("move", LEVERS)
def test_deadline_written_after_the_move_counts(apic_vcpu: X86Vcpu, move: Lever) -> None:
    """A deadline that is written after the TSC was moved interrupts once, and not early."""
    move(apic_vcpu, hours(apic_vcpu, 1))

    deadline = arm(apic_vcpu, NSEC_PER_MSEC)
    seen = interrupts(apic_vcpu, "sleep")

    assert seen.outcome == ONCE
    assert (seen.handled_tsc - deadline) % 2**64 < 2**63


@pytest.fixture
def scaled_vcpu(vm: X86Vm) -> X86Vcpu:
    """vCPU 0 with an APIC timer in TSC-deadline mode, whose frequency KVM can change."""
    vm.require(uapi.KVM_CAP_TSC_CONTROL)
    return with_apic_timer(vm)


def test_frequency_past_the_deadline_interrupts(scaled_vcpu: X86Vcpu) -> None:
    """A frequency that puts the TSC past a deadline, as it multiplies all of it, has that interrupt, once."""
    if scaled_vcpu.vm.time.counter() <= 500 * 2 * scaled_vcpu.tsc_khz:
        raise CapabilityMissing("a host that has been up for a second")
    deadline = arm(scaled_vcpu, 500 * NSEC_PER_MSEC)

    scaled_vcpu.tsc_khz = 2 * scaled_vcpu.tsc_khz
    seen = interrupts(scaled_vcpu)

    assert seen.outcome == ONCE
    assert (seen.handled_tsc - deadline) % 2**64 < 2**63


def test_frequency_away_from_the_deadline_does_not_interrupt(scaled_vcpu: X86Vcpu) -> None:
    """A deadline that a lower frequency has moved away does not interrupt when it would have before."""
    deadline = arm(scaled_vcpu, 5 * NSEC_PER_MSEC)

    scaled_vcpu.tsc_khz = scaled_vcpu.tsc_khz // 2
    scaled_vcpu.vm.time.sleep_ns(10 * NSEC_PER_MSEC)
    seen = interrupts(scaled_vcpu)

    assert seen.outcome == (0, deadline, False)


@pytest.mark.parametrize(("times", "parts"), [pytest.param(1, 2, id="half"), pytest.param(3, 1, id="triple")])
def test_deadline_counts_at_the_new_frequency(scaled_vcpu: X86Vcpu, times: int, parts: int) -> None:
    """A deadline that is written after the frequency was set interrupts once, when the TSC has reached it.

    By the host's clock that is as many ns later as its ticks take at this frequency.
    """
    scaled_vcpu.tsc_khz = scaled_vcpu.tsc_khz * times // parts

    before_ns = scaled_vcpu.vm.time.monotonic_raw_ns()
    deadline = arm(scaled_vcpu, 20 * NSEC_PER_MSEC)
    seen = interrupts(scaled_vcpu, "sleep")

    assert scaled_vcpu.vm.time.monotonic_raw_ns() - before_ns >= 19 * NSEC_PER_MSEC
    assert seen.outcome == ONCE
    assert (seen.handled_tsc - deadline) % 2**64 < 2**63
