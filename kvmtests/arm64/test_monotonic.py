# SPDX-License-Identifier: GPL-2.0-only
"""Guest counters never go back, across vCPUs that read at the same time.

Source: Arm ARM, D12.1: the system counter; Documentation/virt/kvm/devices/vcpu.rst, 2.
"""

from __future__ import annotations

import functools
from itertools import pairwise

import pytest

from fixtures.counters import wrap
from fixtures.kvm.arm64.values import Counter
from fixtures.kvm.arm64.vcpu import Arm64Vcpu
from fixtures.kvm.arm64.vm import Arm64Vm
from fixtures.kvm.errors import CapabilityMissing
from fixtures.kvm.threads import together
from fixtures.targets import Probe, Target
from kvmtests.arm64.counters import COUNTERS, offset_counter, ticks

pytestmark = [
    pytest.mark.promise(architectural="Arm ARM, The Generic Timer in AArch64 state: the system counter"),
    pytest.mark.thorough,
]

ROUNDS = 4
MANY_ROUNDS = 20
OFFSETS = [pytest.param(0, id="zero"), pytest.param(2**40, id="two-to-40")]


@pytest.fixture
def readings(target: Target) -> int:
    """How often each vCPU reads in a round; a simulated read takes as long as many native ones."""
    return 50 if target.simulated else 5_000


@pytest.fixture
def many_readings(target: Target) -> int:
    """The same for the stress tests: on real KVM two vCPUs make 10**7 readings over all rounds."""
    return 300 if target.simulated else 10**7 // 2 // MANY_ROUNDS


@pytest.fixture
def until_wrap(target: Target, target_facts: Probe) -> int:
    """In how many ticks the counter wraps: after 15 us of virtual time, or 1 ms, the rounds still run."""
    return ticks(target_facts, 15_000 if target.simulated else 1_000_000)


def check_across(vcpus: list[Arm64Vcpu], counter: Counter, readings: int, rounds: int) -> None:
    """Fail if a vCPU reads a counter below one that another has read before."""
    vcpus[0].guest.publish(vcpus[0].guest.read_counter(counter).value)
    checks = [functools.partial(vcpu.guest.check_monotony, counter, readings) for vcpu in vcpus]

    seen = [one for _ in range(rounds) for one in together(*checks)]

    assert [(one.steps_back, one.largest_ticks) for one in seen] == [(0, 0)] * len(seen)


@pytest.mark.parametrize("counter", COUNTERS)
@pytest.mark.parametrize("offset", OFFSETS)
def test_counter_across_vcpus(vcpus: list[Arm64Vcpu], counter: Counter, offset: int, readings: int) -> None:
    """No vCPU reads a counter below what another vCPU has read before, native or trapped."""
    offset_counter(vcpus[0], counter, offset)

    check_across(vcpus, counter, readings, ROUNDS)


@pytest.mark.parametrize("counter", COUNTERS)
def test_counter_across_vcpus_over_the_wrap(
    vcpus: list[Arm64Vcpu], counter: Counter, readings: int, until_wrap: int
) -> None:
    """The same while the counter goes from 2**64 - 1 to 0."""
    if vcpus[0].vm.counter_bits < 64:  # the guest's own differences have 64 bits
        raise CapabilityMissing("a counter of 64 bits")
    offset_counter(vcpus[0], counter, wrap(vcpus[0].vm.time.counter() + until_wrap))

    check_across(vcpus, counter, readings, ROUNDS)

    assert vcpus[0].guest.read_counter(counter).value < 2**63


def test_counter_without_offset_calls_across_vcpus(vcpus: list[Arm64Vcpu], readings: int) -> None:
    """The same for the virtual counter as KVM starts it, without any offset call."""
    check_across(vcpus, Counter.VIRTUAL, readings, ROUNDS)


@pytest.mark.parametrize("counter", COUNTERS)
def test_readings_of_one_vcpu(vcpu: Arm64Vcpu, counter: Counter, readings: int) -> None:
    """On one vCPU both counters rise, and do not step back between two entries."""
    offset_counter(vcpu, counter, 2**40)
    triples = [triple for _ in range(ROUNDS) for triple in vcpu.guest.read_triples(counter, readings)]

    cntvct = [count for triple in triples for count in (triple.first, triple.last)]
    middle = [triple.middle for triple in triples]

    for line in (cntvct, middle):
        assert max(wrap(later - earlier) for earlier, later in pairwise(line)) < 2**63
        assert 0 < wrap(line[-1] - line[0]) < 2**63


@pytest.mark.stress
@pytest.mark.parametrize("counter", COUNTERS)
@pytest.mark.parametrize("offset", OFFSETS)
def test_counter_across_vcpus_many_times(
    vcpus: list[Arm64Vcpu], counter: Counter, offset: int, many_readings: int
) -> None:
    """The same with 10**7 readings on real KVM."""
    offset_counter(vcpus[0], counter, offset)

    check_across(vcpus, counter, many_readings, MANY_ROUNDS)


@pytest.mark.stress
@pytest.mark.parametrize("counter", COUNTERS)
def test_counter_across_many_vcpus(vm: Arm64Vm, counter: Counter, readings: int) -> None:
    """Twelve vCPUs, created one after the other, count on one line."""
    vcpus = [vm.create_vcpu(number) for number in range(12)]
    offset_counter(vcpus[0], counter, 2**40)

    check_across(vcpus, counter, readings, MANY_ROUNDS)
