# SPDX-License-Identifier: GPL-2.0-only
"""vCPUs that share a CPU with a rival, and vCPUs that change CPU: counters and timers are as on a quiet host.

KVM loads and saves offsets, timers and the GIC's state each time that the rival takes the CPU, and loads
them on another CPU after a move.

Source: arch/arm64/kvm/arch_timer.c: kvm_timer_vcpu_load(), kvm_timer_vcpu_put().
"""

from __future__ import annotations

import pytest

from fixtures.counters import OutsideWindow, Window, wrap
from fixtures.kvm.arm64.interrupts import GicGuest, Patience
from fixtures.kvm.arm64.values import Counter
from fixtures.kvm.arm64.vcpu import Arm64Vcpu
from fixtures.kvm.arm64.vm import Arm64Vm
from fixtures.kvm.cpus import pin
from fixtures.targets import Probe
from kvmtests.arm64.counters import COUNTERS, offset_counter, ticks
from kvmtests.arm64.timers import ENABLE, IMASK, ISTATUS, TIMERS, Timer

pytestmark = [
    pytest.mark.promise(architectural="Arm ARM, The Generic Timer in AArch64 state"),
    pytest.mark.thorough,
]

ROUNDS = 30
TIMER_ROUNDS = 10  # of three exits each, for each of which the rival takes its time
FIRINGS = 3
OFFSETS = {Counter.VIRTUAL: 2**30, Counter.PHYSICAL: 0}  # protected mode keeps no physical offset
INTIDS = {Counter.VIRTUAL: 27, Counter.PHYSICAL: 30}
NEAR_NS = 10_000_000
PATIENCE = 500  # of these: a missing interrupt ends the wait, a late one does not
FAR = 2**40  # ticks: longer than a test


@pytest.fixture
def gic_guest(vm: Arm64Vm, vcpu: Arm64Vcpu) -> GicGuest:
    """vCPU 0 with an in-kernel GICv3, both timers' interrupts enabled."""
    gic = vm.create_gic()
    gic.require_registers()
    gic.init()
    guest = GicGuest(vcpu)
    guest.enable(INTIDS.values())
    return guest


def check_count(vcpu: Arm64Vcpu, counter: Counter) -> None:
    """Fail unless the guest's count is the host's less the offset of `OFFSETS`.

    The host's counts around one reading are not before those around the last: none steps back.
    """
    reading = vcpu.guest.read_counter(counter)
    expected = reading.window.shifted(-OFFSETS[counter])
    if reading.value not in expected:
        raise OutsideWindow(f"the guest's {counter} count", reading.value, expected)


def check_timer(vcpu: Arm64Vcpu, timer: Timer, cval: int) -> None:
    """Fail unless the guest's timer, masked, has *cval* and is not due, and TVAL is CVAL less the count."""
    access = timer.read(vcpu, "tval")
    counted_ticks = access.before + (cval - access.value - access.before) % 2**32
    assert counted_ticks in Window(access.before, access.after, vcpu.vm.counter_bits)
    assert timer.read(vcpu, "cval").value == cval
    assert timer.read(vcpu, "ctl").value == ENABLE | IMASK


@pytest.mark.parametrize("counter", COUNTERS)
@pytest.mark.usefixtures("rival")
def test_counter_keeps_its_line_next_to_a_rival(vcpu: Arm64Vcpu, counter: Counter) -> None:
    """The guest reads the host counter - offset, never stepping back, while a rival takes its CPU away."""
    offset_counter(vcpu, counter, OFFSETS[counter])

    for _ in range(ROUNDS):
        check_count(vcpu, counter)


@pytest.mark.parametrize("counter", COUNTERS)
def test_counter_keeps_its_line_on_each_cpu(vcpu: Arm64Vcpu, counter: Counter, cpus: list[int]) -> None:
    """The guest reads the host counter - offset, never stepping back, on each CPU it is moved to."""
    offset_counter(vcpu, counter, OFFSETS[counter])

    for number in range(ROUNDS):
        pin(cpus, number)
        check_count(vcpu, counter)


@pytest.mark.usefixtures("rival")
def test_other_vm_keeps_its_offset_next_to_a_rival(vcpu: Arm64Vcpu) -> None:
    """A rival with an offset of its own does not change this VM's: each guest has its own line."""
    for shift in range(ROUNDS):
        offset = 2**30 + shift
        offset_counter(vcpu, Counter.VIRTUAL, offset)

        reading = vcpu.guest.read_cntvct()

        assert reading.value in reading.window.shifted(-offset)


@pytest.mark.parametrize("timer", TIMERS)
@pytest.mark.usefixtures("rival")
def test_timer_keeps_its_state_next_to_a_rival(vcpu: Arm64Vcpu, timer: Timer) -> None:
    """CVAL, CTL and the distance to CVAL are the guest's own while a rival takes its CPU away."""
    cval = timer.count(vcpu) + FAR
    timer.arm(vcpu, cval, ENABLE | IMASK)

    for _ in range(TIMER_ROUNDS):
        check_timer(vcpu, timer, cval)


@pytest.mark.parametrize("timer", TIMERS)
def test_timer_keeps_its_state_on_each_cpu(vcpu: Arm64Vcpu, timer: Timer, cpus: list[int]) -> None:
    """CVAL, CTL and the distance to CVAL are the guest's own on each CPU that the vCPU is moved to."""
    cval = timer.count(vcpu) + FAR
    timer.arm(vcpu, cval, ENABLE | IMASK)

    for number in range(TIMER_ROUNDS):
        pin(cpus, number)
        check_timer(vcpu, timer, cval)
        assert timer.get(vcpu, "cval") == cval


@pytest.mark.parametrize("timer", TIMERS)
@pytest.mark.usefixtures("rival")
def test_interrupt_comes_once_next_to_a_rival(gic_guest: GicGuest, target_facts: Probe, timer: Timer) -> None:
    """Each deadline gives the timer's interrupt once, and not early, though a rival has the CPU meanwhile."""
    check_firings(gic_guest, timer, ticks(target_facts, NEAR_NS), [])


@pytest.mark.parametrize("timer", TIMERS)
def test_interrupt_comes_once_on_each_cpu(
    gic_guest: GicGuest, target_facts: Probe, timer: Timer, cpus: list[int]
) -> None:
    """Each deadline gives the timer's interrupt once, and not early, on each CPU the vCPU is moved to."""
    check_firings(gic_guest, timer, ticks(target_facts, NEAR_NS), cpus)


def check_firings(guest: GicGuest, timer: Timer, near: int, cpus: list[int]) -> None:
    """Fail unless each of some deadlines, *near* ticks ahead, gives one interrupt at CVAL or after.

    Where a CPU is shared the deadline may have passed before the guest waits: then it interrupts at once.
    """
    for number in range(FIRINGS):
        pin(cpus, number)
        cval = wrap(timer.count(guest.vcpu) + near)

        waited = guest.program(f"{timer.prefix}_cval", cval, Patience(PATIENCE * near, enough=1))

        (interrupt,) = waited.interrupts
        state = interrupt.of(timer.counter)
        assert (interrupt.intid, state.ctl) == (INTIDS[timer.counter], ENABLE | ISTATUS)
        assert state.cval == cval <= state.count
