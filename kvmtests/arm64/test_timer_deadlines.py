# SPDX-License-Identifier: GPL-2.0-only
"""When an EL1 timer raises its line, and what that does to a vCPU that sleeps, computes or is not running.

A timer is never early. Other programs share the host, so only the median of its lateness must be
less than the period, which is 10 ms, or longer on a slow host. User space is the interrupt
controller: the line, and the KVM_RUN that ends for it (EINTR), stand for an interrupt.

Source: arch/arm64/kvm/arch_timer.c: kvm_timer_should_notify_user(), kvm_timer_blocking(),
kvm_bg_timer_expire(); arch/arm64/kvm/arm.c: kvm_arch_vcpu_ioctl_run().
"""

from __future__ import annotations

from statistics import median

import pytest

from fixtures.counters import NSEC_PER_MSEC
from fixtures.kvm.arm64.pace import unhurried_ns
from fixtures.kvm.arm64.vcpu import Arm64Vcpu
from fixtures.kvm.cpus import allowed_cpus, pin
from fixtures.kvm.exits import Exit, Interrupted, MmioExit
from fixtures.kvm.threads import together
from fixtures.targets import Target
from kvmtests.arm64.timers import ENABLE, IMASK, ISTATUS, PHYSICAL, TIMERS, VIRTUAL, Timer, require_lines

pytestmark = [
    pytest.mark.promise(architectural="Arm ARM, The Generic Timer in AArch64 state: timers"),
    pytest.mark.thorough,
]

QUIET_NS = 60 * NSEC_PER_MSEC  # in which a timer that must not fire has time to
FIRINGS = 5
READINGS = 100
TRIALS = 20
"""A signal of somebody else may end a KVM_RUN with EINTR as a line does, but not each time."""


@pytest.fixture(autouse=True)
def lines(vcpu: Arm64Vcpu) -> None:
    """kvm_run shows the timers' lines."""
    require_lines(vcpu)


@pytest.fixture
def period_ns(vcpu: Arm64Vcpu) -> int:
    """10 ms, or more on a slow host."""
    return unhurried_ns(vcpu)


def lateness(vcpu: Arm64Vcpu, timer: Timer) -> int:
    """Return by how many ticks the timer woke a guest that sleeps until it late, negative if early."""
    cval = timer.read(vcpu, "cval").value
    late = vcpu.guest.wait_for_interrupt().of(timer.counter) - cval
    assert timer.line(vcpu)
    return late


def run_to_a_line(vcpu: Arm64Vcpu) -> Exit:
    """KVM_RUN until a line changes, or the guest leaves otherwise; return how."""
    known = vcpu.device_irq_level
    left: Exit = vcpu.timed_run()[2]
    for _ in range(TRIALS):
        if not isinstance(left, Interrupted) or vcpu.device_irq_level != known:
            break
        left = vcpu.timed_run()[2]
    return left


@pytest.mark.parametrize("register", ["cval", "tval"])
@pytest.mark.parametrize("timer", TIMERS)
def test_timer_wakes_a_sleeping_vcpu(vcpu: Arm64Vcpu, timer: Timer, register: str, period: int) -> None:
    """A vCPU in WFI wakes when count >= CVAL, set by CVAL or TVAL, again and again."""
    late = []
    timer.write(vcpu, "ctl", ENABLE)
    for _ in range(FIRINGS):
        start = {"cval": timer.count(vcpu), "tval": 0}[register]
        timer.write(vcpu, register, start + period)
        late.append(lateness(vcpu, timer))

    assert min(late) >= 0
    assert median(late) < period


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_CAP_ARM_USER_IRQ")
@pytest.mark.parametrize("timer", TIMERS)
def test_timer_ends_the_run_of_a_busy_guest(vcpu: Arm64Vcpu, timer: Timer, period: int) -> None:
    """A guest that computes leaves KVM_RUN with EINTR when its timer raises the line."""
    cval = timer.count(vcpu) + period
    timer.arm(vcpu, cval)
    vcpu.guest.restart("spin")

    left = run_to_a_line(vcpu)

    assert isinstance(left, Interrupted)
    assert vcpu.device_irq_level == timer.line_bit
    vcpu.guest.restart("cntvct")
    assert timer.count(vcpu) >= cval


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_CAP_ARM_USER_IRQ")
@pytest.mark.parametrize("timer", TIMERS)
def test_line_that_rose_outside_of_the_guest_comes_first(
    vcpu: Arm64Vcpu, timer: Timer, period: int, period_ns: int
) -> None:
    """A timer that became due between two KVM_RUNs ends the next one before the guest runs on."""
    timer.arm(vcpu, timer.count(vcpu) + period)
    vcpu.finish_exit()
    where = vcpu.where()
    before = vcpu.device_irq_level
    vcpu.vm.time.sleep_ns(2 * period_ns)

    left = run_to_a_line(vcpu)

    assert isinstance(left, Interrupted)
    assert (before, vcpu.device_irq_level) == (0, timer.line_bit)
    assert vcpu.where() == where


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_CAP_ARM_USER_IRQ")
@pytest.mark.parametrize("timer", TIMERS)
def test_known_line_does_not_end_another_run(vcpu: Arm64Vcpu, timer: Timer) -> None:
    """A line that kvm_run already shows does not end KVM_RUN: only a change does."""
    timer.arm(vcpu, timer.count(vcpu))
    timer.line(vcpu)

    exits: list[type[Exit]] = [Interrupted]
    for _ in range(TRIALS):
        if Interrupted not in exits:
            break
        exits = [type(vcpu.timed_run()[2]) for _ in range(5)]

    assert Interrupted not in exits
    assert vcpu.device_irq_level == timer.line_bit


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_CAP_ARM_USER_IRQ")
@pytest.mark.parametrize(
    ("known", "other"), [(VIRTUAL, PHYSICAL), (PHYSICAL, VIRTUAL)], ids=["virtual", "physical"]
)
def test_known_line_lets_the_guest_read_on_until_another_rises(
    vcpu: Arm64Vcpu, known: Timer, other: Timer, period: int
) -> None:
    """With one line known, KVM_RUN lasts until the guest has read all it wants, or the other line rises."""
    known.arm(vcpu, known.count(vcpu))
    known.line(vcpu)
    vcpu.guest.restart("cntvct_triples", READINGS)
    reads = vcpu.run(), vcpu.device_irq_level
    other.arm(vcpu, other.count(vcpu) + period)
    vcpu.guest.restart("spin")

    spins = run_to_a_line(vcpu), vcpu.device_irq_level

    assert (type(reads[0]), type(spins[0])) == (MmioExit, Interrupted)
    assert (reads[1], spins[1]) == (known.line_bit, known.line_bit | other.line_bit)


@pytest.mark.parametrize("timer", TIMERS)
def test_far_deadline_does_not_come_early(vcpu: Arm64Vcpu, timer: Timer) -> None:
    """A CVAL beyond TVAL's range is not taken modulo 2**32 or 2**31."""
    seen = []
    for distance in (2**31, 2**32):
        timer.arm(vcpu, timer.count(vcpu) + distance)
        vcpu.vm.time.sleep_ns(QUIET_NS)
        seen.append((timer.read(vcpu, "ctl").value, timer.line(vcpu)))

    assert seen == [(ENABLE, False)] * 2


@pytest.mark.parametrize("timer", TIMERS)
def test_last_deadline_counts(vcpu: Arm64Vcpu, timer: Timer, period: int) -> None:
    """Of two deadlines the last one programmed counts, whether it is the shorter or the longer one."""
    timer.arm(vcpu, timer.count(vcpu) + 100 * period)
    timer.write(vcpu, "cval", timer.count(vcpu) + period)
    shortened = lateness(vcpu, timer)
    timer.write(vcpu, "cval", timer.count(vcpu) + period)
    timer.write(vcpu, "cval", timer.count(vcpu) + 3 * period)
    lengthened = lateness(vcpu, timer)

    assert 0 <= shortened < 99 * period
    assert lengthened >= 0


@pytest.mark.parametrize("timer", TIMERS)
def test_mask_holds_the_line_until_it_is_taken_off(
    vcpu: Arm64Vcpu, timer: Timer, period: int, period_ns: int
) -> None:
    """A timer that became due while masked raises its line when it is unmasked."""
    timer.arm(vcpu, timer.count(vcpu) + period, ENABLE | IMASK)
    vcpu.vm.time.sleep_ns(2 * period_ns)
    masked = timer.read(vcpu, "ctl").value, timer.line(vcpu)

    timer.write(vcpu, "ctl", ENABLE)

    assert masked == (ENABLE | IMASK | ISTATUS, False)
    assert timer.line(vcpu)


@pytest.mark.parametrize("timer", TIMERS)
def test_timer_moves_between_cpus(
    vcpu: Arm64Vcpu, timer: Timer, period: int, period_ns: int, target: Target
) -> None:
    """A vCPU that moves between CPUs keeps its deadline, CVAL and CTL."""
    cval = timer.count(vcpu) + period
    timer.arm(vcpu, cval)

    states = [run_elsewhere(vcpu, timer, number, target) for number in range(4)]
    vcpu.vm.time.sleep_ns(2 * period_ns)

    assert [one for _, one in states] == [cval] * 4
    assert {control & ~ISTATUS for control, _ in states} == {ENABLE}
    assert timer.line(vcpu)


def run_elsewhere(vcpu: Arm64Vcpu, timer: Timer, number: int, target: Target) -> tuple[int, int]:
    """Return CTL and CVAL as the guest reads them in a new thread, on the *number*-th of the host's CPUs."""

    def read() -> tuple[int, int]:
        pin(allowed_cpus(simulated=target.simulated), number)
        return timer.read(vcpu, "ctl").value, timer.read(vcpu, "cval").value

    return together(read)[0]
