# SPDX-License-Identifier: GPL-2.0-only
"""EL1 timers saved with their GICv3 before, at and after a deadline, and restored in another VM.

A VMM saves CTL, CVAL and counts of a vCPU, and its GIC as a device. No text says which of them comes first
when they are restored, and it must not matter: no entry lies in between. Counts are restored by value, so the
guest's counters continue where they stood, or further by what a VMM adds for the blackout.

Source: arch/arm64/kvm/arch_timer.c: kvm_timer_vcpu_load_gic(), kvm_arm_timer_set_reg();
arch/arm64/kvm/vgic/vgic-mmio.c: vgic_uaccess_write_senable(), vgic_write_irq_line_level_info().
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fixtures.counters import signed
from fixtures.kvm.arm64.interrupts import POLLING, WFI, GicGuest, Patience, Waited
from fixtures.kvm.arm64.pace import unhurried_ns
from fixtures.kvm.arm64.vcpu import Arm64Vcpu
from fixtures.kvm.arm64.vm import Arm64Vm
from fixtures.kvm.system import Kvm
from fixtures.restore.arm64.vcpu import ORDERS, PARTS
from fixtures.restore.arm64.vcpu import TIMERS as TIMER_PARTS
from fixtures.restore.parts import Saved, copy_memory, restore, save
from kvmtests.arm64.timers import ENABLE, IMASK, ISTATUS, TIMERS, Timer

pytestmark = [
    pytest.mark.promise(architectural="Arm ARM, The Generic Timer in AArch64 state: timers"),
    pytest.mark.thorough,
]

AHEAD = 2**40  # ticks: longer than a test
LATE_DISTRIBUTOR = {
    "timers-first": (*TIMER_PARTS, "gic", "distributor"),
    "timers-last": ("gic", "distributor", *TIMER_PARTS),
}
FORWARDING = pytest.mark.promise(architectural="Arm IHI 0069, Enabling the distribution of interrupts")
INTIDS = {"cntv": 27, "cntp": 30}
SILENCES = [pytest.param(0, id="disabled"), pytest.param(ENABLE | IMASK, id="masked")]
WAITS = [pytest.param(WFI, id="wfi"), pytest.param(POLLING, id="polling", marks=pytest.mark.stress)]


@pytest.fixture
def source(vm: Arm64Vm, vcpu: Arm64Vcpu) -> GicGuest:
    """The vCPU that is saved: both timers' interrupts are enabled by its guest."""
    guest = with_gic(vm, vcpu)
    guest.enable(INTIDS.values())
    return guest


@pytest.fixture
def period_ns(source: GicGuest) -> int:
    """10 ms, or more on a slow host."""
    return unhurried_ns(source.vcpu)


def with_gic(vm: Arm64Vm, vcpu: Arm64Vcpu) -> GicGuest:
    """Return *vcpu* with a GIC that its guest has not seen yet; `CapabilityMissing` without one."""
    gic = vm.create_gic()
    gic.require_registers()
    gic.init()
    return GicGuest(vcpu)


def own(timer: Timer, waited: Waited) -> list[int]:
    """Return the interrupts of *timer*; the other timer's ends a wait."""
    return [one.intid for one in waited.interrupts if one.intid == INTIDS[timer.prefix]]


def to_come(timer: Timer, vcpu: Arm64Vcpu, period_ns: int, period: int) -> None:
    """Arm a deadline that has probably not passed when the vCPU is saved."""
    del period_ns
    timer.arm(vcpu, timer.count(vcpu) + period)


def passed_outside(timer: Timer, vcpu: Arm64Vcpu, period_ns: int, period: int) -> None:
    """Let a deadline pass while the vCPU is not in KVM_RUN: the GIC has not seen its line."""
    to_come(timer, vcpu, period_ns, period)
    vcpu.vm.time.sleep_ns(2 * period_ns)


def pending(timer: Timer, vcpu: Arm64Vcpu, period_ns: int, period: int) -> None:
    """Let a deadline pass, and the guest run with interrupts masked: the line is high in the GIC."""
    passed_outside(timer, vcpu, period_ns, period)
    vcpu.guest.read_cntvct()


Moment = Callable[[Timer, Arm64Vcpu, int, int], None]
MOMENTS = [
    pytest.param(to_come, id="to-come"),
    pytest.param(passed_outside, id="passed-when-saved"),
    pytest.param(pending, id="pending-when-saved"),
]


def other_vm(kvm: Kvm[Arm64Vm]) -> GicGuest:
    """Return the vCPU of another VM, into which nothing was restored yet."""
    vm = kvm.create_vm()
    return with_gic(vm, vm.create_vcpu(0))


def moved(kvm: Kvm[Arm64Vm], source: Arm64Vcpu, order: tuple[str, ...]) -> GicGuest:
    """Return a vCPU of another VM to which *source* was saved and restored in *order*."""
    return restored(kvm, source, save(source, PARTS, order), order)


def restored(kvm: Kvm[Arm64Vm], source: Arm64Vcpu, saved: Saved, order: tuple[str, ...]) -> GicGuest:
    """Return a vCPU of another VM with the memory of *source*, and *saved* in *order*."""
    destination = other_vm(kvm)
    copy_memory(source, destination.vcpu)
    restore(destination.vcpu, PARTS, saved, order)
    return destination


@pytest.mark.parametrize("wait", WAITS)
@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("timer", TIMERS)
def test_restored_deadline_interrupts_once(
    kvm: Kvm[Arm64Vm],
    source: GicGuest,
    timer: Timer,
    moment: Moment,
    order: tuple[str, ...],
    wait: int,
    period_ns: int,
    period: int,
    quiet: int,
) -> None:
    """Whenever it passes, a deadline gives one interrupt in the VM of its restoration, and not early."""
    moment(timer, source.vcpu, period_ns, period)
    deadline = timer.get(source.vcpu, "cval")

    destination = moved(kvm, source.vcpu, order)
    waited = destination.wait(timer.prefix, Patience(2 * period + quiet, wait=wait))

    states = [one.of(timer.counter) for one in waited.interrupts if one.intid == INTIDS[timer.prefix]]
    assert [signed(state.count - deadline) for state in states if signed(state.count - deadline) < 0] == []
    assert own(timer, waited) == [INTIDS[timer.prefix]]
    assert (states[0].ctl, states[0].cval) == (ENABLE | ISTATUS, deadline)


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
@pytest.mark.parametrize("timer", TIMERS)
def test_deadline_that_passed_on_the_way_interrupts_once(
    kvm: Kvm[Arm64Vm], source: GicGuest, timer: Timer, order: tuple[str, ...], quiet: int
) -> None:
    """A deadline before the count that is restored interrupts once, whenever the count is restored."""
    timer.arm(source.vcpu, timer.count(source.vcpu) + AHEAD)
    saved = dict(save(source.vcpu, PARTS, order))
    deadline = timer.get(source.vcpu, "cval")
    saved[f"{timer.counter}_count"] = deadline + 1

    destination = restored(kvm, source.vcpu, saved, order)
    waited = destination.wait(timer.prefix, Patience(quiet))

    assert own(timer, waited) == [INTIDS[timer.prefix]]
    state = next(one.of(timer.counter) for one in waited.interrupts if one.intid == INTIDS[timer.prefix])
    assert signed(state.count - deadline) >= 0


@pytest.mark.parametrize("silence", SILENCES)
@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
@pytest.mark.parametrize("timer", TIMERS)
def test_handled_deadline_stays_silent(
    kvm: Kvm[Arm64Vm], source: GicGuest, timer: Timer, order: tuple[str, ...], silence: int, quiet: int
) -> None:
    """A deadline whose interrupt was taken before the vCPU was saved gives no other one after that."""
    taken = source.program(f"{timer.prefix}_cval", 0, Patience(quiet), then=silence)

    destination = moved(kvm, source.vcpu, order)
    again = destination.wait(timer.prefix, Patience(quiet))

    assert (own(timer, taken), own(timer, again)) == ([INTIDS[timer.prefix]], [])


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
@pytest.mark.parametrize("timer", TIMERS)
def test_masked_deadline_interrupts_once_unmasked(
    kvm: Kvm[Arm64Vm], source: GicGuest, timer: Timer, order: tuple[str, ...], quiet: int
) -> None:
    """A timer that is due and masked when it is saved interrupts once when it is unmasked elsewhere."""
    timer.arm(source.vcpu, timer.count(source.vcpu), ENABLE | IMASK)

    destination = moved(kvm, source.vcpu, order)
    held = destination.wait(timer.prefix, Patience(quiet))
    released = destination.control(timer.prefix, ENABLE, Patience(quiet))

    assert (own(timer, held), own(timer, released)) == ([], [INTIDS[timer.prefix]])


@FORWARDING
@pytest.mark.parametrize("timer", TIMERS)
def test_guest_that_enables_its_distributor_gets_the_interrupt_that_waits(
    kvm: Kvm[Arm64Vm], source: GicGuest, timer: Timer, quiet: int
) -> None:
    """A timer that is due and enabled in its redistributor interrupts once the distributor is enabled."""
    timer.arm(source.vcpu, timer.count(source.vcpu))
    saved = save(source.vcpu, PARTS, TIMER_PARTS)

    destination = other_vm(kvm)
    restore(destination.vcpu, PARTS, saved, TIMER_PARTS)
    destination.enable(INTIDS.values())
    waited = destination.wait(timer.prefix, Patience(quiet))

    assert own(timer, waited) == [INTIDS[timer.prefix]]


@FORWARDING
@pytest.mark.parametrize("order", LATE_DISTRIBUTOR.values(), ids=LATE_DISTRIBUTOR)
@pytest.mark.parametrize("moment", [passed_outside, pending], ids=["passed-when-saved", "pending-when-saved"])
@pytest.mark.parametrize("timer", TIMERS)
def test_distributor_restored_last_forwards_the_interrupt_that_waits(
    kvm: Kvm[Arm64Vm],
    source: GicGuest,
    timer: Timer,
    moment: Moment,
    order: tuple[str, ...],
    period_ns: int,
    period: int,
    quiet: int,
) -> None:
    """A timer whose line was restored as high interrupts once when GICD_CTLR is restored after that."""
    moment(timer, source.vcpu, period_ns, period)

    destination = moved(kvm, source.vcpu, order)
    waited = destination.wait(timer.prefix, Patience(quiet))

    assert own(timer, waited) == [INTIDS[timer.prefix]]
