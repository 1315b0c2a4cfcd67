# SPDX-License-Identifier: GPL-2.0-only
"""Hyper-V's synthetic timers saved in one VM and restored in another, by their MSRs and the guest's memory.

KVM has no more of a timer than its two registers: what a message that waits, or a time that has passed
outside of KVM_RUN, leaves there must be enough.

Source: arch/x86/kvm/hyperv.c: stimer_set_config(), stimer_set_count(); QEMU, target/i386/kvm/kvm.c.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fixtures.counters import NSEC_PER_MSEC, Window
from fixtures.guests.x86.state import TIMER_VECTOR
from fixtures.kvm.system import Kvm
from fixtures.kvm.x86.messages import take_message
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.restore.parts import copy_memory, restore, save
from fixtures.restore.x86.vcpu import PARTS
from fixtures.uapi.kvm import KVM_CAP_HYPERV_SYNIC2, KVM_MP_STATE_HALTED
from fixtures.uapi.x86 import msr_index
from fixtures.uapi.x86.hyperv import (
    HV_STIMER_AUTOENABLE,
    HV_STIMER_ENABLE,
    HV_SYNIC_SINT_AUTO_EOI,
    HV_SYNIC_SINT_MASKED,
)
from fixtures.uapi.x86.processor_flags import X86_EFLAGS_IF
from kvmtests.x86.apic import ONCE, interrupts, interrupts_after_halt
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
    without_synic,
)

pytestmark = [pytest.mark.promise(de_facto="Linux 5.10 to 7.3"), pytest.mark.thorough]

HOST_WRITES = pytest.mark.promise(
    de_facto="Linux 6.7 to 7.3",
    began='d6800af51c76 ("KVM: x86: hyper-v: Don\'t auto-enable stimer on write from user-space")',
)
VCPU = ("lapic", "sregs", "regs", "mp_state", "message_page", "source")
TIMERS = ("timer_config", "timer_count", "second_timer_config", "second_timer_count")
ORDERS = {
    "qemu": (*VCPU, *TIMERS),  # each configuration before its count
    "count-first": (*VCPU, *reversed(TIMERS)),
    "timers-before-the-page": (*TIMERS, *VCPU),
}
in_each_order = pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)


@pytest.fixture
def timed(vm: X86Vm) -> X86Vcpu:
    """vCPU 0 with synthetic timers, and an interrupt source for them."""
    return with_synic(vm)


def moved(kvm: Kvm[X86Vm], source: X86Vcpu, order: tuple[str, ...]) -> X86Vcpu:
    """Return a vCPU of another VM, whose reference time continues, restored from *source* in *order*."""
    saved, clock = save(source, PARTS, order), source.vm.clock()
    destination = without_synic(kvm.create_vm())
    destination.enable_cap(KVM_CAP_HYPERV_SYNIC2)
    copy_memory(source, destination)
    destination.vm.set_clock(clock.kvmclock_ns)
    destination.vm.time.sleep_ns(5 * NSEC_PER_MSEC)
    restore(destination, PARTS, saved, order)
    return destination


def passed_when_saved(vcpu: X86Vcpu) -> int:
    """Let a time pass outside of KVM_RUN."""
    count = arm_ahead(vcpu, ONE_SHOT, MSEC)
    vcpu.vm.time.sleep_ns(3 * NSEC_PER_MSEC)
    return count


def passed_when_restored(vcpu: X86Vcpu) -> int:
    """Arm a time that has passed when the vCPU is restored, and not when it is saved."""
    return arm_ahead(vcpu, ONE_SHOT, 3 * MSEC)


def to_come(vcpu: X86Vcpu) -> int:
    """Arm a time that the restored vCPU waits for."""
    return arm_ahead(vcpu, ONE_SHOT, 500 * MSEC)


MOMENTS = [
    pytest.param(passed_when_saved, id="passed-when-saved"),
    pytest.param(passed_when_restored, id="passed-when-restored"),
    pytest.param(to_come, id="to-come"),
]


@in_each_order
@pytest.mark.parametrize("moment", MOMENTS)
def test_restored_one_shot_expires_once(
    kvm: Kvm[X86Vm], timed: X86Vcpu, moment: Callable[[X86Vcpu], int], order: tuple[str, ...]
) -> None:
    """Whenever its time passes, a one-shot interrupts once in the VM in which it was restored, not early."""
    count = moment(timed)

    destination = moved(kvm, timed, order)
    seen = sleep(destination)

    assert seen.outcome == ONCE
    assert message(destination).expiration_100ns == count
    assert message(destination).delivery_100ns in Window(count, reference_time_100ns(destination))
    assert armed_state(destination) == (MESSAGE, count)


@in_each_order
@pytest.mark.parametrize("moment", MOMENTS)
def test_restored_halted_vcpu_wakes(
    kvm: Kvm[X86Vm], timed: X86Vcpu, moment: Callable[[X86Vcpu], int], order: tuple[str, ...]
) -> None:
    """A vCPU that was halted when it was saved is woken by its timer, once, in the other VM."""
    moment(timed)
    timed.guest.restart("halt_until_interrupt")
    regs = timed.regs
    regs.rflags |= X86_EFLAGS_IF
    timed.regs = regs
    timed.mp_state = KVM_MP_STATE_HALTED

    destination = moved(kvm, timed, order)

    assert interrupts_after_halt(destination).outcome == ONCE


@in_each_order
def test_restored_timer_reads_as_saved(kvm: Kvm[X86Vm], timed: X86Vcpu, order: tuple[str, ...]) -> None:
    """Configuration and count of an armed timer read back as they were, to guest and host."""
    count = arm_ahead(timed, ONE_SHOT, HOUR)

    destination = moved(kvm, timed, order)

    assert armed_state(destination) == (ONE_SHOT, count)
    assert destination.guest.rdmsr(config_msr(0)).value == ONE_SHOT
    assert destination.guest.rdmsr(count_msr(0)).value == count


@in_each_order
def test_restored_message_still_waits(kvm: Kvm[X86Vm], timed: X86Vcpu, order: tuple[str, ...]) -> None:
    """A message that waited for its slot when it was saved comes in the other VM, once the slot is free."""
    arm_timer(timed, ONE_SHOT, 1, 0)
    arm_timer(timed, ONE_SHOT, 2, 1)
    timed.guest.read_tsc()

    destination = moved(kvm, timed, order)
    destination.guest.read_tsc()
    first = take_message(destination, SOURCE)
    destination.guest.wrmsr(msr_index.HV_X64_MSR_EOM, 0)
    destination.guest.read_tsc()

    assert (first.timer, first.another_waits) == (0, True)
    assert (message(destination).timer, message(destination).expiration_100ns) == (1, 2)


@in_each_order
def test_restored_message_waits_for_the_eoi(kvm: Kvm[X86Vm], timed: X86Vcpu, order: tuple[str, ...]) -> None:
    """The same for a source with EOI: a message that waited when it was saved comes after the EOI."""
    timed.set_msr(msr_index.HV_X64_MSR_SINT0 + SOURCE, TIMER_VECTOR)
    arm_timer(timed, ONE_SHOT, 1, 0)
    arm_timer(timed, ONE_SHOT, 2, 1)
    assert interrupts(timed).count == 1

    destination = moved(kvm, timed, order)
    destination.guest.read_tsc()
    assert take_message(destination, SOURCE).timer == 0
    destination.guest.wrmsr(msr_index.HV_X64_MSR_EOI, 0)

    assert interrupts(destination).count == 1
    assert (message(destination).timer, message(destination).expiration_100ns) == (1, 2)


@in_each_order
def test_message_is_not_sent_again(kvm: Kvm[X86Vm], timed: X86Vcpu, order: tuple[str, ...]) -> None:
    """A one-shot whose message was delivered before the save sends none in the other VM."""
    arm_timer(timed, ONE_SHOT, 1)
    assert interrupts(timed).count == 1
    take_message(timed, SOURCE)

    destination = moved(kvm, timed, order)

    assert interrupts(destination).outcome == (0, 0, False)
    assert not message(destination).there


@in_each_order
def test_dropped_message_does_not_come_later(kvm: Kvm[X86Vm], timed: X86Vcpu, order: tuple[str, ...]) -> None:
    """A periodic message that found its slot in use before the save comes in the other VM no more."""
    arm_timer(timed, ONE_SHOT, 1, 0)
    timed.guest.read_tsc()
    arm_timer(timed, PERIODIC, MSEC, 1)
    timed.vm.time.sleep_ns(3 * NSEC_PER_MSEC)
    timed.guest.read_tsc()
    arm_timer(timed, PERIODIC, HOUR, 1)

    destination = moved(kvm, timed, order)
    destination.guest.read_tsc()
    first = take_message(destination, SOURCE)
    destination.guest.wrmsr(msr_index.HV_X64_MSR_EOM, 0)
    destination.guest.read_tsc()

    assert (first.timer, first.another_waits) == (0, False)
    assert not message(destination).there


@in_each_order
def test_masked_source_stays_silent(kvm: Kvm[X86Vm], timed: X86Vcpu, order: tuple[str, ...]) -> None:
    """A source that the guest has masked is masked in the other VM: its timer interrupts nobody."""
    timed.guest.wrmsr(
        msr_index.HV_X64_MSR_SINT0 + SOURCE, TIMER_VECTOR | HV_SYNIC_SINT_AUTO_EOI | HV_SYNIC_SINT_MASKED
    )
    arm_ahead(timed, ONE_SHOT, 3 * MSEC)

    destination = moved(kvm, timed, order)

    assert interrupts(destination).outcome == (0, 0, False)


@in_each_order
def test_restored_periodic_timer_continues(kvm: Kvm[X86Vm], timed: X86Vcpu, order: tuple[str, ...]) -> None:
    """A periodic timer starts a period when it is restored, and continues with its period."""
    arm_timer(timed, PERIODIC, 2 * MSEC)

    destination = moved(kvm, timed, order)
    times = []
    for _ in range(4):
        sleep(destination)
        times.append(take_message(destination, SOURCE).expiration_100ns)

    assert armed_state(destination) == (PERIODIC, 2 * MSEC)
    assert times == sorted(set(times))
    # On a slow host the first message may have been sent, and saved, before the move.
    assert {(time - times[1]) % (2 * MSEC) for time in times[1:]} == {0}


@HOST_WRITES
@pytest.mark.parametrize("count", [1, HOUR * 1_000, 0], ids=["passed", "to-come", "zero"])
def test_count_of_user_space_enables_nothing(timed: X86Vcpu, count: int) -> None:
    """User space's write of a count leaves the enable bit: a timer with AutoEnable that was off stays off."""
    config = MESSAGE | HV_STIMER_AUTOENABLE
    timed.set_msr(config_msr(0), config)

    timed.set_msr(count_msr(0), count)

    assert armed_state(timed) == (config, count)
    assert interrupts(timed).outcome == (0, 0, False)


@HOST_WRITES
def test_count_of_user_space_disables_nothing(timed: X86Vcpu) -> None:
    """User space's write of the count 0 leaves the enable bit: the count may come after, or be 0."""
    timed.set_msr(config_msr(0), ONE_SHOT)

    timed.set_msr(count_msr(0), 0)

    assert armed_state(timed) == (ONE_SHOT, 0)
    assert interrupts(timed).outcome == (0, 0, False)


def test_user_space_disarms(timed: X86Vcpu) -> None:
    """A configuration without the enable bit that user space writes silences an armed timer."""
    count = arm_ahead(timed, ONE_SHOT, SECOND)

    timed.set_msr(config_msr(0), ONE_SHOT & ~HV_STIMER_ENABLE)
    timed.vm.time.sleep_ns(PAST_A_SECOND_NS)

    assert interrupts(timed).outcome == (0, 0, False)
    assert armed_state(timed) == (MESSAGE, count)
