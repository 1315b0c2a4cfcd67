# SPDX-License-Identifier: GPL-2.0-only
"""What happens to guest clocks when the host's clocks are stepped or replaced, or the host is suspended.

These claims run on simulated hosts only, whose clocks have controls: a lab host is not suspended for a
claim.

Source: arch/x86/kvm/x86.c: get_kvmclock_base_ns(), __get_kvmclock(), pvclock_gtod_notify(),
kvm_arch_enable_virtualization_cpu(), kvm_arch_vcpu_load().
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fixtures.counters import NSEC_PER_SEC, Window
from fixtures.host_pair import HostDifference, HostPair, TwoHosts
from fixtures.kvm.spans import spanned
from fixtures.kvm.values import ClockFlags
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.uapi.x86.pvclock import PVCLOCK_TSC_STABLE_BIT
from kvmtests.windows import timed
from kvmtests.x86.clocks import MARGIN_NS, enter_all, flags_after_entry
from kvmtests.x86.moves import new_vm

pytestmark = [pytest.mark.promise(de_facto="Linux 6.1 to 7.3"), pytest.mark.thorough]


@pytest.fixture
def pair(two_hosts: TwoHosts[X86Vm]) -> HostPair[X86Vm]:
    """A host whose clocks can be moved: the source of a pair."""
    return two_hosts(HostDifference())


@pytest.fixture
def vcpus(pair: HostPair[X86Vm]) -> list[X86Vcpu]:
    """vCPUs 0 and 1 of a VM on that host, which have run: the master clock is on."""
    vm = new_vm(pair.source)
    vcpus = [vm.create_vcpu(0), vm.create_vcpu(1)]
    enter_all(vcpus)
    return vcpus


@pytest.fixture
def vm(vcpus: list[X86Vcpu]) -> X86Vm:
    """Their VM."""
    return vcpus[0].vm


def clock_over(vm: X86Vm, change: Callable[[], object]) -> tuple[int, Window]:
    """Return what KVM_GET_CLOCK gained over *change*, and what CLOCK_MONOTONIC_RAW did."""
    first_span, first = spanned(vm.time, vm.clock)
    change()
    last_span, last = spanned(vm.time, vm.clock)
    return last.kvmclock_ns - first.kvmclock_ns, first_span.until(last_span).widened(MARGIN_NS)


@pytest.mark.usefixtures("tsc_clocksource")
def test_clock_continues_without_tsc_clocksource(pair: HostPair[X86Vm], vm: X86Vm) -> None:
    """When the timekeeper leaves the TSC, KVM_GET_CLOCK loses realtime at once, and kvmclock continues."""

    def leave() -> None:
        pair.source_clock.set_clocksource("hpet")

    gained_ns, elapsed = clock_over(vm, leave)
    window, clock = timed(vm, vm.clock)

    assert gained_ns in elapsed
    assert clock.flags == ClockFlags.TSC_STABLE
    assert clock.realtime_ns == 0
    assert clock.host_tsc in window


@pytest.mark.usefixtures("tsc_clocksource")
def test_master_clock_ends_with_the_tsc_clocksource(pair: HostPair[X86Vm], vcpus: list[X86Vcpu]) -> None:
    """Once the vCPUs have entered their guests again the master clock is off, and kvmclock has continued."""
    pair.source_clock.set_clocksource("hpet")

    gained_ns, elapsed = clock_over(vcpus[0].vm, lambda: enter_all(vcpus))

    assert gained_ns in elapsed
    assert flags_after_entry(*vcpus) == ClockFlags(0)


@pytest.mark.promise(documented="Documentation/virt/kvm/x86/msr.rst, MSR_KVM_SYSTEM_TIME_NEW: flags")
@pytest.mark.usefixtures("tsc_clocksource")
def test_guests_lose_the_stable_flag_with_the_tsc_clocksource(
    pair: HostPair[X86Vm], vcpus: list[X86Vcpu]
) -> None:
    """Records have the stable flag, and have it no longer once the timekeeper left the TSC."""
    for vcpu in vcpus:
        vcpu.guest.enable_kvmclock()
    enter_all(vcpus)
    before = [vcpu.guest.pvclock().flags & PVCLOCK_TSC_STABLE_BIT for vcpu in vcpus]

    pair.source_clock.set_clocksource("hpet")
    enter_all(vcpus)
    enter_all(vcpus)

    after = [vcpu.guest.pvclock().flags & PVCLOCK_TSC_STABLE_BIT for vcpu in vcpus]
    assert (before, after) == ([PVCLOCK_TSC_STABLE_BIT] * 2, [0, 0])


@pytest.mark.parametrize("rate_ppb", [pytest.param(500_000, id="fast"), pytest.param(-500_000, id="slow")])
def test_ntp_does_not_change_kvmclocks_rate(pair: HostPair[X86Vm], rate_ppb: int) -> None:
    """kvmclock without the master clock counts the raw clock, however NTP slews CLOCK_MONOTONIC."""
    vm = new_vm(pair.source)
    pair.source_clock.slew(rate_ppb)

    gained_ns, elapsed = clock_over(vm, lambda: vm.time.sleep_ns(100 * NSEC_PER_SEC))

    assert gained_ns in elapsed


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_GET_CLOCK: KVM_CLOCK_REALTIME")
@pytest.mark.usefixtures("tsc_clocksource")
@pytest.mark.parametrize(
    "distance_ns",
    [pytest.param(3600 * NSEC_PER_SEC, id="1h"), pytest.param(-3600 * NSEC_PER_SEC, id="1h-back")],
)
def test_stepped_realtime_does_not_move_kvmclock(pair: HostPair[X86Vm], vm: X86Vm, distance_ns: int) -> None:
    """A step of CLOCK_REALTIME shows in KVM_GET_CLOCK's realtime and leaves its clock alone."""

    def step() -> None:
        pair.source_clock.step_realtime_ns(distance_ns)

    gained_ns, elapsed = clock_over(vm, step)
    span, clock = spanned(vm.time, vm.clock)

    assert gained_ns in elapsed
    assert clock.realtime_ns in span.realtime_ns


@pytest.mark.usefixtures("stable_tsc", "settable_tsc")
def test_suspend_loses_no_ticks(pair: HostPair[X86Vm], vcpus: list[X86Vcpu]) -> None:
    """If suspend resets the host's TSC, each vCPU's TSC continues from the latest host TSC that was seen."""
    seen = [vcpu.guest.read_tsc() for vcpu in vcpus]
    offsets = [reading.value - reading.before for reading in seen]

    pair.source_clock.suspend(10 * NSEC_PER_SEC, counter="resets")

    for vcpu, offset in zip(vcpus, offsets, strict=True):
        reading = vcpu.guest.read_tsc()
        latest = Window(seen[0].before, seen[1].after)
        assert reading.value in latest.plus(Window(0, reading.after)).shifted(offset)


@pytest.mark.usefixtures("stable_tsc", "settable_tsc")
def test_suspend_keeps_vcpus_together(pair: HostPair[X86Vm], vcpus: list[X86Vcpu]) -> None:
    """vCPUs whose TSCs were on one line are on one line after a suspend that resets the host's TSC."""
    enter_all(vcpus)
    assert len({vcpu.tsc_offset for vcpu in vcpus}) == 1

    pair.source_clock.suspend(10 * NSEC_PER_SEC, counter="resets")
    enter_all(vcpus)

    assert len({vcpu.tsc_offset for vcpu in vcpus}) == 1


@pytest.mark.promise(documented="Documentation/virt/kvm/x86/msr.rst, MSR_KVM_SYSTEM_TIME_NEW: system_time")
def test_suspend_counts_in_kvmclock(pair: HostPair[X86Vm], vcpus: list[X86Vcpu]) -> None:
    """kvmclock counts the time in suspend; once the TSC was reset the master clock stays off for good."""
    vm = vcpus[0].vm

    gained_ns, elapsed = clock_over(vm, lambda: sleep_and_enter(pair, vcpus))

    assert gained_ns in elapsed.shifted(10 * NSEC_PER_SEC)
    vm.set_clock(0)
    assert flags_after_entry(*vcpus) == ClockFlags(0)


def sleep_and_enter(pair: HostPair[X86Vm], vcpus: list[X86Vcpu]) -> None:
    """Suspend the host for 10 s, which resets its TSC, and let each vCPU run."""
    pair.source_clock.suspend(10 * NSEC_PER_SEC, counter="resets")
    enter_all(vcpus)
