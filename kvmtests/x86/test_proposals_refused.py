# SPDX-License-Identifier: GPL-2.0-only
"""KVM_GET_CLOCK_GUEST and KVM_SET_CLOCK_GUEST without the master clock, and once it is on again.

A VMM may meet a guest whose kvmclock is not a line over a TSC at any moment: either call must report so,
and neither may turn the master clock on.

Source: kvm@vger.kernel.org, "Cleaning up the KVM clock mess"; arch/x86/kvm/x86.c:
pvclock_update_vm_gtod_copy().
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest

from fixtures.counters import NSEC_PER_SEC
from fixtures.kvm.expect import refused
from fixtures.kvm.spans import spanned
from fixtures.kvm.values import MASTER_CLOCK, ClockFlags, Pvclock
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.uapi.x86.kvm_para import MSR_KVM_SYSTEM_TIME, MSR_KVM_SYSTEM_TIME_NEW
from kvmtests.x86.clocks import MARGIN_NS, enter_all, flags_after_entry
from kvmtests.x86.proposals import Guest, clock_guest_of, distance_ns, get_clock_guest, set_clock_guest

pytestmark = [
    pytest.mark.promise(de_facto="the proposals since 2024"),
    pytest.mark.generation("proposals"),
    pytest.mark.usefixtures("tsc_clocksource"),
]

OFF = ClockFlags(0)


@dataclass(frozen=True, slots=True)
class Lined:
    """Two vCPUs whose kvmclock was a line, and that line over the first one's TSC."""

    vcpus: list[X86Vcpu]
    numbers: Guest
    line: Pvclock

    def get(self) -> None:
        """KVM_GET_CLOCK_GUEST of the first vCPU."""
        get_clock_guest(self.vcpus[0], self.numbers[0])

    def set(self) -> None:
        """KVM_SET_CLOCK_GUEST of the first vCPU, with its line."""
        set_clock_guest(self.vcpus[0], self.numbers[1], self.line)


@pytest.fixture
def lined(vcpus: list[X86Vcpu]) -> Lined:
    """Two vCPUs whose guest has registered kvmclock on both, by the new MSR."""
    for vcpu in vcpus:
        vcpu.guest.enable_kvmclock()
    vcpus[0].vm.set_clock(1000 * NSEC_PER_SEC)
    enter_all(vcpus)
    numbers = clock_guest_of(vcpus[0])
    return Lined(vcpus, numbers, get_clock_guest(vcpus[0], numbers[0]))


def register_by_the_legacy_msr(lined: Lined) -> None:
    """Let the first vCPU's guest register kvmclock so that KVM turns the master clock off."""
    lined.vcpus[0].guest.enable_kvmclock(MSR_KVM_SYSTEM_TIME)
    enter_all(lined.vcpus)


CALLS: Mapping[str, Callable[[Lined], None]] = {"get": Lined.get, "set": Lined.set}
each_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@each_call
def test_no_line_for_a_guest_that_uses_the_legacy_msr(lined: Lined, call: Callable[[Lined], None]) -> None:
    """While vCPU 0's guest uses the legacy MSR both calls give EINVAL, as often as they come."""
    register_by_the_legacy_msr(lined)

    for _ in range(3):
        with refused(errno.EINVAL):
            call(lined)

    assert lined.vcpus[0].vm.clock().flags == flags_after_entry(*lined.vcpus) == OFF


@each_call
def test_refused_call_does_not_move_kvmclock(lined: Lined, call: Callable[[Lined], None]) -> None:
    """A call that is refused so leaves kvmclock with CLOCK_MONOTONIC_RAW's pace, on every vCPU."""
    register_by_the_legacy_msr(lined)
    vm = lined.vcpus[0].vm
    first_span, first = spanned(vm.time, vm.clock)

    with refused(errno.EINVAL):
        call(lined)

    for vcpu in lined.vcpus:
        span, reading = spanned(vm.time, vcpu.guest.read_kvmclock)
        assert reading.kvmclock_ns - first.kvmclock_ns in first_span.until(span).widened(MARGIN_NS)


def test_line_returns_with_the_master_clock(lined: Lined) -> None:
    """Once the guest uses the new MSR again the line can be set that was refused, and is what it reads."""
    register_by_the_legacy_msr(lined)
    with refused(errno.EINVAL):
        lined.set()
    lined.vcpus[0].guest.enable_kvmclock(MSR_KVM_SYSTEM_TIME_NEW)
    enter_all(lined.vcpus)
    lined.vcpus[0].vm.set_clock(0)

    lined.set()

    assert flags_after_entry(*lined.vcpus) == MASTER_CLOCK
    assert [abs(distance_ns(vcpu, lined.line)) <= 1 for vcpu in lined.vcpus] == [True, True]
