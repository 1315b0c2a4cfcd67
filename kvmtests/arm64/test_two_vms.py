# SPDX-License-Identifier: GPL-2.0-only
"""VMs with different offsets on one CPU each run with their own offsets and traps.

Source: arch/arm64/kvm/arch_timer.c: kvm_timer_vcpu_load(), timer_set_traps(); "Fixed a bug with
traps in VHE mode" of the series' v2.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fixtures.counters import wrap
from fixtures.kvm.arm64.values import Counter
from fixtures.kvm.arm64.vcpu import Arm64Vcpu
from fixtures.kvm.arm64.vm import Arm64Vm
from fixtures.kvm.cpus import kept_cpus, pin
from fixtures.kvm.system import Kvm
from fixtures.targets import Target
from kvmtests.arm64.counters import COUNTERS, offset_counter
from kvmtests.arm64.timers import ENABLE, IMASK, PHYSICAL, TIMERS, Timer

pytestmark = [
    pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_ARM_SET_COUNTER_OFFSET"),
    pytest.mark.thorough,
]

OFFSET = 2**40
ROUNDS = 5
PAIRS = [
    pytest.param((0, OFFSET), id="none-and-plus"),
    pytest.param((OFFSET, 0), id="plus-and-none"),
    pytest.param((OFFSET, wrap(-OFFSET)), id="plus-and-minus"),
]


@pytest.fixture(autouse=True)
def one_cpu(target: Target) -> Iterator[None]:
    """This thread stays on one CPU; on a simulated host each thread has its own."""
    with kept_cpus(simulated=target.simulated) as cpus:
        pin(cpus, 0)
        yield


@pytest.fixture
def pair(kvm: Kvm[Arm64Vm]) -> list[Arm64Vcpu]:
    """vCPU 0 of each of two VMs."""
    return [new_vcpu(kvm) for _ in range(2)]


def new_vcpu(kvm: Kvm[Arm64Vm]) -> Arm64Vcpu:
    """Return vCPU 0 of a new VM."""
    vm = kvm.create_vm()
    return vm.create_vcpu(0)


@pytest.mark.parametrize("counter", COUNTERS)
@pytest.mark.parametrize("offsets", PAIRS)
def test_vms_share_a_cpu(pair: list[Arm64Vcpu], counter: Counter, offsets: tuple[int, int]) -> None:
    """Entered in turns, each guest reads the counter with its own offset."""
    for vcpu, offset in zip(pair, offsets, strict=True):
        offset_counter(vcpu, counter, offset)

    for _ in range(ROUNDS):
        for vcpu, offset in zip(pair, offsets, strict=True):
            reading = vcpu.guest.read_counter(counter)
            assert reading.value in reading.window.shifted(-offset)


@pytest.mark.promise(architectural="Arm ARM, The Generic Timer in AArch64 state: timers")
@pytest.mark.parametrize("timer", TIMERS)
def test_timers_of_two_vms_keep_apart(pair: list[Arm64Vcpu], timer: Timer) -> None:
    """Guests entered in turns each find their own CTL and CVAL."""
    for number, vcpu in enumerate(pair):
        offset_counter(vcpu, timer.counter, number * OFFSET)
        timer.arm(vcpu, 2**62 + number, IMASK | ENABLE * number)

    seen = [
        (timer.read(vcpu, "cval").value, timer.read(vcpu, "ctl").value & (ENABLE | IMASK))
        for _ in range(2)
        for vcpu in pair
    ]

    assert seen == [(2**62, IMASK), (2**62 + 1, IMASK | ENABLE)] * 2


@pytest.mark.promise(de_facto="Linux 6.12 to 7.3")
def test_vms_of_one_host_come_and_go(kvm: Kvm[Arm64Vm]) -> None:
    """A VM that is closed does not leave its offset or traps to the next one on its CPU."""
    for number in range(ROUNDS):
        vcpu = new_vcpu(kvm)
        fresh = vcpu.guest.read_cntpct()
        assert fresh.value in fresh.window
        offset_counter(vcpu, Counter.PHYSICAL, OFFSET + number)
        PHYSICAL.arm(vcpu, 0, ENABLE | IMASK)
        vcpu.vm.close()
        kvm.vms.remove(vcpu.vm)
