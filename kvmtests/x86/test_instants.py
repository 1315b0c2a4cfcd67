# SPDX-License-Identifier: GPL-2.0-only
"""Fields of one answer, and answers of two interfaces, that belong to one instant: to the nanosecond.

On simulated hosts KVM is held up after each clock that it reads. Whatever it reads one after the other in
place of at once is apart by as much, which no window around the call would show.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from fixtures.counters import NSEC_PER_MSEC, NSEC_PER_SEC, Window, wrap
from fixtures.kvm.spans import spanned
from fixtures.kvm.values import Clock
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.uapi import kvm as uapi
from kvmtests.x86.clocks import enter_all
from kvmtests.x86.hyperv import enlighten, require_hyperv, time_of_page
from kvmtests.x86.xen import require_xen, share, shared_page

pytestmark = [pytest.mark.thorough, pytest.mark.usefixtures("tsc_clocksource", "stable_tsc")]

STALLS = pytest.mark.parametrize(
    "stall_ns",
    [
        pytest.param(1_000, id="1us"),
        pytest.param(NSEC_PER_MSEC, id="1ms"),
        pytest.param(NSEC_PER_SEC, id="1s"),
    ],
)
ROUNDING_NS = 2  # of two values that were each rounded to a nanosecond
DRIFT_NS = 200  # between a snapshot and CLOCK_MONOTONIC_RAW over the time that a claim takes
CLOCK_NS = 1000 * NSEC_PER_SEC

Stalled = Callable[[int], AbstractContextManager[None]]


def slewed(elapsed_ns: int) -> int:
    """Return by how much CLOCK_REALTIME, which NTP steers, may differ from the TSC over *elapsed_ns*."""
    return ROUNDING_NS + elapsed_ns // 1000


def epoch_ns(clock: Clock) -> int:
    """Return CLOCK_REALTIME when kvmclock was 0, from one KVM_GET_CLOCK."""
    return clock.realtime_ns - clock.kvmclock_ns


def between(first: Clock, last: Clock) -> Window:
    """Return what the epoch was between two KVM_GET_CLOCK: NTP moves it from one to the other."""
    ends = sorted((epoch_ns(first), epoch_ns(last)))
    return Window(*ends).widened(ROUNDING_NS)


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_GET_CLOCK: KVM_CLOCK_REALTIME")
@STALLS
def test_realtime_is_of_the_instant_of_host_tsc(
    vm: X86Vm, vcpu: X86Vcpu, stalled: Stalled, stall_ns: int
) -> None:
    """From one KVM_GET_CLOCK to the next realtime advances by as many ns as host_tsc has ticks."""
    vm.require_realtime()
    vcpu.guest.read_tsc()
    first = vm.clock()

    with stalled(stall_ns):
        last = vm.clock()

    elapsed_ns = (last.host_tsc - first.host_tsc) * 1_000_000 // vcpu.tsc_khz
    advanced_ns = last.realtime_ns - first.realtime_ns
    assert advanced_ns in Window(elapsed_ns, elapsed_ns).widened(slewed(elapsed_ns))


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_GET_CLOCK: KVM_CLOCK_HOST_TSC")
@STALLS
def test_clock_is_of_the_instant_of_host_tsc(
    vm: X86Vm, vcpu: X86Vcpu, stalled: Stalled, stall_ns: int
) -> None:
    """KVM_GET_CLOCK's clock is what the guest's record gives for its host_tsc, to the nanosecond."""
    vcpu.guest.enable_kvmclock()
    vcpu.guest.read_kvmclock()

    with stalled(stall_ns):
        clock = vm.clock()

    guest_tsc = wrap(clock.host_tsc + vcpu.tsc_offset)
    assert vcpu.guest.pvclock().kvmclock_ns(guest_tsc) == clock.kvmclock_ns


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
@STALLS
def test_snapshot_is_of_one_instant(vm: X86Vm, vcpus: list[X86Vcpu], stalled: Stalled, stall_ns: int) -> None:
    """A clock that was set with the master clock on continues without it from the same value."""
    enter_all(vcpus)
    with stalled(stall_ns):
        vm.set_clock(CLOCK_NS)
    on_span, on = spanned(vm.time, vm.clock)

    vcpus[1].tsc_offset = vcpus[1].tsc_offset + 10**12
    vcpus[1].guest.read_tsc()
    off_span, off = spanned(vm.time, vm.clock)

    assert off.kvmclock_ns in on_span.until(off_span).shifted(on.kvmclock_ns).widened(DRIFT_NS)


@pytest.mark.promise(
    de_facto="Linux 6.7 to 7.3",
    began='5d6d6a7d7e66 ("KVM: x86: Refine calculation of guest wall clock to use a single TSC read")',
)
@STALLS
def test_wall_clock_is_of_one_instant(vm: X86Vm, vcpu: X86Vcpu, stalled: Stalled, stall_ns: int) -> None:
    """The wall clock that a guest requests is realtime - clock of KVM_GET_CLOCK, to the nanosecond."""
    vm.require_realtime()
    vcpu.guest.read_tsc()
    vm.set_clock(CLOCK_NS)
    first = vm.clock()

    with stalled(stall_ns):
        wall_clock = vcpu.guest.write_wall_clock()

    assert wall_clock.epoch_ns in between(first, vm.clock())


@pytest.mark.promise(
    de_facto="Linux 6.7 to 7.3",
    began='5d6d6a7d7e66 ("KVM: x86: Refine calculation of guest wall clock to use a single TSC read")',
)
@STALLS
def test_xen_wall_clock_is_of_one_instant(vm: X86Vm, vcpu: X86Vcpu, stalled: Stalled, stall_ns: int) -> None:
    """A Xen guest's wall clock is realtime - clock of KVM_GET_CLOCK, to the nanosecond."""
    vm.require_realtime()
    require_xen(vm)
    vcpu.guest.read_tsc()
    vm.set_clock(CLOCK_NS)
    first = vm.clock()

    with stalled(stall_ns):
        share(vm)

    page = shared_page(vm, 1)
    seconds = page.wc_sec_hi << 32 | page.wc.sec
    assert seconds * NSEC_PER_SEC + page.wc.nsec in between(first, vm.clock())


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
@STALLS
def test_reference_page_and_get_clock_are_one_clock(
    vm: X86Vm, vcpu: X86Vcpu, stalled: Stalled, stall_ns: int
) -> None:
    """Hyper-V's page gives for KVM_GET_CLOCK's host_tsc its clock in units of 100 ns, to a unit."""
    vm.require(uapi.KVM_CAP_ADJUST_CLOCK)
    require_hyperv(vm)
    enlighten(vcpu)
    vcpu.guest.enable_reference_tsc()
    vcpu.guest.read_tsc()

    with stalled(stall_ns):
        clock = vm.clock()

    page = vcpu.guest.reference_tsc_page()
    seen_100ns = time_of_page(page, wrap(clock.host_tsc + vcpu.tsc_offset))
    assert seen_100ns in Window(clock.kvmclock_ns // 100, clock.kvmclock_ns // 100).widened(1)
