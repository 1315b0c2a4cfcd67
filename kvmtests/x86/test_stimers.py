# SPDX-License-Identifier: GPL-2.0-only
"""Hyper-V's synthetic timers: when they expire, and when they count.

Source: Hyper-V TLFS, "Timers": Synthetic Timer Configuration Register, Synthetic Timer Count Register;
arch/x86/kvm/hyperv.c: stimer_set_config(), stimer_set_count(), stimer_start().
"""

from __future__ import annotations

import pytest

from fixtures.counters import NSEC_PER_MSEC, Window
from fixtures.kvm.x86.messages import take_message
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.uapi.x86.hyperv import HV_STIMER_AUTOENABLE, HV_STIMER_ENABLE, HV_STIMER_LAZY
from fixtures.uapi.x86.hyperv import HV_STIMER_PERIODIC as PERIOD
from kvmtests.x86.apic import ONCE, interrupts
from kvmtests.x86.stimers import (
    HOUR,
    MESSAGE,
    MSEC,
    ONE_SHOT,
    PAST_A_SECOND_NS,
    PERIODIC,
    SECOND,
    SOURCE,
    arm_ahead,
    arm_timer,
    armed_state,
    config_msr,
    count_msr,
    message,
    reference_time_100ns,
    sleep,
    with_synic,
)

pytestmark = [
    pytest.mark.promise(architectural="Hyper-V TLFS, Timers: Synthetic Timers"),
    pytest.mark.thorough,
]

AUTO = MESSAGE | HV_STIMER_AUTOENABLE
TIMERS = range(4)


@pytest.fixture
def timed(vm: X86Vm) -> X86Vcpu:
    """vCPU 0 with synthetic timers, and an interrupt source for them."""
    return with_synic(vm)


def test_timers_start_disabled(timed: X86Vcpu) -> None:
    """Configuration and count of all four timers are 0 on a new vCPU, to guest and host."""
    for timer in TIMERS:
        by_guest = timed.guest.rdmsr(config_msr(timer)).value, timed.guest.rdmsr(count_msr(timer)).value

        assert armed_state(timed, timer) == by_guest == (0, 0)


def test_each_timer_has_its_own_registers(timed: X86Vcpu) -> None:
    """What the guest writes to one timer's registers reads back, to guest and host, from no other's."""
    written = [(MESSAGE | PERIOD * (timer & 1), HOUR * (timer + 1)) for timer in TIMERS]

    for timer, (config, count) in enumerate(written):
        arm_timer(timed, config, count, timer)

    assert [armed_state(timed, timer) for timer in TIMERS] == written
    for timer, (config, count) in enumerate(written):
        assert timed.guest.rdmsr(config_msr(timer)).value == config
        assert timed.guest.rdmsr(count_msr(timer)).value == count


@pytest.mark.parametrize("timer", TIMERS)
def test_one_shot_expires_once_and_not_early(timed: X86Vcpu, timer: int) -> None:
    """A one-shot interrupts once; its time is the count, and the reference counter had reached it."""
    count = arm_ahead(timed, ONE_SHOT, 5 * MSEC, timer)

    seen = sleep(timed)

    assert seen.outcome == ONCE
    assert message(timed).timer == timer
    assert message(timed).expiration_100ns == count
    assert message(timed).delivery_100ns in Window(count, reference_time_100ns(timed))


def test_one_shot_is_disabled_by_expiring(timed: X86Vcpu) -> None:
    """An expired one-shot is disabled, keeps the rest of its registers, and does not interrupt again."""
    count = arm_ahead(timed, ONE_SHOT, MSEC)
    sleep(timed)
    take_message(timed, SOURCE)

    timed.vm.time.sleep_ns(5 * NSEC_PER_MSEC)

    assert interrupts(timed).outcome == (0, 0, False)
    assert armed_state(timed) == (MESSAGE, count)
    assert not message(timed).there


def test_time_in_the_past_expires_at_once(timed: X86Vcpu) -> None:
    """A one-shot whose count the reference counter has passed expires at once; its time is that count."""
    arm_timer(timed, ONE_SHOT, 1)

    assert interrupts(timed).outcome == ONCE
    assert message(timed).expiration_100ns == 1


def test_timer_that_is_not_enabled_stays_silent(timed: X86Vcpu) -> None:
    """A count without the enable bit starts nothing."""
    arm_timer(timed, MESSAGE, reference_time_100ns(timed))

    assert interrupts(timed).outcome == (0, 0, False)
    assert not message(timed).there


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
@pytest.mark.parametrize("config", [ONE_SHOT, PERIODIC], ids=["one-shot", "periodic"])
def test_enabled_timer_waits_for_a_count(timed: X86Vcpu, config: int) -> None:
    """A timer that the guest enables with a count of 0 stays silent, and expires by the count that comes."""
    timed.guest.wrmsr(config_msr(0), config)
    silent = interrupts(timed), message(timed)

    timed.guest.wrmsr(count_msr(0), MSEC)

    assert (silent[0].outcome, silent[1].there) == ((0, 0, False), False)
    assert sleep(timed).outcome == ONCE


@pytest.mark.parametrize("config", [AUTO, AUTO | HV_STIMER_LAZY], ids=["alone", "lazy"])
def test_count_starts_an_auto_enabled_timer(timed: X86Vcpu, config: int) -> None:
    """With AutoEnable the guest's write of a count that is not 0 enables the timer, which expires once."""
    timed.guest.wrmsr(config_msr(0), config)

    timed.guest.wrmsr(count_msr(0), reference_time_100ns(timed) + HOUR)
    armed = armed_state(timed)[0]
    timed.guest.wrmsr(count_msr(0), reference_time_100ns(timed) + MSEC)

    assert armed == config | HV_STIMER_ENABLE
    assert sleep(timed).outcome == ONCE
    assert armed_state(timed)[0] == config


@pytest.mark.parametrize("config", [ONE_SHOT, PERIODIC, ONE_SHOT | HV_STIMER_AUTOENABLE])
def test_count_of_zero_disables(timed: X86Vcpu, config: int) -> None:
    """The guest's write of 0 to the count disables the timer, whatever AutoEnable says; it stays silent."""
    period_or_time = SECOND + reference_time_100ns(timed) * (not config & PERIOD)
    arm_timer(timed, config, period_or_time)

    timed.guest.wrmsr(count_msr(0), 0)
    timed.vm.time.sleep_ns(PAST_A_SECOND_NS)

    assert interrupts(timed).outcome == (0, 0, False)
    assert armed_state(timed) == (config & ~HV_STIMER_ENABLE, 0)


def test_timer_that_is_disabled_stays_silent(timed: X86Vcpu) -> None:
    """A timer that the guest disables before its time does not expire."""
    arm_ahead(timed, ONE_SHOT, SECOND)

    timed.guest.wrmsr(config_msr(0), MESSAGE)
    timed.vm.time.sleep_ns(PAST_A_SECOND_NS)

    assert interrupts(timed).outcome == (0, 0, False)
    assert not message(timed).there


def test_count_written_again_counts(timed: X86Vcpu) -> None:
    """A count that replaces another one, an hour ahead, is the time at which the timer expires."""
    arm_ahead(timed, ONE_SHOT, HOUR)

    later = reference_time_100ns(timed) + 20 * MSEC
    timed.guest.wrmsr(count_msr(0), later)
    seen = sleep(timed)

    assert seen.outcome == ONCE
    assert message(timed).expiration_100ns == later
    assert message(timed).delivery_100ns >= later


@pytest.mark.parametrize("before", [0, ONE_SHOT], ids=["disabled-before", "enabled-before"])
def test_timer_without_a_source_is_disabled(timed: X86Vcpu, before: int) -> None:
    """A configuration that enables a timer for messages and names source 0 leaves it disabled."""
    arm_timer(timed, before, reference_time_100ns(timed) + HOUR)

    timed.guest.wrmsr(config_msr(0), HV_STIMER_ENABLE)

    assert timed.guest.rdmsr(config_msr(0)).value == 0


def periods(vcpu: X86Vcpu, number: int) -> list[tuple[int, int]]:
    """Let the guest sleep until *number* interrupts came; return each message's time and delivery."""
    seen = []
    for _ in range(number):
        sleep(vcpu)
        taken = take_message(vcpu, SOURCE)
        seen.append((taken.expiration_100ns, taken.delivery_100ns))
    return seen


def test_periodic_timer_keeps_its_period(timed: X86Vcpu) -> None:
    """A periodic timer's times are whole periods apart, none is early, and it stays enabled."""
    start = reference_time_100ns(timed)
    arm_timer(timed, PERIODIC, 2 * MSEC)
    armed = reference_time_100ns(timed)

    seen = periods(timed, 6)

    first_100ns = seen[0][0]
    assert first_100ns in Window(start, armed).shifted(2 * MSEC)
    assert [(time - first_100ns) % (2 * MSEC) for time, _ in seen] == [0] * 6
    assert len({time for time, _ in seen}) == 6
    assert all(delivery >= time for time, delivery in seen)
    assert armed_state(timed) == (PERIODIC, 2 * MSEC)


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
def test_missed_periods_are_skipped(timed: X86Vcpu) -> None:
    """After many periods outside of KVM_RUN there is one message, for the first; the next are in phase."""
    arm_timer(timed, PERIODIC, 2 * MSEC)
    timed.vm.time.sleep_ns(21 * NSEC_PER_MSEC)
    entry = reference_time_100ns(timed)

    (first, _), (second, _), (third, _) = periods(timed, 3)

    assert first < entry < second < third
    assert [(time - first) % (2 * MSEC) for time in (second, third)] == [0, 0]


def test_period_starts_when_the_timer_is_enabled(timed: X86Vcpu) -> None:
    """A periodic timer that is enabled again starts a period then: the phase before is forgotten."""
    arm_timer(timed, PERIODIC, 3 * MSEC)
    periods(timed, 1)
    timed.guest.wrmsr(config_msr(0), MESSAGE | PERIOD)
    interrupts(timed)
    take_message(timed, SOURCE)  # of a period that has passed meanwhile, if there is one

    before = reference_time_100ns(timed)
    timed.guest.wrmsr(config_msr(0), PERIODIC)
    after = reference_time_100ns(timed)

    ((expired_100ns, _),) = periods(timed, 1)
    assert expired_100ns in Window(before, after).shifted(3 * MSEC)


def test_timers_of_two_vcpus_are_their_own(vm: X86Vm) -> None:
    """A timer that one vCPU arms expires there: the other vCPU's registers and page stay as they are."""
    first, second = with_synic(vm), with_synic(vm, 1)
    arm_ahead(first, ONE_SHOT, MSEC)
    vm.time.sleep_ns(3 * NSEC_PER_MSEC)

    second.guest.read_tsc()
    first.guest.read_tsc()

    assert armed_state(second) == (0, 0)
    assert not message(second).there
    assert message(first).there


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
def test_passed_time_waits_for_the_next_run(timed: X86Vcpu) -> None:
    """Outside of KVM_RUN a timer whose time has passed reads as armed, without a message, until an entry."""
    count = arm_ahead(timed, ONE_SHOT, SECOND)
    timed.vm.time.sleep_ns(PAST_A_SECOND_NS)

    outside = armed_state(timed), message(timed).there
    timed.poke_without_entry()
    poked = armed_state(timed), message(timed).there
    timed.guest.read_tsc()

    assert outside == poked == ((ONE_SHOT, count), False)
    assert (armed_state(timed), message(timed).there) == ((MESSAGE, count), True)
