# SPDX-License-Identifier: GPL-2.0-only
"""Whatever moves a counter is seen through all of its views, on vCPUs made before and after.

The views: the guest's register, its self-synchronised form, KVM_GET_ONE_REG, the PTP hypercall.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import combinations

import pytest

from fixtures.counters import Window
from fixtures.kvm.arm64.values import Counter
from fixtures.kvm.arm64.vcpu import Arm64Vcpu
from fixtures.kvm.errors import CapabilityMissing
from fixtures.targets import Probe
from kvmtests.arm64.counters import COUNTERS, offset_counter
from kvmtests.arm64.ptp import ARGUMENTS, call_ptp, pair, require_ptp
from kvmtests.arm64.timers import ENABLE, IMASK, ISTATUS, PHYSICAL, TIMERS, VIRTUAL, Timer
from kvmtests.windows import timed

pytestmark = [
    pytest.mark.promise(architectural="Arm ARM, The Generic Timer in AArch64 state"),
    pytest.mark.thorough,
]

TIMER_OF = {Counter.VIRTUAL: VIRTUAL, Counter.PHYSICAL: PHYSICAL}
MOVES = [
    pytest.param(lambda _, __: None, id="nothing"),
    pytest.param(lambda vcpu, counter: offset_counter(vcpu, counter, 10**9), id="offset"),
    pytest.param(lambda vcpu, counter: offset_counter(vcpu, counter, 2**64 - 10**9), id="minus-offset"),
    pytest.param(lambda vcpu, counter: TIMER_OF[counter].set(vcpu, "cnt", 1 << 40), id="value"),
]


def views(vcpu: Arm64Vcpu, counter: Counter, target_facts: Probe) -> Iterator[tuple[str, Callable[[], int]]]:
    """Yield the views of *counter* that there are on the target, by name."""
    yield "register", lambda: vcpu.guest.read_counter(counter).value
    if vcpu.ecv:
        yield "self-synchronised register", lambda: vcpu.guest.read_self_synchronised(counter).value
    if counter is Counter.VIRTUAL or target_facts.facts["KVM_CAP_COUNTER_OFFSET"]:
        yield "KVM_GET_ONE_REG", partial(TIMER_OF[counter].get, vcpu, "cnt")
    try:
        require_ptp(vcpu, target_facts)
    except CapabilityMissing:
        return
    yield "PTP", lambda: pair(call_ptp(vcpu, ARGUMENTS[counter]))[1]


def check_one_line(vcpu: Arm64Vcpu, counter: Counter, target_facts: Probe) -> None:
    """Fail unless all views of *counter* can be one."""
    lines: dict[str, Window] = {}
    for name, read in views(vcpu, counter, target_facts):
        window, count = timed(vcpu.vm, read)
        lines[name] = window.shifted(-count)
    for (name, one), (other_name, other) in combinations(lines.items(), 2):
        assert one.first in other or other.first in one, f"{name} and {other_name} are apart"


@pytest.mark.mode("vhe", "nvhe")
@pytest.mark.parametrize("counter", COUNTERS)
@pytest.mark.parametrize("move", MOVES)
def test_every_view_follows(
    vcpu: Arm64Vcpu, target_facts: Probe, counter: Counter, move: Callable[[Arm64Vcpu, Counter], object]
) -> None:
    """After each way to move a counter all views of it agree, also on a vCPU that is made afterwards."""
    move(vcpu, counter)

    check_one_line(vcpu, counter, target_facts)
    later = vcpu.vm.create_vcpu(1)
    check_one_line(later, counter, target_facts)
    check_one_line(vcpu, counter, target_facts)


@pytest.fixture
def status_for_user_space(target_facts: Probe, timer: Timer) -> None:
    """Skip where user space sees no ISTATUS: of a timer that KVM emulates, since Linux 6.18."""
    emulated = timer is PHYSICAL and target_facts.facts.get("mode") != "vhe"
    if emulated and target_facts.facts.get("timers_are_system_registers"):
        raise CapabilityMissing("ISTATUS of an emulated timer for user space")


@pytest.mark.mode("vhe", "nvhe")
@pytest.mark.parametrize("timer", TIMERS)
@pytest.mark.parametrize("control", [ENABLE, ENABLE | IMASK], ids=["ENABLE", "ENABLE-IMASK"])
@pytest.mark.parametrize("ahead", [True, False], ids=["to-come", "due"])
@pytest.mark.usefixtures("status_for_user_space")
def test_guest_and_user_space_see_one_status(
    vcpu: Arm64Vcpu, timer: Timer, control: int, ahead: bool
) -> None:
    """Under an offset the guest's CTL and KVM_GET_ONE_REG's show ISTATUS alike, masked or not."""
    offset_counter(vcpu, timer.counter, 2**64 - 10**10)
    # What is due by the guest's count is to come by the host's.
    timer.arm(vcpu, timer.count(vcpu) + (1 << 40 if ahead else -5 * 10**9), control)

    seen = timer.read(vcpu, "ctl").value
    assert timer.get(vcpu, "ctl") & ISTATUS == seen & ISTATUS == (0 if ahead else ISTATUS)
