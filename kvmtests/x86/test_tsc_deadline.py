# SPDX-License-Identifier: GPL-2.0-only
"""IA32_TSC_DEADLINE: an absolute guest TSC at which the APIC timer interrupts.

Source: Intel SDM 3A, "TSC-Deadline Mode"; arch/x86/kvm/lapic.c: kvm_set_lapic_tscdeadline_msr().
"""

from __future__ import annotations

import pytest

from fixtures.counters import Window
from fixtures.guests.x86.state import TIMER_VECTOR
from fixtures.kvm.system import Kvm
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.uapi.x86.apicdef import APIC_LVTT
from fixtures.uapi.x86.msr_index import MSR_IA32_TSC_DEADLINE
from kvmtests.windows import timed
from kvmtests.x86.apic import requested, set_register, with_apic_timer

pytestmark = [
    pytest.mark.promise(architectural="Intel SDM 3A, APIC Timer: TSC-Deadline Mode"),
    pytest.mark.thorough,
]

ONE_SHOT = 0 << 17
SOON_TICKS = 1_000_000
NEVER = 2**62


@pytest.fixture
def apic_vcpu(vm: X86Vm) -> X86Vcpu:
    """vCPU 0 with an in-kernel APIC whose timer follows IA32_TSC_DEADLINE."""
    return with_apic_timer(vm)


def shoot(vcpu: X86Vcpu, ticks: int = SOON_TICKS) -> tuple[int, int, int, int]:
    """Let the guest sleep for *ticks*; return its TSC in the handler and before, deadline, interrupts."""
    vcpu.guest.run("tsc_deadline", (ticks,))
    handled_tsc, before_tsc, deadline_tsc, interrupts = vcpu.guest.results(4)
    return handled_tsc, before_tsc, deadline_tsc, interrupts


@pytest.mark.parametrize("deadline", [pytest.param(NEVER, id="far"), pytest.param(2**64 - 1, id="all-ones")])
def test_deadline_reads_back(apic_vcpu: X86Vcpu, deadline: int) -> None:
    """A deadline in the future that the host wrote reads back; 0 disarms the timer."""
    apic_vcpu.set_msr(MSR_IA32_TSC_DEADLINE, deadline)
    by_guest = apic_vcpu.guest.rdmsr(MSR_IA32_TSC_DEADLINE).value

    apic_vcpu.guest.wrmsr(MSR_IA32_TSC_DEADLINE, 0)

    assert by_guest == deadline
    assert apic_vcpu.get_msr(MSR_IA32_TSC_DEADLINE) == 0


def test_other_timer_modes_take_no_deadline(apic_vcpu: X86Vcpu) -> None:
    """In one-shot mode a deadline is not stored: the register reads 0."""
    set_register(apic_vcpu, APIC_LVTT, ONE_SHOT | TIMER_VECTOR)

    apic_vcpu.guest.wrmsr(MSR_IA32_TSC_DEADLINE, NEVER)

    assert apic_vcpu.get_msr(MSR_IA32_TSC_DEADLINE) == 0


def test_interrupt_comes_once_and_not_early(apic_vcpu: X86Vcpu) -> None:
    """The guest's handler runs once, at a TSC that has reached the deadline; the register is 0 again."""
    span, (handled_tsc, before_tsc, deadline_tsc, interrupts) = timed(apic_vcpu.vm, lambda: shoot(apic_vcpu))

    left = apic_vcpu.get_msr(MSR_IA32_TSC_DEADLINE), requested(apic_vcpu)
    assert (interrupts, *left) == (1, 0, False)
    assert handled_tsc in Window(deadline_tsc, before_tsc + span.width)


def test_deadline_in_the_past_interrupts_at_once(apic_vcpu: X86Vcpu) -> None:
    """A deadline that the guest's TSC has already passed interrupts, once, and the register is 0 again."""
    span, (handled_tsc, before_tsc, _, interrupts) = timed(apic_vcpu.vm, lambda: shoot(apic_vcpu, -1 % 2**64))

    left = apic_vcpu.get_msr(MSR_IA32_TSC_DEADLINE), requested(apic_vcpu)
    assert (interrupts, *left) == (1, 0, False)
    assert handled_tsc in Window(before_tsc, before_tsc + span.width)


@pytest.mark.usefixtures("settable_tsc")
@pytest.mark.parametrize(
    "tsc_offset", [pytest.param(2**45, id="ahead"), pytest.param(2**64 - 2**40, id="behind")]
)
def test_deadline_counts_in_guest_ticks(apic_vcpu: X86Vcpu, tsc_offset: int) -> None:
    """A vCPU with a TSC of its own sleeps until that TSC reaches the deadline."""
    apic_vcpu.tsc_offset = tsc_offset

    span, (handled_tsc, before_tsc, deadline_tsc, _) = timed(apic_vcpu.vm, lambda: shoot(apic_vcpu))

    assert before_tsc in span.shifted(tsc_offset)
    assert handled_tsc in Window(deadline_tsc, before_tsc + span.width)


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
def test_restored_deadline_reads_back(kvm: Kvm[X86Vm], apic_vcpu: X86Vcpu) -> None:
    """A vCPU that gets another's offset, APIC state and deadline, in this order, has that deadline."""
    apic_vcpu.tsc_offset = 2**40
    apic_vcpu.guest.wrmsr(MSR_IA32_TSC_DEADLINE, NEVER)
    destination = kvm.create_vm()
    restored = with_apic_timer(destination)

    restored.tsc_offset = apic_vcpu.tsc_offset
    restored.lapic = apic_vcpu.lapic
    restored.set_msr(MSR_IA32_TSC_DEADLINE, apic_vcpu.get_msr(MSR_IA32_TSC_DEADLINE))

    assert restored.get_msr(MSR_IA32_TSC_DEADLINE) == NEVER
    assert restored.guest.rdmsr(MSR_IA32_TSC_DEADLINE).value == NEVER
