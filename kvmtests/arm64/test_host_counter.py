# SPDX-License-Identifier: GPL-2.0-only
"""Running guests with offsets leaves the host's own counter alone.

Where the host kernel runs at EL1 its user space reads CNTVCT_EL0 with the CNTVOFF_EL2 that is
in the CPU; KVM must clear it whenever a vCPU leaves.

Source: arch/arm64/kvm/arch_timer.c: timer_save_state(), kvm_timer_vcpu_put().
"""

from __future__ import annotations

import pytest

from fixtures.counters import NSEC_PER_SEC, Window
from fixtures.kvm.arm64.values import Counter
from fixtures.kvm.arm64.vcpu import Arm64Vcpu
from fixtures.targets import Probe
from kvmtests.arm64.counters import COUNTERS, offset_counter
from kvmtests.tables import NONZERO_OFFSETS

pytestmark = [pytest.mark.promise(de_facto="Linux 5.10 to 7.3"), pytest.mark.thorough]


@pytest.mark.parametrize("counter", COUNTERS)
@pytest.mark.parametrize("offset", NONZERO_OFFSETS)
def test_offset_does_not_leak_to_the_host(
    vcpu: Arm64Vcpu, counter: Counter, offset: int, target_facts: Probe
) -> None:
    """After a guest with an offset has run, the host's CNTVCT_EL0 keeps pace with CLOCK_MONOTONIC_RAW."""
    time, hz = vcpu.vm.time, int(target_facts.facts["counter_hz"])
    offset_counter(vcpu, counter, offset)
    first_ns, first_ticks = time.monotonic_raw_ns(), time.counter()

    vcpu.guest.read_counter(counter)

    last_ticks, last_ns = time.counter(), time.monotonic_raw_ns()
    elapsed_ticks = (last_ns - first_ns) * hz // NSEC_PER_SEC
    assert last_ticks in Window(first_ticks, first_ticks + elapsed_ticks).widened(elapsed_ticks // 1_000 + 2)


@pytest.mark.parametrize("counter", COUNTERS)
def test_running_guest_does_not_leak_to_the_host(
    vcpus: list[Arm64Vcpu], counter: Counter, target_facts: Probe
) -> None:
    """While another thread runs a guest with an offset, the host's CNTVCT_EL0 keeps pace as well."""
    vcpu, other = vcpus
    time, hz = vcpu.vm.time, int(target_facts.facts["counter_hz"])
    offset_counter(vcpu, counter, 2**40)
    first_ns, first_ticks = time.monotonic_raw_ns(), time.counter()

    with other.guest.spinning():
        last_ticks, last_ns = time.counter(), time.monotonic_raw_ns()

    elapsed_ticks = (last_ns - first_ns) * hz // NSEC_PER_SEC
    assert last_ticks in Window(first_ticks, first_ticks + elapsed_ticks).widened(elapsed_ticks // 1_000 + 2)
