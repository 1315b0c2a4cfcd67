# SPDX-License-Identifier: GPL-2.0-only
"""The EL1 timers: CTL, CVAL and TVAL, the timer's condition, and the line that user space sees without a GIC.

The condition is count >= CVAL, unsigned. The line is ENABLE and not IMASK and condition; it is
level-triggered.

Source: Arm ARM, D12.2; arch/arm64/kvm/arch_timer.c: kvm_timer_should_fire(), read_timer_ctl(),
kvm_timer_update_run(); Documentation/virt/kvm/api.rst, KVM_CAP_ARM_USER_IRQ.
"""

from __future__ import annotations

import pytest

from fixtures.counters import NSEC_PER_MSEC, wrap
from fixtures.kvm.arm64.vcpu import Arm64Vcpu
from fixtures.kvm.errors import CapabilityMissing
from fixtures.targets import Probe
from kvmtests.arm64.counters import beyond_the_host, fitted, without_wrapping
from kvmtests.arm64.timers import ENABLE, IMASK, ISTATUS, PHYSICAL, TIMERS, VIRTUAL, Timer, require_lines

pytestmark = [
    pytest.mark.promise(architectural="Arm ARM, The Generic Timer in AArch64 state: timers"),
    pytest.mark.thorough,
]

ALL_ONES = 2**64 - 1
HALF = 2**63
NEVER = 2**64 - 2**40
FAR = 2**40  # ticks: hours

CONTROLS = [
    pytest.param(0, False, id="off"),
    pytest.param(ENABLE, True, id="ENABLE"),
    pytest.param(IMASK, False, id="IMASK"),
    pytest.param(ENABLE | IMASK, False, id="ENABLE-IMASK"),
]
TVALS = [
    pytest.param(0, 0, id="zero"),
    pytest.param(1, 1, id="one"),
    pytest.param(2**31 - 1, 2**31 - 1, id="maximum"),
    pytest.param(2**31, -(2**31), id="minimum"),
    pytest.param(2**32 - 1, -1, id="minus-one"),
    pytest.param(5 << 32 | 7, 7, id="seven-below-garbage"),
]
DISTANCES = [
    pytest.param(2**31 - 1, id="maximum"),
    pytest.param(2**31 + 5, id="beyond-the-maximum"),
    pytest.param(-(2**31), id="minimum"),
    pytest.param(-1000, id="past"),
    pytest.param(HALF, id="two-to-63"),
]


@pytest.fixture(autouse=True)
def lines(vcpu: Arm64Vcpu) -> None:
    """kvm_run shows the timers' lines."""
    require_lines(vcpu)


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
@pytest.mark.parametrize("timer", TIMERS)
def test_new_timer_is_off(vcpu: Arm64Vcpu, timer: Timer) -> None:
    """A new vCPU's timer has neither ENABLE nor IMASK, and its line is low."""
    assert timer.read(vcpu, "ctl").value & (ENABLE | IMASK) == 0
    assert not timer.line(vcpu)


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_CAP_ARM_USER_IRQ")
@pytest.mark.parametrize("timer", TIMERS)
@pytest.mark.parametrize(("control", "line"), CONTROLS)
def test_line_of_a_timer_that_is_due(vcpu: Arm64Vcpu, timer: Timer, control: int, line: bool) -> None:
    """With CVAL reached the line is ENABLE and not IMASK, whether CVAL or CTL came first."""
    timer.arm(vcpu, timer.count(vcpu) - 1, control)
    by_control = timer.line(vcpu)
    timer.write(vcpu, "cval", wrap(timer.count(vcpu) + FAR))
    between = timer.line(vcpu)
    timer.write(vcpu, "cval", timer.count(vcpu))

    assert (by_control, between, timer.line(vcpu)) == (line, False, line)


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_CAP_ARM_USER_IRQ")
@pytest.mark.parametrize("timer", TIMERS)
def test_line_falls_with_its_condition(vcpu: Arm64Vcpu, timer: Timer) -> None:
    """Masking or disabling a due timer lowers its line, and undoing that raises it again."""
    timer.arm(vcpu, timer.count(vcpu) - 1)
    seen = []

    for control in (ENABLE, ENABLE | IMASK, ENABLE, 0, ENABLE):
        timer.write(vcpu, "ctl", control)
        seen.append(timer.line(vcpu))

    assert seen == [True, False, True, False, True]


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_CAP_ARM_USER_IRQ")
def test_timers_have_lines_of_their_own(vcpu: Arm64Vcpu) -> None:
    """Each timer raises its own bit of device_irq_level, and neither touches the other's."""
    seen = []
    for timer, control in ((VIRTUAL, ENABLE), (PHYSICAL, ENABLE), (VIRTUAL, 0), (PHYSICAL, 0)):
        timer.arm(vcpu, timer.count(vcpu) - 1, control)
        seen.append((VIRTUAL.line(vcpu), PHYSICAL.line(vcpu)))

    assert seen == [(True, False), (True, True), (False, True), (False, False)]


@pytest.mark.parametrize("timer", TIMERS)
@pytest.mark.parametrize("control", [ENABLE, ENABLE | IMASK], ids=["ENABLE", "ENABLE-IMASK"])
def test_guest_sees_status_of_an_enabled_timer(vcpu: Arm64Vcpu, timer: Timer, control: int) -> None:
    """CTL reads as written, with ISTATUS iff CVAL is reached; IMASK does not hide it."""
    timer.arm(vcpu, timer.count(vcpu) - 1, control)
    due = timer.read(vcpu, "ctl").value
    timer.write(vcpu, "cval", wrap(timer.count(vcpu) + FAR))

    assert (due, timer.read(vcpu, "ctl").value) == (control | ISTATUS, control)


@pytest.mark.promise(de_facto="Linux 5.10 to 6.12")
@pytest.mark.before("timers_are_system_registers")
@pytest.mark.parametrize("timer", TIMERS)
@pytest.mark.parametrize(
    "control", [0, ENABLE, IMASK, ENABLE | IMASK], ids=["off", "ENABLE", "IMASK", "ENABLE-IMASK"]
)
def test_user_space_sees_status_of_any_timer(vcpu: Arm64Vcpu, timer: Timer, control: int) -> None:
    """KVM_GET_ONE_REG of CTL has ISTATUS iff CVAL is reached, also if the timer is disabled."""
    timer.set(vcpu, "ctl", control)
    timer.set(vcpu, "cval", timer.get(vcpu, "cnt"))
    due = timer.get(vcpu, "ctl")
    timer.set(vcpu, "cval", wrap(timer.get(vcpu, "cnt") + FAR))

    assert (due, timer.get(vcpu, "ctl")) == (control | ISTATUS, control)


@pytest.mark.parametrize("timer", TIMERS)
def test_status_is_read_only(vcpu: Arm64Vcpu, timer: Timer) -> None:
    """ISTATUS written by the guest is not kept: it is clear before the deadline and set once due."""
    timer.write(vcpu, "cval", wrap(timer.count(vcpu) + FAR))
    timer.write(vcpu, "ctl", ENABLE | IMASK | ISTATUS)
    to_come = timer.read(vcpu, "ctl").value
    timer.write(vcpu, "cval", timer.count(vcpu))

    assert (to_come, timer.read(vcpu, "ctl").value) == (ENABLE | IMASK, ENABLE | IMASK | ISTATUS)


def deadline_to_come(vcpu: Arm64Vcpu, timer: Timer) -> int:
    """Let *timer*, masked, wait for a count about forty readings away; return that count."""
    timer.write(vcpu, "ctl", ENABLE | IMASK)
    one, other = timer.read(vcpu, "ctl"), timer.read(vcpu, "ctl")
    cval = other.after + 40 * (other.before - one.before)
    timer.write(vcpu, "cval", cval)
    return cval


@pytest.mark.parametrize("timer", TIMERS)
def test_status_comes_and_is_never_early(vcpu: Arm64Vcpu, timer: Timer) -> None:
    """Read repeatedly, ISTATUS is set at some time, and not before the count has reached CVAL."""
    cval = deadline_to_come(vcpu, timer)
    accesses = [timer.read(vcpu, "ctl")]

    while not accesses[-1].value & ISTATUS:
        accesses.append(timer.read(vcpu, "ctl"))

    assert accesses[-1].after >= cval, f"ISTATUS {cval - accesses[-1].after} ticks before CVAL"


@pytest.mark.parametrize("timer", TIMERS)
def test_status_changes_when_the_count_reaches_cval(
    vcpu: Arm64Vcpu, timer: Timer, target_facts: Probe
) -> None:
    """Read repeatedly around the deadline, ISTATUS is never early and never late."""
    # QEMU does not compare at a read: another of its threads sets ISTATUS, late on a busy host.
    if "emulated_cpu" in target_facts.facts:
        raise CapabilityMissing("a CPU that compares its timers at each read")
    cval = deadline_to_come(vcpu, timer)
    accesses = [timer.read(vcpu, "ctl")]

    while accesses[-1].before < cval:
        accesses.append(timer.read(vcpu, "ctl"))

    assert [early for early in accesses if early.value & ISTATUS and early.after < cval] == []
    assert [late for late in accesses if not late.value & ISTATUS and late.before >= cval] == []


@pytest.mark.parametrize("timer", TIMERS)
def test_condition_is_unsigned(vcpu: Arm64Vcpu, timer: Timer) -> None:
    """A CVAL half of the counter's range ahead has not been reached, nor has one near its end."""
    count, seen = timer.count(vcpu), []
    for cval in (count + fitted(vcpu, HALF), fitted(vcpu, NEVER)):
        timer.arm(vcpu, without_wrapping(vcpu, cval, count))
        seen.append((timer.read(vcpu, "ctl").value, timer.line(vcpu)))

    assert seen == [(ENABLE, False)] * 2


@pytest.mark.parametrize("timer", TIMERS)
def test_condition_is_unsigned_for_large_counts(vcpu: Arm64Vcpu, timer: Timer) -> None:
    """A counter beyond half of its range has reached CVAL 1."""
    timer.set(vcpu, "cnt", max(fitted(vcpu, HALF + 5), beyond_the_host(vcpu)))
    timer.set(vcpu, "cval", 1)
    timer.set(vcpu, "ctl", ENABLE)

    assert timer.read(vcpu, "ctl").value == ENABLE | ISTATUS
    assert timer.line(vcpu)


@pytest.mark.parametrize("timer", TIMERS)
@pytest.mark.parametrize("distance", DISTANCES)
def test_tval_reads_the_distance_to_cval(vcpu: Arm64Vcpu, timer: Timer, distance: int) -> None:
    """TVAL is the low 32 bits of CVAL - count, with nothing above them."""
    cval = wrap(timer.count(vcpu) + distance)
    timer.write(vcpu, "cval", cval)

    access = timer.read(vcpu, "tval")

    counted = access.before + (cval - access.value - access.before) % 2**32
    assert counted in access.window
    assert access.value < 2**32


@pytest.mark.parametrize("timer", TIMERS)
@pytest.mark.parametrize(("tval", "distance"), TVALS)
def test_tval_sets_cval_from_the_count(vcpu: Arm64Vcpu, timer: Timer, tval: int, distance: int) -> None:
    """TVAL written sets CVAL to the count + the low 32 bits, sign-extended, modulo 2**64."""
    access = timer.write(vcpu, "tval", tval)

    assert timer.read(vcpu, "cval").value in access.window.shifted(distance)


@pytest.mark.parametrize("timer", TIMERS)
def test_tval_of_zero_and_below_is_due(vcpu: Arm64Vcpu, timer: Timer) -> None:
    """A TVAL of 0 or -1 makes the timer due at once."""
    timer.write(vcpu, "ctl", ENABLE)
    seen = []
    for tval in (0, 2**32 - 1):
        timer.write(vcpu, "tval", tval)
        seen.append(timer.line(vcpu))

    assert seen == [True, True]


@pytest.mark.parametrize("timer", TIMERS)
def test_tval_continues_below_zero(vcpu: Arm64Vcpu, timer: Timer) -> None:
    """TVAL falls as the counter rises, and continues below 0."""
    timer.arm(vcpu, timer.count(vcpu), ENABLE | IMASK)
    first = timer.read(vcpu, "tval")
    vcpu.vm.time.sleep_ns(NSEC_PER_MSEC)

    second = timer.read(vcpu, "tval")

    assert 2**31 < second.value < first.value < 2**32
    assert first.value - second.value in range(second.before - first.after, second.after - first.before + 1)


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_GET_ONE_REG")
@pytest.mark.parametrize("timer", TIMERS)
@pytest.mark.parametrize(
    "cval", [0, 2**32, HALF, ALL_ONES], ids=["zero", "two-to-32", "two-to-63", "maximum"]
)
def test_guest_and_user_space_share_the_registers(vcpu: Arm64Vcpu, timer: Timer, cval: int) -> None:
    """CVAL and CTL written by one are read by the other, with all bits that the counter has."""
    written = fitted(vcpu, cval)
    inverse = written ^ fitted(vcpu, ALL_ONES)
    timer.arm(vcpu, written, IMASK)
    by_guest = timer.get(vcpu, "cval"), timer.get(vcpu, "ctl") & ~ISTATUS
    timer.set(vcpu, "cval", inverse)
    timer.set(vcpu, "ctl", 0)

    assert by_guest == (written, IMASK)
    assert timer.read(vcpu, "cval").value == inverse
    assert timer.read(vcpu, "ctl").value & ~ISTATUS == 0
