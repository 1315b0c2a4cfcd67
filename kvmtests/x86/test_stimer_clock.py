# SPDX-License-Identifier: GPL-2.0-only
"""An armed synthetic timer of Hyper-V, and a reference counter that KVM_SET_CLOCK moves.

Source: Hyper-V TLFS, "Timers": a one-shot expires when the reference counter is equal to or greater than its
count, however it came there; arch/x86/kvm/hyperv.c: kvm_hv_process_stimers().
"""

from __future__ import annotations

import pytest

from fixtures.counters import NSEC_PER_MSEC, NSEC_PER_SEC
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.uapi.x86 import msr_index
from kvmtests.x86.apic import ONCE, interrupts
from kvmtests.x86.stimers import (
    HOUR,
    MSEC,
    ONE_SHOT,
    PAST_A_SECOND_NS,
    SECOND,
    arm_ahead,
    armed_state,
    message,
    reference_time_100ns,
    sleep,
    with_synic,
)

pytestmark = [
    pytest.mark.promise(architectural="Hyper-V TLFS, Timers: Synthetic Timer Count Register"),
    pytest.mark.thorough,
]

CLOCK_NS = 5 * 3600 * NSEC_PER_SEC


@pytest.fixture(params=["by-kvmclock", "by-the-page"])
def timed(vm: X86Vm, request: pytest.FixtureRequest) -> X86Vcpu:
    """vCPU 0 with synthetic timers, the reference counter at five hours, with the TSC page or without."""
    vcpu = with_synic(vm)
    vm.set_clock(CLOCK_NS)
    if request.param == "by-the-page":
        request.getfixturevalue("tsc_clocksource")
        request.getfixturevalue("stable_tsc")
        request.getfixturevalue("settable_tsc")
        vcpu.guest.enable_reference_tsc()
    vcpu.guest.read_tsc()
    return vcpu


def set_ahead(vcpu: X86Vcpu, ahead_ns: int) -> None:
    """KVM_SET_CLOCK to *ahead_ns* after what it is; let the guest be entered, so that its page follows."""
    vm = vcpu.vm
    vm.set_clock(vm.clock().kvmclock_ns + ahead_ns)
    vcpu.guest.read_tsc()


def test_set_clock_moves_the_reference_counter(timed: X86Vcpu) -> None:
    """With the TSC page or without, KVM_SET_CLOCK moves the counter that timers are measured by."""
    before = reference_time_100ns(timed)

    set_ahead(timed, 3600 * NSEC_PER_SEC)

    assert HOUR <= reference_time_100ns(timed) - before < 2 * HOUR
    assert timed.guest.rdmsr(msr_index.HV_X64_MSR_TIME_REF_COUNT).value - before >= HOUR


def test_counter_set_back_does_not_make_it_early(timed: X86Vcpu) -> None:
    """A counter that is set back holds an armed one-shot back beyond the time at which it was to expire."""
    count = arm_ahead(timed, ONE_SHOT, SECOND)

    set_ahead(timed, -3600 * NSEC_PER_SEC)
    timed.vm.time.sleep_ns(PAST_A_SECOND_NS)
    seen = interrupts(timed)

    assert seen.outcome == (0, 0, False)
    assert armed_state(timed) == (ONE_SHOT, count)
    assert not message(timed).there


def test_timer_expires_once_the_counter_is_there_again(timed: X86Vcpu) -> None:
    """A counter that is set back a little reaches the count later, and then the timer expires, once."""
    count = arm_ahead(timed, ONE_SHOT, SECOND)

    set_ahead(timed, -300 * NSEC_PER_MSEC)
    timed.vm.time.sleep_ns(PAST_A_SECOND_NS)  # the old wait ends
    timed.guest.read_tsc()
    seen = sleep(timed)

    assert seen.outcome == ONCE
    assert message(timed).expiration_100ns == count
    assert message(timed).delivery_100ns >= count


def test_counter_set_past_the_count_expires(timed: X86Vcpu) -> None:
    """A counter that is set past the count of an armed one-shot has it expire, once."""
    count = arm_ahead(timed, ONE_SHOT, HOUR)

    set_ahead(timed, 2 * 3600 * NSEC_PER_SEC)
    seen = interrupts(timed)

    assert reference_time_100ns(timed) > count
    assert seen.outcome == ONCE


def test_count_written_after_the_move_counts(timed: X86Vcpu) -> None:
    """A count that is written after the counter was moved is a time of the new counter."""
    set_ahead(timed, 3600 * NSEC_PER_SEC)

    count = arm_ahead(timed, ONE_SHOT, 5 * MSEC)
    seen = sleep(timed)

    assert seen.outcome == ONCE
    assert message(timed).expiration_100ns == count
    assert count <= message(timed).delivery_100ns <= reference_time_100ns(timed)
