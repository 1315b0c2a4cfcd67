# SPDX-License-Identifier: GPL-2.0-only
"""Which of a guest's reads of time leave the guest, by KVM's own counts (KVM_GET_STATS_FD).

Source: arch/x86/kvm/x86.c: kvm_vcpu_stats_desc[].
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.uapi import kvm as uapi

pytestmark = pytest.mark.promise(de_facto="Linux 6.1 to 7.3")

READINGS = 1_000


@pytest.fixture(autouse=True)
def statistics(vm: X86Vm) -> None:
    """KVM has binary statistics."""
    vm.require(uapi.KVM_CAP_BINARY_STATS_FD)


def growth(vcpu: X86Vcpu, name: str, work: Callable[[], object]) -> int:
    """Return how much the statistic *name* grew during *work*, whose program has run before."""
    work()
    before = vcpu.statistics.single[name]
    work()
    return vcpu.statistics.single[name] - before


def test_tsc_is_read_without_an_exit(vcpu: X86Vcpu) -> None:
    """RDTSC does not leave the guest: during many readings only the host's interrupts cause exits."""
    assert growth(vcpu, "exits", lambda: vcpu.guest.sample_tsc(READINGS)) < READINGS // 2


def test_kvmclock_is_read_without_an_exit(vcpu: X86Vcpu) -> None:
    """kvmclock is a record in memory and the TSC: reading it costs no exit."""
    vcpu.guest.enable_kvmclock()

    grown = growth(vcpu, "exits", lambda: vcpu.guest.check_monotony("pvclock_monotonic", READINGS))

    assert grown < READINGS // 2
