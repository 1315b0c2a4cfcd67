# SPDX-License-Identifier: GPL-2.0-only
"""TSC deadlines far ahead, taken back, and of a timer or an APIC that must not interrupt.

Source: Intel SDM 3A, TSC-Deadline Mode; Local Vector Table; Local APIC Status and Location.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fixtures.counters import NSEC_PER_MSEC, NSEC_PER_SEC
from fixtures.guests.x86.state import TIMER_VECTOR
from fixtures.kvm.errors import HarnessError
from fixtures.kvm.system import Kvm
from fixtures.kvm.x86.pace import times_ahead_ns, too_slow
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.uapi import kvm as uapi
from fixtures.uapi.x86.apicdef import (
    APIC_LVT_MASKED,
    APIC_LVT_TIMER_TSCDEADLINE,
    APIC_LVTT,
    APIC_SPIV,
)
from fixtures.uapi.x86.msr_index import MSR_IA32_TSC, MSR_IA32_TSC_DEADLINE
from kvmtests.x86.apic import (
    ONCE,
    arm,
    interrupts,
    is_ahead,
    set_register,
    with_apic_timer,
)
from kvmtests.x86.moves import require_offsets

pytestmark = [
    pytest.mark.promise(architectural="Intel SDM 3A, APIC Timer: TSC-Deadline Mode"),
    pytest.mark.thorough,
]

SOON_NS = 10 * NSEC_PER_MSEC
A_LITTLE = 2**27  # ticks: more than pass until KVM looks
FAR = [
    pytest.param(2**32 + A_LITTLE, id="two-to-32"),
    pytest.param(2**64 // NSEC_PER_SEC + A_LITTLE, id="two-to-64-ns-hz"),
    pytest.param(2**42, id="two-to-42"),
]
"""Ticks, where products and halves of 64 bits end: more than a second each on any processor."""

BEYOND_TWO_HOURS = [
    pytest.param(2**64 // 1_000_000 + A_LITTLE, id="two-to-64-ns-mhz"),
    pytest.param(2**63 + A_LITTLE, id="two-to-63"),
]


@pytest.fixture
def apic_vcpu(vm: X86Vm) -> X86Vcpu:
    """vCPU 0 with an in-kernel APIC whose timer follows IA32_TSC_DEADLINE."""
    return with_apic_timer(vm)


def arm_ahead(vcpu: X86Vcpu, ticks: int) -> int:
    """Let user space set a deadline *ticks* from the vCPU's TSC; return it."""
    deadline = (vcpu.get_msr(MSR_IA32_TSC) + ticks) % 2**64
    vcpu.set_msr(MSR_IA32_TSC_DEADLINE, deadline)
    return deadline


def let_a_little_pass(vcpu: X86Vcpu) -> None:
    """Sleep until a deadline of which KVM has kept `A_LITTLE` alone has passed, and for 20 ms more."""
    vcpu.vm.time.sleep_ns(A_LITTLE * NSEC_PER_MSEC // vcpu.tsc_khz + 2 * SOON_NS)


@pytest.mark.parametrize("ticks", FAR)
def test_far_deadline_does_not_come_early(apic_vcpu: X86Vcpu, ticks: int) -> None:
    """A deadline of a second and more ahead does not interrupt before, and stays armed."""
    deadline = arm_ahead(apic_vcpu, ticks)

    let_a_little_pass(apic_vcpu)

    assert interrupts(apic_vcpu).outcome == (0, deadline, False)


@pytest.mark.parametrize("ticks", BEYOND_TWO_HOURS)
def test_deadline_of_hours_does_not_come_early(apic_vcpu: X86Vcpu, ticks: int) -> None:
    """Nor does one that is further than 2**64 / 10**6 ticks, 2 hours at 2.6 GHz: all 64 bits count."""
    deadline = arm_ahead(apic_vcpu, ticks)

    let_a_little_pass(apic_vcpu)

    assert interrupts(apic_vcpu).outcome == (0, deadline, False)


@pytest.mark.usefixtures("settable_tsc", "stable_tsc")
def test_deadline_has_no_sign(apic_vcpu: X86Vcpu) -> None:
    """A deadline above 2**63 is to come for a TSC that is below."""
    require_offsets(apic_vcpu)
    apic_vcpu.tsc_offset = (apic_vcpu.tsc_offset + 2**63 - 2**41 - apic_vcpu.get_msr(MSR_IA32_TSC)) % 2**64
    deadline = arm_ahead(apic_vcpu, 2**42)
    if deadline <= 2**63:
        raise HarnessError(f"the deadline is {deadline:#x}: not above 2**63")

    let_a_little_pass(apic_vcpu)

    assert interrupts(apic_vcpu).outcome == (0, deadline, False)


@pytest.mark.usefixtures("settable_tsc")
def test_deadline_of_a_slower_guest_waits_for_its_ticks(apic_vcpu: X86Vcpu) -> None:
    """At half the host's frequency a deadline a second of ticks ahead comes after two seconds."""
    apic_vcpu.vm.require(uapi.KVM_CAP_TSC_CONTROL)
    host_khz = apic_vcpu.tsc_khz
    apic_vcpu.tsc_khz = host_khz // 2
    apic_vcpu.set_msr(MSR_IA32_TSC, 2**40)  # otherwise half the host counter below 0
    deadline = arm_ahead(apic_vcpu, host_khz * 1_000)

    apic_vcpu.vm.time.sleep_ns(NSEC_PER_SEC + SOON_NS)
    early = interrupts(apic_vcpu).outcome
    apic_vcpu.vm.time.sleep_ns(NSEC_PER_SEC)

    assert early == (0, deadline, False)
    assert interrupts(apic_vcpu).outcome == ONCE


Rewrite = Callable[[X86Vcpu], int]


def zero_by_guest(vcpu: X86Vcpu) -> int:
    """The guest writes 0."""
    vcpu.guest.wrmsr(MSR_IA32_TSC_DEADLINE, 0)
    return 0


def zero_by_user_space(vcpu: X86Vcpu) -> int:
    """KVM_SET_MSRS writes 0."""
    vcpu.set_msr(MSR_IA32_TSC_DEADLINE, 0)
    return 0


def much_later(vcpu: X86Vcpu) -> int:
    """User space writes a deadline 2**42 ticks after the earlier one, which has the same lower half."""
    deadline = (vcpu.get_msr(MSR_IA32_TSC_DEADLINE) + 2**42) % 2**64
    vcpu.set_msr(MSR_IA32_TSC_DEADLINE, deadline)
    return deadline


def after_the_first_of_two(kvm: Kvm[X86Vm], rewrite: Rewrite) -> tuple[X86Vcpu, int]:
    """Return a vCPU whose deadline *rewrite* replaced before it passed, after that time, and what it wrote.

    Each attempt has a VM of its own: a deadline that passed too soon may have left a request.
    """
    for ahead_ns in times_ahead_ns():
        vcpu = with_apic_timer(kvm.create_vm())
        deadline = arm(vcpu, ahead_ns)
        written = rewrite(vcpu)
        if is_ahead(vcpu, deadline):
            vcpu.vm.time.sleep_ns(ahead_ns + SOON_NS)
            return vcpu, written
    raise too_slow("writing a deadline once more")


@pytest.mark.parametrize(
    "disarm",
    [pytest.param(zero_by_guest, id="guest"), pytest.param(zero_by_user_space, id="user-space")],
)
def test_zero_takes_the_deadline_back(kvm: Kvm[X86Vm], disarm: Rewrite) -> None:
    """A timer that was armed and then given 0 does not interrupt when the deadline passes."""
    vcpu, _ = after_the_first_of_two(kvm, disarm)

    assert interrupts(vcpu).outcome == (0, 0, False)


def test_later_deadline_replaces_an_earlier_one(kvm: Kvm[X86Vm]) -> None:
    """Of two deadlines the one that was written last counts."""
    vcpu, deadline = after_the_first_of_two(kvm, much_later)

    assert interrupts(vcpu).outcome == (0, deadline, False)


@pytest.mark.promise(architectural="Intel SDM 3A, Local Vector Table: Mask")
def test_masked_timer_does_not_interrupt(apic_vcpu: X86Vcpu) -> None:
    """While its entry of the local vector table is masked, a deadline that passes interrupts nobody."""
    set_register(apic_vcpu, APIC_LVTT, APIC_LVT_TIMER_TSCDEADLINE | APIC_LVT_MASKED | TIMER_VECTOR)
    arm(apic_vcpu, SOON_NS)

    apic_vcpu.vm.time.sleep_ns(2 * SOON_NS)

    seen = interrupts(apic_vcpu)
    assert (seen.count, seen.requested) == (0, False)


@pytest.mark.promise(architectural="Intel SDM 3A, Local APIC State After It Has Been Software Disabled")
def test_disabled_apic_takes_no_timer_interrupt(apic_vcpu: X86Vcpu) -> None:
    """An APIC that software has disabled does not interrupt when the deadline passes."""
    arm(apic_vcpu, SOON_NS)
    set_register(apic_vcpu, APIC_SPIV, 0xFF)

    apic_vcpu.vm.time.sleep_ns(2 * SOON_NS)

    seen = interrupts(apic_vcpu)
    assert (seen.count, seen.requested) == (0, False)
