# SPDX-License-Identifier: GPL-2.0-only
"""Which accesses of the guest trap, depending on mode, CNTPOFF_EL2 and offset; what they read and cost.

A trapped access is recognised by its cost alone. Costs are compared as ratios: two guests make the
same number of accesses, entered in turns, and the cheapest round, or access, of each counts: other load
makes accesses more expensive, and none cheaper than it is.

Source: arch/arm64/kvm/arch_timer.c: timer_set_traps(); arch/arm64/kvm/hyp/nvhe/timer-sr.c:
__timer_enable_traps(); series v3, "KVM: arm64: Provide userspace access to the physical
counter offset".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import pytest

from fixtures.counters import wrap
from fixtures.kvm.arm64.values import Counter
from fixtures.kvm.arm64.vcpu import Arm64Vcpu
from fixtures.kvm.arm64.vm import Arm64Vm
from fixtures.kvm.errors import CapabilityMissing
from fixtures.kvm.system import Kvm
from fixtures.targets import Probe, Target
from fixtures.uapi import kvm as uapi
from fixtures.uapi.arm64 import kvm as kvm_arm64
from fixtures.uapi.arm64 import psci
from kvmtests.arm64.counters import COUNTERS, counter_traps, offset_counter
from kvmtests.arm64.timers import PHYSICAL, VIRTUAL, Timer
from kvmtests.windows import timed

pytestmark = [pytest.mark.promise(de_facto="Linux 6.12 to 7.3"), pytest.mark.thorough]

OFFSET = 2**40
OTHERS_THAN_X9 = [kvm_arm64.x_reg(n) for n in range(31) if n != 9]
OFFSETS = [
    pytest.param(0, id="zero"),
    pytest.param(2**64 - 1, id="minus-one"),
    pytest.param(180 * 10**9, id="plus-180e9"),
    pytest.param(2**63, id="two-to-63"),
]


@pytest.fixture(autouse=True)
def known_mode(target_facts: Probe) -> None:
    """The hypervisor's mode, on which it depends what traps, is known from the kernel log."""
    if target_facts.facts.get("mode") in {None, "", "unknown"}:
        pytest.skip("the kernel log does not show KVM's mode")


@dataclass(frozen=True, slots=True)
class Effort:
    """How costs are measured on a target."""

    rounds: int  # the cheapest one counts
    readings: int  # of a counter in one entry
    timer_readings: int  # an entry each, the cheapest of which counts
    trap_ratio: float  # the ratio of costs from which on the more expensive access traps


@pytest.fixture
def effort(target: Target, target_facts: Probe) -> Effort:
    """The simulator's costs have no noise; on hardware a trapped access costs twice as much as a native one.

    The trapped read alone costs three times as much (cover letters of the series), but each
    measurement includes a native read. Rounds are short, so that some are not interrupted. On an
    emulated CPU it is 15 times as much, with the noise of the host that emulates it.
    """
    if target.simulated:
        return Effort(rounds=1, readings=40, timer_readings=20, trap_ratio=1.2)
    trap_ratio = 4 if "emulated_cpu" in target_facts.facts else 1.5
    return Effort(rounds=20, readings=200, timer_readings=10, trap_ratio=trap_ratio)


@pytest.fixture
def plain(kvm: Kvm[Arm64Vm]) -> Arm64Vcpu:
    """vCPU 0 of another VM, whose counters have no offset, not even what creation gives the virtual one."""
    vm = kvm.create_vm()
    if vm.check_extension(uapi.KVM_CAP_COUNTER_OFFSET):
        vm.set_counter_offset(0)
    return vm.create_vcpu(0)


def counter_cost(vcpu: Arm64Vcpu, counter: Counter, effort: Effort) -> int:
    """Return how many ticks *effort*'s readings of *counter* take, each with one of CNTVCT_EL0."""
    triples = vcpu.guest.read_triples(counter, effort.readings)
    return sum(wrap(triple.last - triple.first) for triple in triples)


def timer_cost(vcpu: Arm64Vcpu, timer: Timer, effort: Effort) -> int:
    """Return how many ticks the cheapest reading of CVAL takes, between two of the timer's counter."""
    return min(timer.read(vcpu, "cval").window.width for _ in range(effort.timer_readings))


def costs_more(measured: Callable[[], int], reference: Callable[[], int], rounds: int, ratio: float) -> bool:
    """Return whether what *measured* counts costs more than *ratio* times what *reference* counts."""
    costs = [(measured(), reference()) for _ in range(rounds)]
    return min(cost for cost, _ in costs) > ratio * min(cost for _, cost in costs)


def counter_costs_more(vcpu: Arm64Vcpu, plain: Arm64Vcpu, counter: Counter, effort: Effort) -> bool:
    """Return whether *vcpu* pays more for *counter* than *plain*, another VM's vCPU without offset."""
    return costs_more(
        lambda: counter_cost(vcpu, counter, effort),
        lambda: counter_cost(plain, counter, effort),
        effort.rounds,
        effort.trap_ratio,
    )


def timer_costs_more(vcpu: Arm64Vcpu, plain: Arm64Vcpu, timer: Timer, effort: Effort) -> bool:
    """Return whether *vcpu* pays more for *timer* than *plain* for its virtual one, which never traps."""
    return costs_more(
        lambda: timer_cost(vcpu, timer, effort),
        lambda: timer_cost(plain, VIRTUAL, effort) + 1,  # a tick's rounding
        effort.rounds,
        effort.trap_ratio,
    )


@pytest.mark.promise(
    architectural="Arm ARM, The Generic Timer in AArch64 state: CNTVCTSS_EL0 and CNTPCTSS_EL0"
)
@pytest.mark.parametrize("counter", COUNTERS)
@pytest.mark.parametrize("offset", OFFSETS)
def test_self_synchronised_views_agree(vcpu: Arm64Vcpu, counter: Counter, offset: int) -> None:
    """CNTVCTSS_EL0 and CNTPCTSS_EL0 read host counter - offset, as CNTVCT_EL0 and CNTPCT_EL0 do."""
    vcpu.require_self_synchronised_counters()
    offset_counter(vcpu, counter, offset)

    plain, self_synchronised = vcpu.guest.read_counter(counter), vcpu.guest.read_self_synchronised(counter)

    assert plain.value in plain.window.shifted(-offset)
    assert self_synchronised.value in self_synchronised.window.shifted(-offset)


def test_physical_counter_is_native_without_offset(vcpu: Arm64Vcpu, effort: Effort) -> None:
    """In every mode CNTPCT_EL0 costs what CNTVCT_EL0 costs while it has no offset."""
    assert not costs_more(
        lambda: counter_cost(vcpu, Counter.PHYSICAL, effort),
        lambda: counter_cost(vcpu, Counter.VIRTUAL, effort),
        effort.rounds,
        effort.trap_ratio,
    )


def test_physical_counter_traps_with_an_offset(
    vcpu: Arm64Vcpu, plain: Arm64Vcpu, target_facts: Probe, effort: Effort
) -> None:
    """An offset makes CNTPCT_EL0 more expensive, except with CNTPOFF_EL2 and in protected mode."""
    offset_counter(vcpu, Counter.PHYSICAL, OFFSET)

    assert counter_costs_more(vcpu, plain, Counter.PHYSICAL, effort) == counter_traps(vcpu, target_facts)


def test_trapped_read_costs_ten_native_ones_under_emulation(
    vcpu: Arm64Vcpu, plain: Arm64Vcpu, target_facts: Probe
) -> None:
    """On an emulated CPU the median cost of a trapped read is over ten times a native one's.

    A native read is a few instructions there, and a trapped one all of EL2's code. Where no trap is
    expected the two costs differ by less than a factor of two.
    """
    if "emulated_cpu" not in target_facts.facts:
        raise CapabilityMissing("an emulated processor")
    offset_counter(vcpu, Counter.PHYSICAL, OFFSET)

    costs = [(median_cost(vcpu), median_cost(plain)) for _ in range(20)]

    # The emulator's host preempts some of the entries: each guest's quickest entry counts.
    ratio = min(cost for cost, _ in costs) / min(cost for _, cost in costs)
    traps = counter_traps(vcpu, target_facts)
    assert (ratio > 10, ratio < 2) == (traps, not traps), f"the ratio is {ratio:.1f}"


def median_cost(vcpu: Arm64Vcpu) -> float:
    """Return the median of what 200 readings of CNTPCT_EL0 take, in ticks, each with one of CNTVCT_EL0."""
    return median(wrap(each.last - each.first) for each in vcpu.guest.read_triples(Counter.PHYSICAL, 200))


def test_offset_taken_back_makes_the_counter_native(
    vcpu: Arm64Vcpu, plain: Arm64Vcpu, effort: Effort
) -> None:
    """With the offset back at 0 CNTPCT_EL0 costs what it costs a guest that never had an offset."""
    offset_counter(vcpu, Counter.PHYSICAL, OFFSET)
    vcpu.guest.read_cntpct()

    offset_counter(vcpu, Counter.PHYSICAL, 0)

    assert not counter_costs_more(vcpu, plain, Counter.PHYSICAL, effort)


@pytest.mark.generation("upstream")
def test_written_physical_counter_traps(
    vcpu: Arm64Vcpu, plain: Arm64Vcpu, target_facts: Probe, effort: Effort
) -> None:
    """Writing KVM_REG_ARM_PTIMER_CNT back makes an offset other than 0, which costs what any offset does."""
    vcpu.require_reg(kvm_arm64.KVM_REG_ARM_PTIMER_CNT, "KVM_REG_ARM_PTIMER_CNT")

    vcpu.set_reg(kvm_arm64.KVM_REG_ARM_PTIMER_CNT, vcpu.get_reg(kvm_arm64.KVM_REG_ARM_PTIMER_CNT))

    assert counter_costs_more(vcpu, plain, Counter.PHYSICAL, effort) == counter_traps(vcpu, target_facts)


@pytest.mark.usefixtures("working_cntvoff")
@pytest.mark.parametrize("counter", COUNTERS)
def test_virtual_counter_never_traps(
    vcpu: Arm64Vcpu, plain: Arm64Vcpu, counter: Counter, effort: Effort
) -> None:
    """An offset of either counter does not change what CNTVCT_EL0 costs."""
    offset_counter(vcpu, counter, OFFSET)

    assert not counter_costs_more(vcpu, plain, Counter.VIRTUAL, effort)


def test_physical_timer_traps_outside_of_vhe(
    vcpu: Arm64Vcpu, plain: Arm64Vcpu, target_facts: Probe, effort: Effort
) -> None:
    """Without offset CNTP_CVAL_EL0 costs what CNTV_CVAL_EL0 does under VHE; other modes emulate it."""
    assert timer_costs_more(vcpu, plain, PHYSICAL, effort) == (target_facts.facts["mode"] != "vhe")


def test_physical_timer_traps_with_an_offset(
    vcpu: Arm64Vcpu, plain: Arm64Vcpu, target_facts: Probe, effort: Effort
) -> None:
    """With an offset CNTP_CVAL_EL0 traps in every mode, except with CNTPOFF_EL2."""
    offset_counter(vcpu, Counter.PHYSICAL, OFFSET)

    traps = target_facts.facts["mode"] != "vhe" or counter_traps(vcpu, target_facts)
    assert timer_costs_more(vcpu, plain, PHYSICAL, effort) == traps


@pytest.mark.usefixtures("working_cntvoff")
def test_virtual_timer_never_traps(vcpu: Arm64Vcpu, plain: Arm64Vcpu, effort: Effort) -> None:
    """Offsets do not change what CNTV_CVAL_EL0 costs."""
    offset_counter(vcpu, Counter.VIRTUAL, OFFSET)
    offset_counter(vcpu, Counter.PHYSICAL, OFFSET)

    assert not timer_costs_more(vcpu, plain, VIRTUAL, effort)


@pytest.mark.usefixtures("broken_cntvoff")
def test_virtual_counter_traps_where_cntvoff_is_broken(
    vcpu: Arm64Vcpu, plain: Arm64Vcpu, effort: Effort
) -> None:
    """On a CPU that cannot subtract CNTVOFF_EL2 an offset makes CNTVCT_EL0 more expensive."""
    offset_counter(vcpu, Counter.VIRTUAL, OFFSET)

    assert counter_costs_more(vcpu, plain, Counter.VIRTUAL, effort)


@pytest.mark.usefixtures("broken_cntvoff")
def test_virtual_timer_traps_where_cntvoff_is_broken(
    vcpu: Arm64Vcpu, plain: Arm64Vcpu, effort: Effort
) -> None:
    """On the same CPU CNTV_CVAL_EL0 traps as well."""
    offset_counter(vcpu, Counter.VIRTUAL, OFFSET)

    assert timer_costs_more(vcpu, plain, VIRTUAL, effort)


@pytest.mark.promise(architectural="Arm ARM, MRS")
@pytest.mark.mode("vhe", "nvhe")
def test_trapped_read_reaches_its_register(vcpu: Arm64Vcpu) -> None:
    """MRS of CNTPCT_EL0 into X9, X10, X25 and X27 puts the count there, and the guest continues."""
    vcpu.run_limit_s = 2
    offset_counter(vcpu, Counter.PHYSICAL, OFFSET)

    x9 = vcpu.guest.read_cntpct()
    x10_window, x10 = timed(vcpu.vm, vcpu.guest.read_counters)
    window, call = timed(vcpu.vm, lambda: vcpu.guest.call_hypervisor(psci.PSCI_0_2_FN_PSCI_VERSION))

    assert x9.value in x9.window.shifted(-OFFSET)
    assert x10.cntpct in x10_window.shifted(-OFFSET)
    assert call.cntpct.first in window.shifted(-OFFSET)
    assert call.cntpct.last in window.shifted(-OFFSET)


@pytest.mark.promise(architectural="Arm ARM, MRS")
@pytest.mark.mode("vhe", "nvhe")
def test_trapped_read_leaves_other_registers(vcpu: Arm64Vcpu) -> None:
    """A trapped MRS of CNTPCT_EL0 into X9 changes only X9."""
    vcpu.run_limit_s = 2
    offset_counter(vcpu, Counter.PHYSICAL, OFFSET)
    vcpu.guest.read_cntpct()
    before = [vcpu.get_reg(register) for register in OTHERS_THAN_X9]

    vcpu.guest.read_cntpct()

    assert [vcpu.get_reg(register) for register in OTHERS_THAN_X9] == before
