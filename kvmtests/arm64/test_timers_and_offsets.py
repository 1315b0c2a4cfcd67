# SPDX-License-Identifier: GPL-2.0-only
"""A change of a counter's offset leaves its timer's CVAL alone and moves the deadline with the counter.

Source: arch/arm64/kvm/arch_timer.c: timer_save_state(), timer_restore_state(),
kvm_timer_vcpu_load(), kvm_timer_vcpu_reset(); Documentation/virt/kvm/api.rst, KVM_ARM_SET_COUNTER_OFFSET.
"""

from __future__ import annotations

from statistics import median

import pytest

from fixtures.architectures import ARM64
from fixtures.counters import NSEC_PER_MSEC, NSEC_PER_SEC, signed, wrap
from fixtures.guests import layout
from fixtures.kvm.arm64.pace import unhurried_ns
from fixtures.kvm.arm64.vcpu import Arm64Vcpu
from fixtures.targets import Probe
from fixtures.uapi import kvm as uapi
from fixtures.uapi.arm64 import kvm as kvm_arm64
from fixtures.uapi.arm64 import psci
from fixtures.uapi.arm64.sysreg import MPIDR_EL1, MPIDR_HWID_BITMASK
from kvmtests.arm64.counters import fitted, offset_counter, ticks, without_wrapping
from kvmtests.arm64.timers import (
    ENABLE,
    IMASK,
    ISTATUS,
    PHYSICAL,
    TIMERS,
    Timer,
    require_lines,
)
from kvmtests.windows import timed

pytestmark = [
    pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_ARM_SET_COUNTER_OFFSET"),
    pytest.mark.thorough,
]

AHEAD = 2**30  # ticks: longer than a test, less than the host's counter has run
BASE = wrap(-(2**40))  # an offset from which the guest's counter can be moved back by AHEAD without wrapping
FIRINGS = 3
MPIDR = kvm_arm64.ARM64_SYS_REG(*MPIDR_EL1)
OFFSETS = [0, 1, 2**64 - 1, 180 * 10**9, 2**64 - 180 * 10**9, 2**63, 0]
MOVES = [
    pytest.param(0, AHEAD // 2, id="later"),
    pytest.param(AHEAD, AHEAD // 2, id="earlier"),
    pytest.param(1000, wrap(-1000), id="across-zero"),
]
SHORT_OFFSETS = [
    pytest.param(5 * NSEC_PER_SEC, id="plus-5s"),
    pytest.param(-5 * NSEC_PER_SEC, id="minus-5s"),
]
JUMPS = [pytest.param(2**63 - 1, id="to-two-to-63"), pytest.param(2**64 - 2**40, id="near-the-end")]


@pytest.fixture(autouse=True)
def lines(vcpu: Arm64Vcpu) -> None:
    """kvm_run shows the timers' lines."""
    require_lines(vcpu)


@pytest.mark.parametrize("timer", TIMERS)
@pytest.mark.parametrize("cval", [0, 2**40, 2**64 - 1], ids=["zero", "two-to-40", "maximum"])
def test_compare_value_keeps_across_offsets(vcpu: Arm64Vcpu, timer: Timer, cval: int) -> None:
    """CVAL and CTL read as written with every offset, however often the vCPU has run with it."""
    cval = fitted(vcpu, cval)
    timer.arm(vcpu, cval, IMASK)
    seen = []

    for offset in OFFSETS:
        offset_counter(vcpu, timer.counter, offset)
        seen += [timer.read(vcpu, "cval").value for _ in range(3)]
        assert timer.read(vcpu, "ctl").value & ~ISTATUS == IMASK

    assert seen == [cval] * len(seen)


@pytest.mark.parametrize("timer", TIMERS)
def test_user_space_reads_the_same_compare_value(vcpu: Arm64Vcpu, timer: Timer) -> None:
    """KVM_GET_ONE_REG of CVAL and CTL gives what the guest wrote, whatever the offset."""
    timer.arm(vcpu, AHEAD, ENABLE | IMASK)
    seen = []

    for offset in OFFSETS:
        offset_counter(vcpu, timer.counter, offset)
        vcpu.guest.read_cntvct()
        seen.append((timer.get(vcpu, "cval"), timer.get(vcpu, "ctl") & ~ISTATUS))

    assert seen == [(AHEAD, ENABLE | IMASK)] * len(OFFSETS)


@pytest.mark.parametrize("timer", TIMERS)
def test_line_follows_the_offset(vcpu: Arm64Vcpu, timer: Timer) -> None:
    """An offset that moves the counter past CVAL raises the line at the next entry, moving back lowers it."""
    ahead = min(AHEAD, vcpu.vm.time.counter() // 2)  # of a host that has just booted
    offset_counter(vcpu, timer.counter, BASE)
    timer.write(vcpu, "ctl", ENABLE)
    timer.write(vcpu, "tval", ahead // 2)
    seen = [timer.line(vcpu)]

    for offset in (BASE - ahead, BASE, BASE - ahead, BASE + ahead):
        offset_counter(vcpu, timer.counter, offset)
        seen.append(timer.line(vcpu))

    assert seen == [False, True, False, True, False]


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_SET_ONE_REG")
@pytest.mark.parametrize("timer", TIMERS)
@pytest.mark.parametrize("cval", JUMPS)
def test_line_follows_the_written_counter(vcpu: Arm64Vcpu, timer: Timer, cval: int) -> None:
    """A counter written beyond CVAL raises the line at the next entry; writing it back lowers the line."""
    cval = without_wrapping(vcpu, fitted(vcpu, cval))
    timer.set(vcpu, "cnt", 0)
    timer.set(vcpu, "cval", cval)
    timer.set(vcpu, "ctl", ENABLE)
    seen = [timer.line(vcpu)]

    for count in (cval + 1, 0, cval + 1):
        timer.set(vcpu, "cnt", count)
        seen.append(timer.line(vcpu))

    assert seen == [False, True, False, True]


@pytest.mark.parametrize("timer", TIMERS)
def test_timer_that_is_ahead_again_waits(vcpu: Arm64Vcpu, timer: Timer) -> None:
    """A counter moved back below CVAL lowers the line, for at least 50 ms."""
    offset_counter(vcpu, timer.counter, BASE)
    timer.write(vcpu, "ctl", ENABLE)
    timer.write(vcpu, "tval", 0)
    before = timer.line(vcpu)

    offset_counter(vcpu, timer.counter, BASE + AHEAD)
    vcpu.vm.time.sleep_ns(50 * NSEC_PER_MSEC)

    assert (before, timer.line(vcpu)) == (True, False)


@pytest.mark.parametrize("timer", TIMERS)
@pytest.mark.parametrize(("first", "second"), MOVES)
def test_deadline_moves_by_the_change(
    vcpu: Arm64Vcpu, timer: Timer, first: int, second: int, target_facts: Probe
) -> None:
    """A timer armed under one offset is due when the host's counter is CVAL + the other one."""
    period, late = ticks(target_facts, unhurried_ns(vcpu)), []
    for _ in range(FIRINGS):
        due = vcpu.vm.time.counter() + period
        offset_counter(vcpu, timer.counter, first)
        timer.arm(vcpu, wrap(due - second))
        offset_counter(vcpu, timer.counter, second)
        window, _ = timed(vcpu.vm, vcpu.guest.wait_for_interrupt)
        late.append(signed(window.last - due))

    assert min(late) >= 0
    assert median(late) < period


@pytest.mark.parametrize("timer", TIMERS)
@pytest.mark.parametrize("offset_ns", SHORT_OFFSETS)
def test_guest_waits_as_long_as_it_programmed(
    vcpu: Arm64Vcpu, timer: Timer, offset_ns: int, target_facts: Probe
) -> None:
    """A guest with an offset that adds a period to its counter finds its timer due after that period."""
    period_ns = unhurried_ns(vcpu)
    offset_counter(vcpu, timer.counter, wrap(ticks(target_facts, offset_ns)))
    timer.arm(vcpu, wrap(timer.count(vcpu) + ticks(target_facts, period_ns)))
    at_once = timer.line(vcpu)

    vcpu.vm.time.sleep_ns(period_ns)

    assert (at_once, timer.line(vcpu)) == (False, True)


@pytest.mark.parametrize("timer", TIMERS)
@pytest.mark.parametrize("offset", OFFSETS[1:4])
def test_tval_counts_from_the_guests_counter(vcpu: Arm64Vcpu, timer: Timer, offset: int) -> None:
    """TVAL reads CVAL - (host counter - offset); writing it sets CVAL to host counter - offset + TVAL."""
    offset_counter(vcpu, timer.counter, offset)

    written, _ = timed(vcpu.vm, lambda: timer.write(vcpu, "tval", 1000))
    cval = timer.read(vcpu, "cval").value
    read, access = timed(vcpu.vm, lambda: timer.read(vcpu, "tval"))

    assert cval in written.shifted(1000 - offset)
    counted = wrap(read.first - offset + (cval - access.value - read.first + offset) % 2**32)
    assert counted in read.shifted(-offset)


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
@pytest.mark.parametrize("timer", TIMERS)
def test_reset_stops_the_timer(vcpu: Arm64Vcpu, timer: Timer) -> None:
    """KVM_ARM_VCPU_INIT of a vCPU that has run clears CTL and lowers the line."""
    timer.arm(vcpu, timer.count(vcpu))
    before = timer.line(vcpu)

    vcpu.init()

    assert (before, timer.line(vcpu)) == (True, False)
    assert timer.read(vcpu, "ctl").value & (ENABLE | IMASK) == 0


@pytest.mark.promise(de_facto="Linux 5.10 to 6.12")
@pytest.mark.before("timers_are_system_registers")
@pytest.mark.parametrize("timer", TIMERS)
def test_reset_keeps_the_deadline(vcpu: Arm64Vcpu, timer: Timer) -> None:
    """KVM_ARM_VCPU_INIT of a vCPU that has run leaves CVAL as it was."""
    cval = timer.count(vcpu)
    timer.arm(vcpu, cval)

    vcpu.init()

    assert timer.read(vcpu, "cval").value == cval


@pytest.mark.promise(de_facto="Linux 5.10 to 6.12")
@pytest.mark.before("timers_are_system_registers")
@pytest.mark.parametrize("timer", TIMERS)
def test_timer_enabled_after_a_reset_waits(vcpu: Arm64Vcpu, timer: Timer) -> None:
    """A guest that enables its timer after KVM_ARM_VCPU_INIT, and sets no CVAL, waits for the one before."""
    timer.arm(vcpu, timer.count(vcpu) + AHEAD)

    vcpu.init()
    timer.write(vcpu, "ctl", ENABLE)

    assert (timer.read(vcpu, "ctl").value, timer.line(vcpu)) == (ENABLE, False)


@pytest.mark.promise(de_facto="Linux 6.12 to 7.3")
@pytest.mark.parametrize("timer", TIMERS)
def test_reset_keeps_the_counters(vcpu: Arm64Vcpu, timer: Timer) -> None:
    """KVM_ARM_VCPU_INIT of a vCPU that has run leaves the offsets alone."""
    offset_counter(vcpu, timer.counter, 180 * 10**9)
    vcpu.guest.read_counter(timer.counter)

    vcpu.init()

    reading = vcpu.guest.read_counter(timer.counter)
    assert reading.value in reading.window.shifted(-180 * 10**9)


@pytest.mark.promise(de_facto="Linux 6.12 to 7.3")
@pytest.mark.parametrize("timer", TIMERS)
def test_power_on_stops_the_timer_and_keeps_the_counters(vcpus: list[Arm64Vcpu], timer: Timer) -> None:
    """A vCPU that PSCI CPU_ON starts has CTL cleared and the line low; the counters continue."""
    caller, vcpu = vcpus
    offset_counter(vcpu, timer.counter, 180 * 10**9)
    timer.write(vcpu, "ctl", ENABLE)
    timer.write(vcpu, "tval", 0)
    before = timer.line(vcpu)
    vcpu.finish_exit()
    vcpu.mp_state = uapi.KVM_MP_STATE_STOPPED

    entry = layout.entry(ARM64.name, "spin")
    mpidr = vcpu.get_reg(MPIDR)
    answer = caller.guest.call_hypervisor(psci.PSCI_0_2_FN64_CPU_ON, mpidr & MPIDR_HWID_BITMASK, entry, 777)

    started = vcpu.get_reg(kvm_arm64.REG_PC), vcpu.get_reg(kvm_arm64.x_reg(0))
    assert (answer.x[0], started) == (psci.PSCI_RET_SUCCESS, (entry, 777))
    vcpu.guest.restart("cntvct")
    assert (before, timer.line(vcpu)) == (True, False)
    assert timer.read(vcpu, "ctl").value & (ENABLE | IMASK) == 0
    reading = vcpu.guest.read_counter(timer.counter)
    assert reading.value in reading.window.shifted(-180 * 10**9)


@pytest.mark.promise(de_facto="the series of July 2021")
@pytest.mark.generation("series")
def test_offset_change_keeps_a_running_timer(vcpus: list[Arm64Vcpu]) -> None:
    """A physical offset set through one vCPU while another runs leaves that one's physical timer alone.

    The offset decides whether the timer is the CPU's own or emulated: KVM must save it from where it
    had loaded it.
    """
    running, other = vcpus
    other.require_series_offsets()
    last = fitted(running, 2**64 - 1)
    states = []
    for offset in (AHEAD, 0):
        PHYSICAL.arm(running, last, ENABLE | IMASK)
        with running.guest.spinning():
            other.physical_offset = offset
        states.append([PHYSICAL.read(running, register).value for register in ("ctl", "cval")])

    assert states == [[ENABLE | IMASK, last]] * 2
