# SPDX-License-Identifier: GPL-2.0-only
"""A TSC deadline that passes while the vCPU is outside of KVM_RUN, and one that is restored in another VM.

Until the next KVM_RUN a deadline that has passed stays in IA32_TSC_DEADLINE, or its interrupt is in the
APIC's IRR already: a VMM that saves both loses nothing.

Source: arch/x86/kvm/lapic.c: apic_timer_expired(), kvm_inject_apic_timer_irqs(), kvm_apic_set_state().
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fixtures.counters import NSEC_PER_MSEC
from fixtures.guests.x86.state import TIMER_VECTOR
from fixtures.kvm.system import Kvm
from fixtures.kvm.x86.pace import times_ahead_ns, too_slow
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.restore.parts import Saved, copy_memory, restore, save
from fixtures.restore.x86.vcpu import ORDERS, PARTS
from fixtures.uapi.kvm import KVM_MP_STATE_HALTED
from fixtures.uapi.x86.apicdef import APIC_LVT_MASKED, APIC_LVT_TIMER_TSCDEADLINE, APIC_LVTT
from fixtures.uapi.x86.msr_index import MSR_IA32_TSC_DEADLINE
from fixtures.uapi.x86.processor_flags import X86_EFLAGS_IF
from kvmtests.x86.apic import (
    ONCE,
    arm,
    interrupts,
    interrupts_after_halt,
    is_ahead,
    requested,
    requested_in,
    set_register,
    with_apic,
    with_apic_timer,
)

pytestmark = [
    pytest.mark.promise(architectural="Intel SDM 3A, APIC Timer: TSC-Deadline Mode"),
    pytest.mark.thorough,
    pytest.mark.usefixtures("stable_tsc"),
]

SECOND_NS = 1_000 * NSEC_PER_MSEC
ONE_SHOT = 0 << 17


@pytest.fixture
def apic_vcpu(vm: X86Vm) -> X86Vcpu:
    """vCPU 0 with an APIC timer in TSC-deadline mode."""
    return with_apic_timer(vm)


def pass_outside(vcpu: X86Vcpu) -> None:
    """Let a deadline of the vCPU pass while it is not in KVM_RUN."""
    arm(vcpu, NSEC_PER_MSEC)
    vcpu.vm.time.sleep_ns(3 * NSEC_PER_MSEC)


def pass_into_a_request(vcpu: X86Vcpu) -> None:
    """Let the deadline pass, and the guest run with interrupts off: its interrupt is in IRR when saved."""
    pass_outside(vcpu)
    vcpu.guest.run("tsc")


def pass_afterwards(vcpu: X86Vcpu) -> None:
    """Arm a deadline that has not passed when the vCPU is saved, and has when it is restored."""
    arm(vcpu, 2 * NSEC_PER_MSEC)


def arm_later(_vcpu: X86Vcpu) -> None:
    """Leave it to `moved_in_time` to arm a deadline."""


def moved(kvm: Kvm[X86Vm], source: X86Vcpu, order: tuple[str, ...]) -> X86Vcpu:
    """Return a vCPU of another VM to which *source* was saved and restored in *order*, 5 ms apart."""
    saved: Saved = save(source, PARTS, order)
    destination = with_apic(kvm.create_vm())
    copy_memory(source, destination)
    destination.vm.time.sleep_ns(5 * NSEC_PER_MSEC)
    restore(destination, PARTS, saved, order)
    return destination


def moved_in_time(kvm: Kvm[X86Vm], source: X86Vcpu, order: tuple[str, ...]) -> X86Vcpu:
    """Return what `moved` does, with a deadline that is still to come for the restored vCPU.

    A deadline that passes too soon may leave a request in the APIC of *source*, which is put back then.
    """
    registers = source.lapic
    for ahead_ns in times_ahead_ns():
        deadline = arm(source, ahead_ns)
        destination = moved(kvm, source, order)
        if is_ahead(destination, deadline):
            return destination
        source.set_msr(MSR_IA32_TSC_DEADLINE, 0)
        source.lapic = registers
    raise too_slow("saving and restoring a vCPU")


Moment = Callable[[X86Vcpu], None]
Move = Callable[[Kvm[X86Vm], X86Vcpu, tuple[str, ...]], X86Vcpu]

MOMENTS = [
    pytest.param(pass_into_a_request, moved, id="requested-when-saved"),
    pytest.param(pass_outside, moved, id="passed-when-saved"),
    pytest.param(pass_afterwards, moved, id="passed-when-restored"),
    pytest.param(arm_later, moved_in_time, id="to-come"),
]


@pytest.mark.parametrize("order", [("deadline", "lapic"), ("lapic", "deadline")], ids="-".join)
def test_passed_deadline_is_armed_or_requested(apic_vcpu: X86Vcpu, order: tuple[str, str]) -> None:
    """A deadline that has passed outside of KVM_RUN is in its MSR or its interrupt is in IRR, as saved."""
    pass_outside(apic_vcpu)

    saved = save(apic_vcpu, PARTS, order)

    assert saved["deadline"] or requested_in(saved["lapic"])


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
def test_passed_deadline_waits_for_the_next_run(apic_vcpu: X86Vcpu) -> None:
    """A deadline that has passed reads back, and is not requested, until KVM_RUN makes a request of it."""
    deadline = arm(apic_vcpu, NSEC_PER_MSEC)
    apic_vcpu.vm.time.sleep_ns(3 * NSEC_PER_MSEC)

    outside = apic_vcpu.get_msr(MSR_IA32_TSC_DEADLINE), requested(apic_vcpu)
    apic_vcpu.poke_without_entry()
    poked = apic_vcpu.get_msr(MSR_IA32_TSC_DEADLINE), requested(apic_vcpu)
    apic_vcpu.guest.run("tsc")
    entered = apic_vcpu.get_msr(MSR_IA32_TSC_DEADLINE), requested(apic_vcpu)

    assert outside == poked == (deadline, False)
    assert entered == (0, True)


def test_passed_deadline_interrupts_once(apic_vcpu: X86Vcpu) -> None:
    """A deadline that has passed outside of KVM_RUN interrupts at the next entry, once."""
    pass_outside(apic_vcpu)

    assert interrupts(apic_vcpu, "sleep").outcome == ONCE


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
@pytest.mark.parametrize(("moment", "move"), MOMENTS)
def test_restored_deadline_interrupts_once(
    kvm: Kvm[X86Vm], apic_vcpu: X86Vcpu, moment: Moment, move: Move, order: tuple[str, ...]
) -> None:
    """Whenever it passes, a deadline interrupts once in the VM in which it was restored after the APIC."""
    apic_vcpu.guest.enable_kvmclock()
    moment(apic_vcpu)

    destination = move(kvm, apic_vcpu, order)

    assert interrupts(destination, "sleep").outcome == ONCE


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
@pytest.mark.parametrize(("moment", "move"), MOMENTS)
def test_restored_halted_vcpu_wakes_once(
    kvm: Kvm[X86Vm], apic_vcpu: X86Vcpu, moment: Moment, move: Move, order: tuple[str, ...]
) -> None:
    """A vCPU that was halted when it was saved is woken by its deadline, once, in the other VM."""
    moment(apic_vcpu)
    apic_vcpu.guest.restart("await_interrupt")
    regs = apic_vcpu.regs
    regs.rflags |= X86_EFLAGS_IF
    apic_vcpu.regs = regs
    apic_vcpu.mp_state = KVM_MP_STATE_HALTED

    destination = move(kvm, apic_vcpu, order)

    assert interrupts_after_halt(destination).outcome == ONCE


@pytest.mark.promise(architectural="Intel SDM 3A, Local Vector Table: Mask")
@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_masked_deadline_stays_silent(kvm: Kvm[X86Vm], apic_vcpu: X86Vcpu, order: tuple[str, ...]) -> None:
    """A deadline that passes on the way while the timer's entry is masked interrupts nobody afterwards."""
    set_register(apic_vcpu, APIC_LVTT, APIC_LVT_TIMER_TSCDEADLINE | APIC_LVT_MASKED | TIMER_VECTOR)
    pass_afterwards(apic_vcpu)

    seen = interrupts(moved(kvm, apic_vcpu, order))

    assert (seen.count, seen.requested) == (0, False)


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
def test_restored_deadline_is_not_early(kvm: Kvm[X86Vm], apic_vcpu: X86Vcpu) -> None:
    """The restored vCPU's handler reads a TSC that has reached the deadline."""
    deadline = arm(apic_vcpu, 20 * NSEC_PER_MSEC)

    destination = moved(kvm, apic_vcpu, ORDERS["by-offset"])
    seen = interrupts(destination, "sleep")

    assert (seen.handled_tsc - deadline) % 2**64 < 2**63


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
def test_deadline_before_the_apic_is_lost(kvm: Kvm[X86Vm], apic_vcpu: X86Vcpu) -> None:
    """A deadline that is restored before the APIC, whose mode is another one until then, is not stored."""
    arm(apic_vcpu, SECOND_NS)

    destination = moved(kvm, apic_vcpu, ("offset", "deadline", "lapic"))

    assert (destination.get_msr(MSR_IA32_TSC_DEADLINE), requested(destination)) == (0, False)


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
def test_apic_in_its_mode_keeps_the_deadline(apic_vcpu: X86Vcpu) -> None:
    """KVM_SET_LAPIC that leaves the timer in TSC-deadline mode leaves the deadline, which interrupts once."""
    deadline = arm(apic_vcpu, NSEC_PER_MSEC)

    apic_vcpu.lapic = apic_vcpu.lapic

    assert apic_vcpu.get_msr(MSR_IA32_TSC_DEADLINE) == deadline
    assert interrupts(apic_vcpu, "sleep").outcome == ONCE


@pytest.mark.parametrize("passes", [False, True], ids=["to-come", "passed"])
def test_leaving_the_mode_disarms(apic_vcpu: X86Vcpu, passes: bool) -> None:
    """KVM_SET_LAPIC with another timer mode disarms: back in the mode the deadline is 0, and stays silent."""
    arm(apic_vcpu, NSEC_PER_MSEC)
    apic_vcpu.vm.time.sleep_ns(3 * NSEC_PER_MSEC if passes else 0)

    set_register(apic_vcpu, APIC_LVTT, ONE_SHOT | TIMER_VECTOR)
    set_register(apic_vcpu, APIC_LVTT, APIC_LVT_TIMER_TSCDEADLINE | TIMER_VECTOR)
    apic_vcpu.vm.time.sleep_ns(3 * NSEC_PER_MSEC)

    assert apic_vcpu.get_msr(MSR_IA32_TSC_DEADLINE) == 0
    assert interrupts(apic_vcpu).outcome == (0, 0, False)


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
@pytest.mark.parametrize("order", [("lapic",), ("offset", "lapic", "regs")], ids="-".join)
def test_apic_of_another_mode_ends_the_deadline(
    kvm: Kvm[X86Vm], apic_vcpu: X86Vcpu, order: tuple[str, ...]
) -> None:
    """An APIC saved in one-shot mode and restored to a vCPU with a deadline leaves it none in either mode."""
    destination = with_apic_timer(kvm.create_vm())
    arm(destination, SECOND_NS)
    set_register(apic_vcpu, APIC_LVTT, ONE_SHOT | TIMER_VECTOR)
    saved = save(apic_vcpu, PARTS, order)

    restore(destination, PARTS, saved, order)

    one_shot = destination.get_msr(MSR_IA32_TSC_DEADLINE)
    set_register(destination, APIC_LVTT, APIC_LVT_TIMER_TSCDEADLINE | TIMER_VECTOR)
    assert (one_shot, destination.get_msr(MSR_IA32_TSC_DEADLINE)) == (0, 0)


def test_host_stores_no_deadline_in_another_mode(apic_vcpu: X86Vcpu) -> None:
    """A deadline that user space writes in one-shot mode is not stored, and does not appear with the mode."""
    set_register(apic_vcpu, APIC_LVTT, ONE_SHOT | TIMER_VECTOR)

    arm(apic_vcpu, NSEC_PER_MSEC)
    stored = apic_vcpu.get_msr(MSR_IA32_TSC_DEADLINE)
    set_register(apic_vcpu, APIC_LVTT, APIC_LVT_TIMER_TSCDEADLINE | TIMER_VECTOR)

    assert (stored, apic_vcpu.get_msr(MSR_IA32_TSC_DEADLINE)) == (0, 0)
