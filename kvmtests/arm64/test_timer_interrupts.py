# SPDX-License-Identifier: GPL-2.0-only
"""Interrupts of the EL1 timers, delivered to the guest by an in-kernel GICv3.

The guest programs timer and GIC itself, and waits in WFI or computing. Its handler notes INTID,
counts, CTL and CVAL, then disables or masks the timer. The other timer ends each wait, so that a
missing interrupt gives a short list instead of a guest that hangs. An interrupt is never early and
comes once for each deadline. Other programs share the host, so only the median of its lateness
must be less than the period.

Source: arch/arm64/kvm/arch_timer.c: kvm_timer_update_irq(), kvm_timer_vcpu_load_gic(),
kvm_arch_timer_handler(); arch/arm64/kvm/vgic/vgic.c: vgic_irq_handle_resampling(); Arm ARM, D12.2.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

import pytest

from fixtures.counters import NSEC_PER_SEC, signed, wrap
from fixtures.kvm.arm64.interrupts import POLLING, ROOM, WFI, GicGuest, Interrupt, Patience
from fixtures.kvm.arm64.pace import unhurried_ns
from fixtures.kvm.arm64.values import Counter
from fixtures.kvm.arm64.vcpu import Arm64Vcpu
from fixtures.kvm.arm64.vm import Arm64Vm
from fixtures.targets import Probe
from fixtures.uapi.arm64 import kvm as kvm_arm64
from kvmtests.arm64.counters import beyond_the_host, fitted, offset_counter, ticks, without_wrapping
from kvmtests.arm64.timers import ENABLE, IMASK, ISTATUS, PHYSICAL, TIMERS, VIRTUAL, Timer

pytestmark = [
    pytest.mark.promise(architectural="Arm ARM, The Generic Timer in AArch64 state: timers"),
    pytest.mark.thorough,
]

FIRINGS = 5
AHEAD = 2**40  # ticks: longer than a test
BASE = wrap(-AHEAD)  # an offset from which the guest's counter can be moved back without wrapping
STEP = 2**30  # ticks
INTIDS = {Counter.VIRTUAL: 27, Counter.PHYSICAL: 30}
OTHER = {Counter.VIRTUAL: PHYSICAL, Counter.PHYSICAL: VIRTUAL}
NUMBERS = {
    Counter.VIRTUAL: kvm_arm64.KVM_ARM_VCPU_TIMER_IRQ_VTIMER,
    Counter.PHYSICAL: kvm_arm64.KVM_ARM_VCPU_TIMER_IRQ_PTIMER,
}
WAITS = [pytest.param(WFI, id="wfi"), pytest.param(POLLING, id="polling", marks=pytest.mark.stress)]
SILENCES = [pytest.param(0, id="disabled"), pytest.param(ENABLE | IMASK, id="masked")]
DUE = [
    pytest.param("cval", 0, id="cval-zero"),
    pytest.param("cval", 1, id="cval-one"),
    pytest.param("tval", 0, id="tval-zero"),
    pytest.param("tval", 1, id="tval-one"),
    pytest.param("tval", 2**32 - 1, id="tval-minus-one"),
]
JUMPS = [
    pytest.param(0, lambda vcpu: fitted(vcpu, 2**63 - 1), id="to-two-to-63"),
    pytest.param(0, beyond_the_host, id="beyond-the-hosts-count"),
    pytest.param(2**63, lambda vcpu: fitted(vcpu, 2**64 - AHEAD), id="near-the-end"),
]
OFFSETS_NS = [
    pytest.param(5 * NSEC_PER_SEC, id="plus-5s"),
    pytest.param(-5 * NSEC_PER_SEC, id="minus-5s"),
    pytest.param(-(10**6) * NSEC_PER_SEC, id="minus-11d"),
]


@pytest.fixture
def guest(vm: Arm64Vm, vcpu: Arm64Vcpu) -> GicGuest:
    """vCPU 0 with an in-kernel GICv3, both timers' interrupts enabled."""
    gic = vm.create_gic()
    gic.require_registers()
    gic.init()
    return enabled(vcpu, *INTIDS.values())


@pytest.fixture
def period_ns(guest: GicGuest) -> int:
    """10 ms, or more on a slow host."""
    return unhurried_ns(guest.vcpu)


def enabled(vcpu: Arm64Vcpu, *intids: int) -> GicGuest:
    """Return *vcpu* with the interrupts *intids* enabled."""
    guest = GicGuest(vcpu)
    guest.enable(intids)
    return guest


def own(timer: Timer, intids: list[int]) -> list[int]:
    """Return *intids* without the interrupt of the other timer, which ends a wait."""
    return [intid for intid in intids if intid != INTIDS[OTHER[timer.counter].counter]]


@pytest.mark.parametrize("register", ["cval", "tval"])
@pytest.mark.parametrize("wait", WAITS)
@pytest.mark.parametrize("timer", TIMERS)
def test_interrupt_comes_at_its_deadline(
    guest: GicGuest, timer: Timer, wait: int, register: str, period: int
) -> None:
    """Each deadline gives the timer's interrupt, not before CVAL; its handler finds ISTATUS set."""
    patience = Patience(50 * period, enough=1, wait=wait)
    taken: list[Interrupt] = []
    for _ in range(FIRINGS):
        start = {"cval": timer.count(guest.vcpu), "tval": 0}[register]
        waited = guest.program(f"{timer.prefix}_{register}", start + period, patience)
        taken += waited.interrupts

    assert [interrupt.intid for interrupt in taken] == [INTIDS[timer.counter]] * FIRINGS
    states = [interrupt.of(timer.counter) for interrupt in taken]
    assert [state.ctl for state in states] == [ENABLE | ISTATUS] * FIRINGS
    late = [signed(state.count - state.cval) for state in states]
    assert min(late) >= 0
    assert median(late) < period


@pytest.mark.parametrize("timer", TIMERS)
def test_tval_deadline_is_that_far_after_its_programming(guest: GicGuest, timer: Timer, period: int) -> None:
    """A handler finds CVAL = the count at which TVAL was written + TVAL, and the count at or after it."""
    waited = guest.program(f"{timer.prefix}_tval", period, Patience(50 * period, enough=1))

    state = waited.interrupts[0].of(timer.counter)
    assert waited.before + period <= state.cval <= state.count <= waited.after


@pytest.mark.promise(
    documented="Documentation/virt/kvm/devices/vcpu.rst, KVM_ARM_VCPU_TIMER_IRQ_VTIMER and others"
)
@pytest.mark.parametrize(
    ("virtual", "physical"), [pytest.param(16, 31, id="16-and-31"), pytest.param(30, 27, id="swapped")]
)
@pytest.mark.parametrize("timer", TIMERS)
def test_interrupt_has_the_number_that_user_space_chose(
    vm: Arm64Vm, vcpu: Arm64Vcpu, timer: Timer, virtual: int, physical: int
) -> None:
    """KVM_ARM_VCPU_TIMER_IRQ_VTIMER and _PTIMER are the INTIDs that handlers read."""
    gic = vm.create_gic()
    gic.require_registers()
    chosen = {Counter.VIRTUAL: virtual, Counter.PHYSICAL: physical}
    for counter, number in NUMBERS.items():
        attribute = vcpu.attribute(kvm_arm64.KVM_ARM_VCPU_TIMER_CTRL, number, "KVM_ARM_VCPU_TIMER_IRQ")
        attribute.set_int(chosen[counter])
    gic.init()
    guest = enabled(vcpu, virtual, physical)

    waited = guest.program(f"{timer.prefix}_cval", 0, Patience(AHEAD, enough=1))

    assert waited.intids() == [chosen[timer.counter]]


@pytest.mark.parametrize("silence", SILENCES)
@pytest.mark.parametrize("wait", WAITS)
@pytest.mark.parametrize(("register", "value"), DUE)
@pytest.mark.parametrize("timer", TIMERS)
def test_deadline_that_has_passed_gives_one_interrupt(
    guest: GicGuest, timer: Timer, register: str, value: int, wait: int, silence: int, quiet: int
) -> None:
    """A timer that is due when it is programmed interrupts at once, and once."""
    waited = guest.program(f"{timer.prefix}_{register}", value, Patience(quiet, wait=wait), then=silence)

    assert own(timer, waited.intids()) == [INTIDS[timer.counter]]


@pytest.mark.parametrize("silence", SILENCES)
@pytest.mark.parametrize("wait", WAITS)
def test_lowest_tval_gives_one_interrupt(guest: GicGuest, wait: int, silence: int, quiet: int) -> None:
    """A deadline set by a TVAL of -2**31, with a larger count, has passed and gives one interrupt.

    Only the virtual timer is tested: the physical count is the host's, which may still be smaller.
    """
    VIRTUAL.set(guest.vcpu, "cnt", AHEAD)

    waited = guest.program("cntv_tval", 2**31, Patience(quiet, wait=wait), then=silence)

    assert own(VIRTUAL, waited.intids()) == [INTIDS[Counter.VIRTUAL]]


@pytest.mark.parametrize("silence", SILENCES)
@pytest.mark.parametrize("wait", WAITS)
@pytest.mark.parametrize("timer", TIMERS)
def test_deadline_gives_one_interrupt(
    guest: GicGuest, timer: Timer, wait: int, silence: int, period: int, quiet: int
) -> None:
    """A timer that a handler disabled or masked does not interrupt again."""
    patience = Patience(period + quiet, wait=wait)

    waited = guest.program(f"{timer.prefix}_tval", period, patience, then=silence)

    assert own(timer, waited.intids()) == [INTIDS[timer.counter]]
    irqs = guest.private_irqs()
    assert (INTIDS[timer.counter] in irqs.pending, irqs.active) == (False, frozenset())


@pytest.mark.parametrize("timer", TIMERS)
def test_interrupt_that_is_not_silenced_comes_again(guest: GicGuest, timer: Timer) -> None:
    """The line is level-triggered: a handler that leaves the timer as it is gets the interrupt again."""
    waited = guest.program(f"{timer.prefix}_cval", 0, Patience(AHEAD), then=ENABLE)

    assert waited.intids() == [INTIDS[timer.counter]] * ROOM


@pytest.mark.parametrize("wait", WAITS)
@pytest.mark.parametrize("timer", TIMERS)
def test_handler_sees_status_as_the_count_demands(
    guest: GicGuest, timer: Timer, wait: int, period: int
) -> None:
    """In a handler of the other timer's interrupt an enabled timer with a deadline to come has no ISTATUS."""
    other = OTHER[timer.counter]
    far = wrap(timer.count(guest.vcpu) + AHEAD)

    waited = guest.program(f"{timer.prefix}_cval", far, Patience(period, enough=1, wait=wait))

    states = [interrupt.of(timer.counter) for interrupt in waited.interrupts]
    assert set(waited.intids()) <= {INTIDS[other.counter]}
    assert [state.ctl for state in states] == [ENABLE] * len(states)


@pytest.mark.parametrize("wait", WAITS)
@pytest.mark.parametrize("timer", TIMERS)
def test_last_deadline_counts(guest: GicGuest, timer: Timer, wait: int, period: int) -> None:
    """Of two deadlines the last one programmed counts, whether it is the shorter or the longer one.

    Its interrupt comes once, and not early.
    """
    name, moment = f"{timer.prefix}_cval", Patience(0, wait=wait)
    patience = Patience(50 * period, enough=1, wait=wait)
    none = guest.program(name, timer.count(guest.vcpu) + AHEAD, moment).interrupts
    shorter = guest.program(name, timer.count(guest.vcpu) + period, patience)
    timer.arm(guest.vcpu, timer.count(guest.vcpu) + period)
    longer = guest.program(name, timer.count(guest.vcpu) + 3 * period, patience)

    assert own(timer, [interrupt.intid for interrupt in none]) == []
    for interrupt in (*shorter.interrupts, *longer.interrupts):
        state = interrupt.of(timer.counter)
        assert signed(state.count - state.cval) >= 0
    assert shorter.intids() == longer.intids() == [INTIDS[timer.counter]]


@pytest.mark.parametrize("wait", WAITS)
@pytest.mark.parametrize("timer", TIMERS)
def test_mask_holds_the_interrupt_until_it_is_taken_off(
    guest: GicGuest, timer: Timer, wait: int, quiet: int
) -> None:
    """A timer that is due while masked does not interrupt, and interrupts once when it is unmasked."""
    patience = Patience(quiet, wait=wait)
    held = guest.program(f"{timer.prefix}_cval", 0, patience, control=ENABLE | IMASK, then=ENABLE | IMASK)
    control = timer.read(guest.vcpu, "ctl").value

    released = guest.control(timer.prefix, ENABLE, patience)

    assert (own(timer, held.intids()), control) == ([], ENABLE | IMASK | ISTATUS)
    assert own(timer, released.intids()) == [INTIDS[timer.counter]]


@pytest.mark.parametrize("control", [pytest.param(0, id="unmasked"), pytest.param(IMASK, id="masked")])
@pytest.mark.parametrize("wait", WAITS)
@pytest.mark.parametrize("timer", TIMERS)
def test_disabled_timer_is_silent(guest: GicGuest, timer: Timer, wait: int, control: int, quiet: int) -> None:
    """A timer that is not enabled gives no interrupt, however long ago its deadline was."""
    waited = guest.program(f"{timer.prefix}_cval", 0, Patience(quiet, wait=wait), control=control)

    assert own(timer, waited.intids()) == []


@pytest.mark.parametrize("wait", WAITS)
@pytest.mark.parametrize("timer", TIMERS)
def test_far_deadline_does_not_come_early(guest: GicGuest, timer: Timer, wait: int, quiet: int) -> None:
    """A CVAL beyond TVAL's range gives no interrupt."""
    taken: list[int] = []
    for distance in (2**32, AHEAD, fitted(guest.vcpu, 2**63)):
        count = timer.count(guest.vcpu)
        cval = without_wrapping(guest.vcpu, count + distance, count)
        taken += guest.program(f"{timer.prefix}_cval", cval, Patience(quiet, wait=wait)).intids()

    assert own(timer, taken) == []


@pytest.mark.promise(architectural="Arm IHI 0069, Private Peripheral Interrupts")
@pytest.mark.parametrize(
    ("ahead", "control", "pending"),
    [
        pytest.param(AHEAD, ENABLE, False, id="future"),
        pytest.param(0, ENABLE, True, id="due"),
        pytest.param(0, 0, False, id="disabled"),
        pytest.param(0, ENABLE | IMASK, False, id="masked"),
    ],
)
@pytest.mark.parametrize("timer", TIMERS)
def test_gic_shows_the_line_as_pending(
    guest: GicGuest, timer: Timer, ahead: int, control: int, pending: bool
) -> None:
    """While the CPU masks interrupts the GIC has the timer's one pending as long as its line is high."""
    timer.arm(guest.vcpu, wrap(timer.count(guest.vcpu) + ahead), control)
    before = guest.private_irqs()
    timer.write(guest.vcpu, "ctl", 0)

    after = guest.private_irqs()

    intid = INTIDS[timer.counter]
    assert (intid in before.enabled, intid in before.pending, intid in before.active) == (
        True,
        pending,
        False,
    )
    assert intid not in after.pending


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_CAP_ARM_USER_IRQ")
@pytest.mark.parametrize("timer", TIMERS)
def test_line_that_the_gic_has_is_not_user_spaces(guest: GicGuest, timer: Timer) -> None:
    """While an interrupt is pending in the GIC, and once it is silenced, kvm_run shows no line."""
    levels = []
    for control in (ENABLE, 0):
        timer.arm(guest.vcpu, timer.count(guest.vcpu), control)
        pending = INTIDS[timer.counter] in guest.private_irqs().pending
        levels.append((pending, guest.vcpu.device_irq_level))

    assert levels == [(True, 0), (False, 0)]


@pytest.mark.promise(architectural="Arm IHI 0069, Private Peripheral Interrupts")
@pytest.mark.parametrize("timer", TIMERS)
def test_pending_interrupt_is_taken_once_unmasked(guest: GicGuest, timer: Timer, quiet: int) -> None:
    """An interrupt that became pending while the CPU masked interrupts is taken once they are unmasked."""
    timer.arm(guest.vcpu, timer.count(guest.vcpu))

    waited = guest.wait(timer.prefix, Patience(quiet))

    assert own(timer, waited.intids()) == [INTIDS[timer.counter]]


@pytest.mark.parametrize("timer", TIMERS)
def test_deadline_outlasts_exits_to_user_space(
    guest: GicGuest, timer: Timer, period: int, period_ns: int
) -> None:
    """A deadline that passes while the vCPU is outside of KVM_RUN interrupts at the next entry, once."""
    guest.program(f"{timer.prefix}_cval", timer.count(guest.vcpu) + period, Patience(0))
    guest.vcpu.vm.time.sleep_ns(2 * period_ns)

    taken = [guest.wait(timer.prefix, Patience(period)).intids() for _ in range(3)]

    assert [own(timer, intids) for intids in taken] == [[INTIDS[timer.counter]], [], []]


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_SET_ONE_REG")
@pytest.mark.parametrize("wait", WAITS)
@pytest.mark.parametrize(("start", "place"), JUMPS)
@pytest.mark.parametrize("timer", TIMERS)
def test_counter_written_beyond_the_deadline_interrupts(
    guest: GicGuest, timer: Timer, start: int, place: Callable[[Arm64Vcpu], int], wait: int, quiet: int
) -> None:
    """When user space moves the counter past CVAL the timer interrupts once, and not before."""
    start = fitted(guest.vcpu, start)
    cval = without_wrapping(guest.vcpu, place(guest.vcpu), start)
    timer.set(guest.vcpu, "cnt", start)
    before = guest.program(f"{timer.prefix}_cval", cval, Patience(quiet, wait=wait))
    timer.set(guest.vcpu, "cnt", cval + 1)

    after = guest.wait(timer.prefix, Patience(quiet, wait=wait))

    assert own(timer, before.intids()) == []
    assert own(timer, after.intids()) == [INTIDS[timer.counter]]
    state = next(one.of(timer.counter) for one in after.interrupts if one.intid == INTIDS[timer.counter])
    assert (state.cval, signed(state.count - cval) >= 0) == (cval, True)


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_SET_ONE_REG")
@pytest.mark.parametrize("wait", WAITS)
@pytest.mark.parametrize("timer", TIMERS)
def test_counter_written_back_does_not_interrupt(
    guest: GicGuest, timer: Timer, wait: int, period: int, quiet: int
) -> None:
    """When user space moves the counter further below CVAL the interrupt does not come at its old time."""
    timer.set(guest.vcpu, "cnt", AHEAD)
    patience = Patience(0, wait=wait)
    before = guest.program(f"{timer.prefix}_cval", AHEAD + 100 * period, patience)
    timer.set(guest.vcpu, "cnt", 0)

    after = guest.wait(timer.prefix, Patience(quiet, wait=wait))

    assert own(timer, before.intids() + after.intids()) == []


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_ARM_SET_COUNTER_OFFSET")
@pytest.mark.parametrize("offset_ns", OFFSETS_NS)
@pytest.mark.parametrize(
    ("wait", "enough"), [pytest.param(WFI, 1, id="wfi"), pytest.param(POLLING, ROOM, id="polling")]
)
@pytest.mark.parametrize("timer", TIMERS)
def test_deadline_holds_under_an_offset(
    guest: GicGuest,
    timer: Timer,
    wait: int,
    enough: int,
    offset_ns: int,
    target_facts: Probe,
    period: int,
    quiet: int,
) -> None:
    """With an offset set before, a deadline of the guest's counter gives one interrupt, and not early.

    In WFI the first interrupt ends the wait: if KVM gave the offset to a timer and not to its
    counter, the guest would sleep for ever.
    """
    offset_counter(guest.vcpu, timer.counter, wrap(ticks(target_facts, offset_ns)))

    waited = guest.program(f"{timer.prefix}_tval", period, Patience(period + quiet, enough, wait))

    assert own(timer, waited.intids()) == [INTIDS[timer.counter]]
    state = next(one.of(timer.counter) for one in waited.interrupts if one.intid == INTIDS[timer.counter])
    assert signed(state.count - waited.before) >= period


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_ARM_SET_COUNTER_OFFSET")
@pytest.mark.parametrize("timer", TIMERS)
def test_offset_moves_the_deadline(guest: GicGuest, timer: Timer, quiet: int) -> None:
    """A timer interrupts after an offset moved its counter past CVAL, and not after one moved it back."""
    patience = Patience(quiet, wait=POLLING)
    offset_counter(guest.vcpu, timer.counter, BASE)
    far = timer.count(guest.vcpu) + STEP
    taken = [guest.program(f"{timer.prefix}_cval", far, patience).intids()]

    for offset in (BASE + STEP, BASE - STEP):
        offset_counter(guest.vcpu, timer.counter, offset)
        taken.append(guest.wait(timer.prefix, patience).intids())

    assert [own(timer, intids) for intids in taken] == [[], [], [INTIDS[timer.counter]]]


@pytest.mark.parametrize("timer", TIMERS)
def test_interrupt_is_the_vcpus_own(vm: Arm64Vm, vcpus: list[Arm64Vcpu], timer: Timer, quiet: int) -> None:
    """A timer's interrupt goes only to the vCPU whose timer it is."""
    gic = vm.create_gic()
    gic.require_registers()
    gic.init()
    sibling, guest = (enabled(vcpu, *INTIDS.values()) for vcpu in vcpus)
    timer.arm(guest.vcpu, 0)

    elsewhere = sibling.wait(timer.prefix, Patience(quiet)).intids()
    here = guest.wait(timer.prefix, Patience(quiet)).intids()

    assert (own(timer, elsewhere), own(timer, here)) == ([], [INTIDS[timer.counter]])
