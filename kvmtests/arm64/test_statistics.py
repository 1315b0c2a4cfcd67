# SPDX-License-Identifier: GPL-2.0-only
"""Which accesses of a guest reach the host kernel, by KVM's own counts (KVM_GET_STATS_FD).

"exits" counts what the host kernel sees: accesses that it emulates, not those that EL2 answers by
itself. With the costs of test_traps.py that distinguishes three kinds of access: a native one is
cheap and not counted, one answered at EL2 is expensive and not counted, an emulated one is both.

Source: arch/arm64/kvm/guest.c: kvm_vcpu_stats_desc[]; arch/arm64/kvm/handle_exit.c.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fixtures.kvm.arm64.values import Counter
from fixtures.kvm.arm64.vcpu import Arm64Vcpu
from fixtures.kvm.arm64.vm import Arm64Vm
from fixtures.targets import Probe
from fixtures.uapi import kvm as uapi
from fixtures.uapi.arm64 import psci
from kvmtests.arm64.counters import COUNTERS, counter_traps, offset_counter
from kvmtests.arm64.timers import PHYSICAL, VIRTUAL, Timer

pytestmark = [pytest.mark.promise(de_facto="Linux 6.1 to 7.3"), pytest.mark.thorough]

OFFSET = 2**40
READINGS = 300
RUNS = 10
TURNS = 4


@pytest.fixture(autouse=True)
def statistics(vm: Arm64Vm) -> None:
    """KVM has binary statistics."""
    vm.require(uapi.KVM_CAP_BINARY_STATS_FD)


@pytest.fixture
def mode(target_facts: Probe) -> str:
    """The hypervisor's mode, on which the rows of the trap table depend."""
    found = str(target_facts.facts.get("mode", ""))
    if found in {"", "unknown"}:
        pytest.skip("the kernel log does not show KVM's mode")
    return found


def growth(vcpu: Arm64Vcpu, name: str, work: Callable[[], object]) -> int:
    """Return how much the statistic *name* grew during *work*, whose program has run before."""
    work()
    before = vcpu.statistics.single[name]
    work()
    return vcpu.statistics.single[name] - before


def timer_is_emulated(vcpu: Arm64Vcpu, timer: Timer) -> bool:
    """Return whether reading CVAL takes one exit more than reading a counter, which takes none.

    The host's interrupts add exits to both, which are therefore measured in turns.
    """

    def timer_reads() -> None:
        for _ in range(RUNS):
            timer.read(vcpu, "cval")

    def counter_reads() -> None:
        for _ in range(RUNS):
            vcpu.guest.read_cntvct()

    turns = [(growth(vcpu, "exits", timer_reads), growth(vcpu, "exits", counter_reads)) for _ in range(TURNS)]
    return sum(timer_exits - counter_exits for timer_exits, counter_exits in turns) > RUNS * TURNS // 2


@pytest.mark.parametrize("offset", [pytest.param(0, id="plain"), pytest.param(OFFSET, id="offset")])
@pytest.mark.parametrize("counter", COUNTERS)
def test_counters_never_reach_the_host_kernel(vcpu: Arm64Vcpu, counter: Counter, offset: int) -> None:
    """In every mode and with any offset CNTVCT_EL0 and CNTPCT_EL0 are native or answered at EL2."""
    offset_counter(vcpu, counter, offset)

    assert growth(vcpu, "exits", lambda: vcpu.guest.read_triples(counter, READINGS)) < READINGS // 2


@pytest.mark.generation("upstream")
@pytest.mark.parametrize("counter", COUNTERS)
def test_counters_set_by_value_never_reach_the_host_kernel(vcpu: Arm64Vcpu, counter: Counter) -> None:
    """Nor do counters that user space has set by value, as a VMM does that restores a guest."""
    for timer in (VIRTUAL, PHYSICAL):
        timer.set(vcpu, "cnt", OFFSET)

    assert growth(vcpu, "exits", lambda: vcpu.guest.read_triples(counter, READINGS)) < READINGS // 2


def test_physical_timer_is_emulated_outside_of_vhe(vcpu: Arm64Vcpu, mode: str) -> None:
    """Without offset CNTP_CVAL_EL0 is the CPU's under VHE; in other modes the host kernel emulates it."""
    assert timer_is_emulated(vcpu, PHYSICAL) == (mode != "vhe")


def test_physical_timer_with_an_offset_is_emulated(vcpu: Arm64Vcpu, mode: str, target_facts: Probe) -> None:
    """With an offset the host kernel emulates CNTP_CVAL_EL0 in every mode, except with CNTPOFF_EL2."""
    offset_counter(vcpu, Counter.PHYSICAL, OFFSET)

    emulated = mode != "vhe" or counter_traps(vcpu, target_facts)
    assert timer_is_emulated(vcpu, PHYSICAL) == emulated


@pytest.mark.usefixtures("working_cntvoff")
def test_virtual_timer_is_never_emulated(vcpu: Arm64Vcpu) -> None:
    """CNTV_CVAL_EL0 is the CPU's own register, whatever the offsets."""
    offset_counter(vcpu, Counter.VIRTUAL, OFFSET)

    assert not timer_is_emulated(vcpu, VIRTUAL)


@pytest.mark.usefixtures("broken_cntvoff")
def test_virtual_timer_is_emulated_where_cntvoff_is_broken(vcpu: Arm64Vcpu) -> None:
    """On a CPU that cannot subtract CNTVOFF_EL2 the host kernel emulates a virtual timer with an offset."""
    offset_counter(vcpu, Counter.VIRTUAL, OFFSET)

    assert timer_is_emulated(vcpu, VIRTUAL)


def test_each_hypercall_is_counted(vcpu: Arm64Vcpu) -> None:
    """hvc_exit_stat counts HVC, and nothing else."""

    def call() -> None:
        for _ in range(RUNS):
            vcpu.guest.call_hypervisor(psci.PSCI_0_2_FN_PSCI_VERSION)
            vcpu.guest.read_cntvct()

    assert growth(vcpu, "hvc_exit_stat", call) == RUNS


def test_each_sleep_is_counted(vcpu: Arm64Vcpu) -> None:
    """wfi_exit_stat counts a WFI that a timer ended."""
    frequency_hz = vcpu.guest.read_cntfrq()
    before = vcpu.statistics.single["wfi_exit_stat"]

    VIRTUAL.arm(vcpu, VIRTUAL.count(vcpu) + frequency_hz // 20)
    vcpu.guest.wait_for_interrupt()

    assert vcpu.statistics.single["wfi_exit_stat"] - before == 1


def test_each_store_to_user_space_is_counted(vcpu: Arm64Vcpu) -> None:
    """mmio_exit_user counts the stores by which guest programs leave to user space."""

    def read() -> None:
        for _ in range(RUNS):
            vcpu.guest.read_cntvct()

    assert growth(vcpu, "mmio_exit_user", read) == RUNS
