# SPDX-License-Identifier: GPL-2.0-only
"""What Hyper-V's synthetic timers send: messages in the vCPU's message page, or an interrupt alone.

Source: Hyper-V TLFS, "Timers": Synthetic Timer Expiration Messages, and "Virtual Interrupt Controller":
SynIC Message Page, HV_X64_MSR_EOM; arch/x86/kvm/hyperv.c: stimer_expiration(), synic_deliver_msg().
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from fixtures.counters import NSEC_PER_MSEC, Window
from fixtures.guests import layout
from fixtures.guests.x86.state import TIMER_VECTOR
from fixtures.kvm.x86.messages import take_message
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.uapi.x86 import msr_index
from fixtures.uapi.x86.apicdef import APIC_SPIV, APIC_SPIV_APIC_ENABLED
from fixtures.uapi.x86.hyperv import (
    HV_MESSAGE_FLAG_PENDING,
    HV_MESSAGE_SIZE,
    HV_STIMER_ENABLE,
    HV_STIMER_PERIODIC,
    HV_STIMER_SINT_SHIFT,
    HV_SYNIC_SINT_AUTO_EOI,
    HV_SYNIC_SINT_MASKED,
    HVMSG_TIMER_EXPIRED,
)
from kvmtests.x86.apic import ONCE, interrupts, requested, set_register
from kvmtests.x86.stimers import (
    DIRECT,
    HOUR,
    MSEC,
    ONE_SHOT,
    PERIODIC,
    SOURCE,
    arm_ahead,
    arm_by_user_space,
    arm_timer,
    armed_state,
    guest_writes,
    message,
    reference_time_100ns,
    require_direct_mode,
    sleep,
    with_synic,
)

pytestmark = [
    pytest.mark.promise(architectural="Hyper-V TLFS, Timers: Synthetic Timer Expiration Messages"),
    pytest.mark.thorough,
]

PAST = 1
SOURCE_MSR = msr_index.HV_X64_MSR_SINT0 + SOURCE
SLOTS = "Hyper-V TLFS, Virtual Interrupt Controller: SynIC Message Page"
SOURCES = "Hyper-V TLFS, Virtual Interrupt Controller: SINTx Registers"


@pytest.fixture
def timed(vm: X86Vm) -> X86Vcpu:
    """vCPU 0 with synthetic timers, and an interrupt source for them."""
    return with_synic(vm)


@pytest.fixture
def direct(timed: X86Vcpu) -> X86Vcpu:
    """The same where timers may interrupt without a message."""
    require_direct_mode(timed)
    return timed


@pytest.mark.parametrize("timer", range(4))
def test_message_is_whole(timed: X86Vcpu, timer: int) -> None:
    """A message has type HvMessageTimerExpired, 24 bytes, its timer's index, and 0 in all other fields."""
    arm_timer(timed, ONE_SHOT, PAST, timer)

    timed.guest.read_tsc()

    seen = message(timed)
    assert (seen.type, seen.size, seen.flags, seen.timer, seen.rest) == (HVMSG_TIMER_EXPIRED, 24, 0, timer, 0)


def test_periodic_messages_are_whole(timed: X86Vcpu) -> None:
    """Each message of a periodic timer is as whole as the first, whatever lies in its slot since the last."""
    arm_timer(timed, PERIODIC, 2 * MSEC)

    seen = []
    for _ in range(3):
        sleep(timed)
        seen.append(take_message(timed, SOURCE))

    assert {(each.type, each.size, each.timer, each.rest) for each in seen} == {
        (HVMSG_TIMER_EXPIRED, 24, 0, 0)
    }


def test_delivery_is_when_the_message_came(timed: X86Vcpu) -> None:
    """DeliveryTime is the reference time of the entry that delivered, not of the timer's time."""
    arm_by_user_space(timed, ONE_SHOT, reference_time_100ns(timed))
    timed.vm.time.sleep_ns(20 * NSEC_PER_MSEC)

    before = reference_time_100ns(timed)
    timed.guest.read_tsc()
    after = reference_time_100ns(timed)

    assert message(timed).delivery_100ns in Window(before, after)


@pytest.mark.usefixtures("tsc_clocksource", "settable_tsc", "stable_tsc")
def test_delivery_is_the_pages_time(timed: X86Vcpu) -> None:
    """With the reference TSC page DeliveryTime lies between two times that guests compute from it."""
    timed.guest.enable_reference_tsc()

    before = timed.guest.read_reference_time()
    arm_by_user_space(timed, ONE_SHOT, PAST)
    after = timed.guest.read_reference_time()  # the entry delivers

    assert before.sequence != 0
    assert message(timed).delivery_100ns in Window(before.time_100ns, after.time_100ns).widened(1)


def test_message_goes_to_the_sources_slot(timed: X86Vcpu) -> None:
    """Each timer's message lies in the slot of the source that its configuration names, and in no other."""
    for timer, source in ((0, 3), (1, 15), (2, 1)):
        config = source << HV_STIMER_SINT_SHIFT | HV_STIMER_ENABLE
        timed.set_msr(msr_index.HV_X64_MSR_SINT0 + source, TIMER_VECTOR | HV_SYNIC_SINT_AUTO_EOI)
        arm_timer(timed, config, PAST, timer)

    timed.guest.read_tsc()

    slots = {source: take_message(timed, source) for source in range(16)}
    assert {source: seen.timer for source, seen in slots.items() if seen.there} == {3: 0, 15: 1, 1: 2}


@pytest.mark.promise(architectural=SLOTS)
def test_each_vcpu_has_its_own_message_page(vm: X86Vm, timed: X86Vcpu) -> None:
    """A vCPU gets its messages after another one's guest has disabled the message page there."""
    other = with_synic(vm, 1)

    guest_writes(other, msr_index.HV_X64_MSR_SIMP, 0)
    arm_timer(timed, ONE_SHOT, PAST)
    timed.guest.read_tsc()

    assert message(timed).type == HVMSG_TIMER_EXPIRED


@pytest.mark.promise(architectural=SLOTS)
def test_message_leaves_the_other_slots(timed: X86Vcpu) -> None:
    """What lies in the slots of other sources stays as it was."""
    page, own = layout.message_page(0), layout.message_page(0) + SOURCE * HV_MESSAGE_SIZE
    slots = [slice(at, at + HV_MESSAGE_SIZE) for at in range(page, page + layout.PAGE_SIZE, HV_MESSAGE_SIZE)]
    for slot in slots:
        timed.vm.memory[slot] = (b"\0" if slot.start == own else b"\xa5") * HV_MESSAGE_SIZE

    arm_timer(timed, ONE_SHOT, PAST)
    timed.guest.read_tsc()

    assert message(timed).there
    others = {bytes(timed.vm.memory[slot]) for slot in slots if slot.start != own}
    assert others == {b"\xa5" * HV_MESSAGE_SIZE}


@pytest.mark.promise(architectural=SLOTS)
def test_slot_in_use_is_not_overwritten(timed: X86Vcpu) -> None:
    """A message whose slot holds another waits: the one there stays, flagged that another is pending."""
    arm_timer(timed, ONE_SHOT, PAST, 0)
    timed.guest.read_tsc()
    first = message(timed)

    arm_timer(timed, ONE_SHOT, PAST + 1, 1)
    timed.guest.read_tsc()

    seen = message(timed)
    assert seen.another_waits
    assert replace(seen, flags=0) == first
    assert (first.timer, first.expiration_100ns) == (0, PAST)


@pytest.mark.promise(architectural=SLOTS)
def test_reserved_flags_of_a_message_are_zero(timed: X86Vcpu) -> None:
    """Of the flags of a message for whose slot another one waits, only MessagePending is set."""
    for timer in range(2):
        arm_timer(timed, ONE_SHOT, PAST, timer)
        timed.guest.read_tsc()

    assert message(timed).flags == HV_MESSAGE_FLAG_PENDING


@pytest.mark.promise(architectural=SLOTS)
def test_message_that_waits_comes_at_eom(timed: X86Vcpu) -> None:
    """After the guest has freed the slot, its write of HV_X64_MSR_EOM brings the message that waits, once."""
    arm_timer(timed, ONE_SHOT, PAST, 0)
    arm_timer(timed, ONE_SHOT, PAST + 1, 1)
    assert interrupts(timed).count == 1
    take_message(timed, SOURCE)

    before = reference_time_100ns(timed)
    timed.guest.wrmsr(msr_index.HV_X64_MSR_EOM, 0)
    seen, came = interrupts(timed), take_message(timed, SOURCE)

    assert seen.outcome == ONCE
    assert (came.timer, came.expiration_100ns) == (1, PAST + 1)
    assert came.delivery_100ns in Window(before, reference_time_100ns(timed))
    timed.guest.wrmsr(msr_index.HV_X64_MSR_EOM, 0)
    assert interrupts(timed).outcome == (0, 0, False)


@pytest.mark.promise(architectural=SLOTS)
def test_message_that_waits_comes_at_eoi(timed: X86Vcpu) -> None:
    """For a source with EOI, the guest's EOI of its vector brings the message that waits."""
    timed.set_msr(SOURCE_MSR, TIMER_VECTOR)
    arm_timer(timed, ONE_SHOT, PAST, 0)
    arm_timer(timed, ONE_SHOT, PAST + 1, 1)
    assert interrupts(timed).count == 1
    take_message(timed, SOURCE)

    timed.guest.wrmsr(msr_index.HV_X64_MSR_EOI, 0)

    assert interrupts(timed).outcome == ONCE
    assert message(timed).timer == 1


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
def test_timer_whose_message_waits_stays_enabled(timed: X86Vcpu) -> None:
    """A one-shot whose message waits reads as enabled until the message is delivered, so that it is saved."""
    arm_timer(timed, ONE_SHOT, PAST, 0)
    arm_timer(timed, ONE_SHOT, PAST + 1, 1)
    timed.guest.read_tsc()
    waiting = armed_state(timed, 1)

    take_message(timed, SOURCE)
    timed.guest.wrmsr(msr_index.HV_X64_MSR_EOM, 0)
    timed.guest.read_tsc()

    assert waiting == (ONE_SHOT, PAST + 1)
    assert armed_state(timed, 1) == (ONE_SHOT & ~HV_STIMER_ENABLE, PAST + 1)


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
def test_periodic_message_is_dropped_for_a_slot_in_use(timed: X86Vcpu) -> None:
    """A periodic timer's message that finds its slot in use is dropped, and the slot is not flagged."""
    arm_timer(timed, ONE_SHOT, PAST, 0)
    timed.guest.read_tsc()
    arm_timer(timed, PERIODIC, MSEC, 1)
    timed.vm.time.sleep_ns(3 * NSEC_PER_MSEC)
    timed.guest.read_tsc()

    seen = message(timed)
    arm_timer(timed, PERIODIC, HOUR, 1)
    take_message(timed, SOURCE)
    timed.guest.wrmsr(msr_index.HV_X64_MSR_EOM, 0)

    assert (seen.timer, seen.another_waits) == (0, False)
    assert not message(timed).there


@pytest.mark.promise(architectural=SOURCES)
def test_masked_source_does_not_interrupt(timed: X86Vcpu) -> None:
    """A timer whose source is masked requests no interrupt."""
    timed.set_msr(SOURCE_MSR, TIMER_VECTOR | HV_SYNIC_SINT_AUTO_EOI | HV_SYNIC_SINT_MASKED)
    arm_timer(timed, ONE_SHOT, PAST)

    assert interrupts(timed).outcome == (0, 0, False)


@pytest.mark.promise(architectural=SOURCES)
def test_source_without_auto_eoi_holds_its_vector(timed: X86Vcpu) -> None:
    """Until the guest's EOI a second interrupt of the source's vector waits; with AutoEOI none does."""
    for source, expected in ((TIMER_VECTOR | HV_SYNIC_SINT_AUTO_EOI, [1, 1]), (TIMER_VECTOR, [1, 0])):
        timed.set_msr(SOURCE_MSR, source)
        seen = []
        for _ in range(2):
            arm_timer(timed, ONE_SHOT, PAST)
            seen.append(interrupts(timed).count)
            take_message(timed, SOURCE)

        assert seen == expected


@pytest.mark.promise(architectural="Hyper-V TLFS, Timers: Direct Synthetic Timers")
def test_direct_timer_interrupts_without_a_message(direct: X86Vcpu) -> None:
    """A timer in direct mode requests its vector, once, and leaves the message page alone."""
    direct.set_msr(SOURCE_MSR, HV_SYNIC_SINT_MASKED)
    count = arm_ahead(direct, DIRECT, 5 * MSEC)

    seen = sleep(direct)

    assert (seen.count, seen.requested) == (1, False)
    assert reference_time_100ns(direct) >= count
    assert not any(take_message(direct, source).there for source in range(16))
    assert armed_state(direct) == (DIRECT & ~HV_STIMER_ENABLE, count)


@pytest.mark.promise(architectural="Hyper-V TLFS, Timers: Direct Synthetic Timers")
def test_direct_timer_needs_no_message_page(direct: X86Vcpu) -> None:
    """A timer in direct mode interrupts also where the guest has disabled the message page."""
    direct.set_msr(msr_index.HV_X64_MSR_SIMP, 0)
    arm_timer(direct, DIRECT, PAST)

    assert interrupts(direct).count == 1


@pytest.mark.promise(architectural="Hyper-V TLFS, Timers: Direct Synthetic Timers")
def test_direct_timer_is_not_early(direct: X86Vcpu) -> None:
    """A timer in direct mode requests nothing before its time."""
    count = arm_ahead(direct, DIRECT, 20 * MSEC)

    direct.guest.read_tsc()
    early = requested(direct)
    after = reference_time_100ns(direct)

    assert not early or after >= count
    sleep(direct)
    assert reference_time_100ns(direct) >= count


@pytest.mark.promise(architectural="Hyper-V TLFS, Timers: Direct Synthetic Timers")
def test_periodic_direct_timer_interrupts_again(direct: X86Vcpu) -> None:
    """A periodic timer in direct mode interrupts once a period, as long as the guest ends each interrupt."""
    direct.set_msr(SOURCE_MSR, HV_SYNIC_SINT_MASKED)  # whose AutoEOI would also end this vector's
    start = reference_time_100ns(direct)
    arm_timer(direct, DIRECT | HV_STIMER_PERIODIC, 2 * MSEC)

    times = []
    for _ in range(3):
        sleep(direct)
        times.append(reference_time_100ns(direct))
        direct.guest.wrmsr(msr_index.HV_X64_MSR_EOI, 0)

    assert all(time - start >= number * 2 * MSEC for number, time in enumerate(times, 1))
    assert armed_state(direct) == (DIRECT | HV_STIMER_PERIODIC, 2 * MSEC)


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
def test_disabled_apic_takes_no_message_interrupt(timed: X86Vcpu) -> None:
    """While software has disabled the APIC, a timer's message comes without an interrupt."""
    set_register(timed, APIC_SPIV, 0xFF)
    arm_timer(timed, ONE_SHOT, PAST)
    timed.guest.read_tsc()

    assert message(timed).there
    assert not requested(timed)
    set_register(timed, APIC_SPIV, APIC_SPIV_APIC_ENABLED | 0xFF)
    assert interrupts(timed).outcome == (0, 0, False)
