# SPDX-License-Identifier: GPL-2.0-only
"""A guest with a TSC frequency of its own, moved between hosts of different frequencies.

Source: docs/migration.md, "With TSC scaling"; arch/x86/kvm/x86.c: set_tsc_khz().
"""

from __future__ import annotations

import pytest

from fixtures.counters import NSEC_PER_SEC, Window, signed
from fixtures.host_pair import HostDifference, HostPair, TwoHosts
from fixtures.kvm.errors import HarnessError
from fixtures.kvm.x86.vm import X86Vm
from fixtures.migration import gaps
from fixtures.migration.ticks import ticks_at_khz
from fixtures.migration.x86.procedure import ByOffset, Scaled
from fixtures.migration.x86.scaled import Scaling
from fixtures.uapi import kvm as uapi
from kvmtests.x86.moves import new_vm, places, resume, save

pytestmark = [
    pytest.mark.promise(de_facto="Linux 6.1 to 7.3"),
    pytest.mark.thorough,
    pytest.mark.usefixtures("tsc_clocksource"),
]


FRAC_BITS = 48  # of the simulated hosts' multiplier, as of Intel's
UPTIME_NS = NSEC_PER_SEC

GUESTS = [
    pytest.param(1_500_000, id="1.5GHz"),
    pytest.param(2_345_678, id="2.345678GHz"),
    pytest.param(4_000_000, id="4GHz"),
]
DESTINATIONS = [
    pytest.param(HostDifference(counter_hz=3_000_000_000, counter=10**15 + 7), id="3GHz-4-days-up"),
    pytest.param(HostDifference(counter_hz=2_000_000_000, counter=5), id="2GHz-just-booted"),
    pytest.param(HostDifference(rate_ppm=-200, counter=5), id="200-ppm-slower"),
]
BLACKOUTS = [
    pytest.param(0, id="at-once"),
    pytest.param(7800 * NSEC_PER_SEC, id="2h10min"),
    pytest.param(40 * 86400 * NSEC_PER_SEC, id="40-days"),
]


def start(hosts: HostPair[X86Vm], khz: int) -> X86Vm:
    """Return a guest of *khz* on the source, up for UPTIME_NS; `CapabilityMissing` without scaling."""
    vm = new_vm(hosts.source)
    vm.require(uapi.KVM_CAP_TSC_CONTROL)
    vm.tsc_khz = khz
    vm.create_vcpu(0)
    resume(vm)
    vm.time.sleep_ns(UPTIME_NS)
    return vm


def scaling_on(hosts: HostPair[X86Vm], khz: int) -> Scaled:
    """Return the procedure between the hosts, with the multipliers that KVM computes on each."""
    host_khz = new_vm(hosts.source).tsc_khz, new_vm(hosts.destination).tsc_khz
    old, new = (Scaling.estimated(khz, one, FRAC_BITS) for one in host_khz)
    return Scaled(old, new)


def margin_ticks(khz: int) -> int:
    """Return how far a scaled guest's line may move, in ticks.

    The pvclock record counts in whole kHz of the frequency that the multiplier really gives, one
    less than was set: a relative 1/kHz of the time since the last snapshot.
    """
    return ticks_at_khz(2 * UPTIME_NS // khz + 4, khz) + 1


@pytest.mark.usefixtures("settable_tsc")
@pytest.mark.parametrize("blackout_ns", BLACKOUTS)
@pytest.mark.parametrize("difference", DESTINATIONS)
@pytest.mark.parametrize("khz", GUESTS)
def test_tsc_and_kvmclock_move_together(
    two_hosts: TwoHosts[X86Vm], khz: int, difference: HostDifference, blackout_ns: int
) -> None:
    """With the scaled arithmetic guest TSC - f · kvmclock is the same after the move."""
    hosts = two_hosts(difference)
    guest = start(hosts, khz)
    (before,) = places(guest)
    source = save(guest)

    moved = new_vm(hosts.arrive(blackout_ns))
    scaling_on(hosts, khz).restore(source, moved, source.clock.realtime_ns)
    resume(moved)

    (after,) = places(moved)
    line = before.line(khz)
    assert moved.vcpus[0].tsc_khz == khz
    assert after.line(khz) in Window(line, line).widened(margin_ticks(khz))


@pytest.mark.usefixtures("settable_tsc")
@pytest.mark.parametrize("difference", DESTINATIONS)
@pytest.mark.parametrize("khz", GUESTS)
def test_ignoring_scaling_costs_what_the_gap_says(
    two_hosts: TwoHosts[X86Vm], khz: int, difference: HostDifference
) -> None:
    """The documented formula misses by T_s · (1 - r_s) - T_d · (1 - r_d): both hosts' uptime."""
    hosts = two_hosts(difference)
    guest = start(hosts, khz)
    (before,) = places(guest)
    source = save(guest)

    moved = new_vm(hosts.arrive(4 * NSEC_PER_SEC))
    ByOffset().restore(source, moved, source.clock.realtime_ns)
    resume(moved)

    (after,) = places(moved)
    scaled = scaling_on(hosts, khz)
    host_tsc = moved.clock().host_tsc
    gap = gaps.ignored_scaling_ticks(source.clock.host_tsc, scaled.old, host_tsc, scaled.new)
    if abs(gap) <= 1_000_000:
        raise HarnessError(f"a gap of {gap} ticks does not show beyond the margins")
    missed = signed(after.line(khz) - before.line(khz))
    later = hosts.destination_hz // 1000  # ms between the pair that was used and the one read here
    assert missed in Window(gap, gap).widened(margin_ticks(khz) + later)
