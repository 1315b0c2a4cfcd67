# SPDX-License-Identifier: GPL-2.0-only
"""A guest moved to another host by the documented algorithm: what is preserved, and how large each gap is.

Source: Documentation/virt/kvm/devices/vcpu.rst, 4.1; docs/migration.md.
"""

from __future__ import annotations

import pytest

from fixtures.counters import NSEC_PER_SEC, Window, signed
from fixtures.host_pair import HostDifference, TwoHosts
from fixtures.kvm.x86.vm import X86Vm
from fixtures.migration import gaps, kvmclock
from fixtures.migration.kvmclock import TaiPair
from fixtures.migration.ticks import ticks_at_hz, ticks_at_khz
from fixtures.migration.x86.procedure import ByOffset
from fixtures.uapi.x86.msr_index import MSR_IA32_TSC_ADJUST
from kvmtests.x86.moves import new_guest, new_vm, places, restore, save

pytestmark = [
    pytest.mark.promise(
        documented="Documentation/virt/kvm/devices/vcpu.rst, KVM_VCPU_TSC_OFFSET: the algorithm for migration"
    ),
    pytest.mark.thorough,
    pytest.mark.usefixtures("tsc_clocksource"),
]


# kvmclock from the record and from KVM_GET_CLOCK are each rounded to a ns, on either host.
LINE_MARGIN_NS = 4

# KVM samples base time and CLOCK_REALTIME one after the other, and the pair is one system call old.
PAIR_ERROR_NS = 1_000

BLACKOUTS = [
    pytest.param(0, id="at-once"),
    pytest.param(4 * NSEC_PER_SEC, id="4s"),
    pytest.param(3600 * NSEC_PER_SEC, id="1h"),
    pytest.param(7800 * NSEC_PER_SEC, id="2h10min"),
    pytest.param(40 * 86400 * NSEC_PER_SEC, id="40-days"),
]

DIFFERENCES = [
    pytest.param(HostDifference(), id="same-counter"),
    pytest.param(HostDifference(counter=5), id="just-booted"),
    pytest.param(HostDifference(counter=2**63 + 1), id="counter-far-ahead"),
    pytest.param(HostDifference(counter=2**64 - 26_000_000), id="counter-about-to-wrap"),
    pytest.param(HostDifference(counter=5, rate_ppm=10), id="10-ppm-faster"),
    pytest.param(HostDifference(counter=5, rate_ppm=-200), id="200-ppm-slower"),
    pytest.param(HostDifference(counter=5, calibration_ppm=10), id="calibrated-10-ppm-higher"),
]

CLOCK_ERRORS = [
    pytest.param(HostDifference(counter=5, synchronisation_ns=3_000_000), id="3ms-ahead"),
    pytest.param(HostDifference(counter=5, synchronisation_ns=-3_000_000), id="3ms-behind"),
    pytest.param(HostDifference(counter=5, synchronisation_ns=5 * NSEC_PER_SEC), id="stepped-5s-ahead"),
    pytest.param(HostDifference(counter=5, synchronisation_ns=-5 * NSEC_PER_SEC), id="stepped-5s-back"),
    pytest.param(HostDifference(counter=5, leap_seconds=1), id="leap-second-inserted"),
    pytest.param(HostDifference(counter=5, leap_seconds=-1), id="leap-second-deleted"),
]


@pytest.mark.usefixtures("settable_tsc")
@pytest.mark.parametrize("blackout_ns", BLACKOUTS)
@pytest.mark.parametrize("difference", [*DIFFERENCES, *CLOCK_ERRORS])
def test_tsc_and_kvmclock_move_together(
    two_hosts: TwoHosts[X86Vm], difference: HostDifference, blackout_ns: int
) -> None:
    """Guest TSC - f · kvmclock is the same after the move, on every vCPU, whatever the hosts' clocks did."""
    hosts = two_hosts(difference)
    guest = new_guest(hosts.source)
    before = places(guest)
    source = save(guest)

    moved = restore(source, hosts.arrive(blackout_ns), source.clock.realtime_ns)

    margin = ticks_at_khz(LINE_MARGIN_NS, source.tsc_khz) + 1
    for old, new in zip(before, places(moved), strict=True):
        line = old.line(source.tsc_khz)
        assert new.line(source.tsc_khz) in Window(line, line).widened(margin)


@pytest.mark.usefixtures("settable_tsc")
@pytest.mark.parametrize("blackout_ns", BLACKOUTS)
def test_vcpus_keep_their_distance(two_hosts: TwoHosts[X86Vm], blackout_ns: int) -> None:
    """The skew that a guest gave one vCPU through its TSC survives, to the tick."""
    hosts = two_hosts(HostDifference(counter=5))
    guest = new_guest(hosts.source)
    guest.vcpus[1].guest.wrmsr(MSR_IA32_TSC_ADJUST, 2**64 - 12345)
    source = save(guest)

    moved = restore(source, hosts.arrive(blackout_ns), source.clock.realtime_ns)

    assert source.tsc_offsets[1] - source.tsc_offsets[0] == -12345
    first, second = (vcpu.tsc_offset for vcpu in moved.vcpus)
    assert signed(second - first) == -12345
    assert moved.vcpus[1].get_msr(MSR_IA32_TSC_ADJUST) == 2**64 - 12345


@pytest.mark.usefixtures("settable_tsc")
@pytest.mark.parametrize("blackout_ns", BLACKOUTS)
def test_guest_time_is_true_time(two_hosts: TwoHosts[X86Vm], blackout_ns: int) -> None:
    """Between synchronised hosts TSC and kvmclock advance by the time that really passed.

    The TSC falls short by what rounding KVM_GET_TSC_KHZ to whole kHz loses over the blackout.
    """
    hosts = two_hosts(HostDifference(counter=5))
    guest = new_guest(hosts.source, vcpus=1)
    before_ns = hosts.source_true_ns()
    (old,) = places(guest)
    first_ns = hosts.source_true_ns()
    source = save(guest)

    moved = restore(source, hosts.arrive(blackout_ns), source.clock.realtime_ns)

    second_ns = hosts.destination_true_ns()
    (new,) = places(moved)
    elapsed = Window(second_ns - first_ns, hosts.destination_true_ns() - before_ns)
    assert new.kvmclock_ns - old.kvmclock_ns in elapsed.widened(PAIR_ERROR_NS)
    lost = gaps.whole_khz_ticks(elapsed.last)
    pair_error = ticks_at_hz(PAIR_ERROR_NS, hosts.source_hz)
    ideal = Window(*(ticks_at_hz(ns, hosts.source_hz) for ns in (elapsed.first, elapsed.last)))
    assert new.tsc - old.tsc in Window(ideal.first - lost, ideal.last).widened(pair_error)


@pytest.mark.parametrize("blackout_ns", BLACKOUTS)
@pytest.mark.parametrize("difference", CLOCK_ERRORS)
def test_wrong_realtime_costs_what_it_is_wrong_by(
    two_hosts: TwoHosts[X86Vm], difference: HostDifference, blackout_ns: int
) -> None:
    """With unsynchronised hosts, a step or a leap second, guest time is off by just that, or stands still.

    A step back longer than the blackout counts as no time at all: kvmclock never goes back.
    """
    hosts = two_hosts(difference)
    guest = new_guest(hosts.source, vcpus=1)
    (old,) = places(guest)
    source = save(guest)
    saved_ns = hosts.source_true_ns()

    moved = restore(source, hosts.arrive(blackout_ns), source.clock.realtime_ns)

    (new,) = places(moved)
    elapsed_ns = hosts.destination_true_ns() - saved_ns
    error_ns = gaps.clamped_ns(
        difference.synchronisation_ns - difference.leap_seconds * NSEC_PER_SEC, elapsed_ns
    )
    running_ns = 200_000  # guest entries and ioctls on both hosts, which take time in any case
    expected = Window(elapsed_ns + error_ns, elapsed_ns + error_ns).widened(running_ns)
    assert new.kvmclock_ns - old.kvmclock_ns in expected


@pytest.mark.parametrize("leap_seconds", [pytest.param(1, id="inserted"), pytest.param(-1, id="deleted")])
def test_leap_second_is_harmless_with_tai(two_hosts: TwoHosts[X86Vm], leap_seconds: int) -> None:
    """With the realtime corrected by TAI - UTC of both hosts, a leap second costs nothing."""
    hosts = two_hosts(HostDifference(counter=5, leap_seconds=leap_seconds))
    guest = new_guest(hosts.source, vcpus=1)
    (old,) = places(guest)
    source = save(guest)
    left = TaiPair(source.clock.realtime_ns, hosts.source_clock.tai_offset_s)
    saved_ns = hosts.source_true_ns()

    arrived = hosts.arrive(600 * NSEC_PER_SEC)
    realtime_ns = kvmclock.realtime_to_give(left, hosts.destination_clock.tai_offset_s)
    (new,) = places(restore(source, arrived, realtime_ns))

    elapsed_ns = hosts.destination_true_ns() - saved_ns
    assert new.kvmclock_ns - old.kvmclock_ns in Window(elapsed_ns, elapsed_ns).widened(200_000)


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_SET_CLOCK")
@pytest.mark.usefixtures("settable_tsc")
@pytest.mark.parametrize("blackout_ns", BLACKOUTS)
def test_pause_leaves_the_blackout_out(two_hosts: TwoHosts[X86Vm], blackout_ns: int) -> None:
    """Without KVM_CLOCK_REALTIME both clocks continue as if no time had passed, still on one line."""
    hosts = two_hosts(HostDifference(counter=5))
    guest = new_guest(hosts.source, vcpus=1)
    (old,) = places(guest)
    source = save(guest)

    (new,) = places(restore(source, hosts.arrive(blackout_ns), None))

    line = old.line(source.tsc_khz)
    margin = ticks_at_khz(LINE_MARGIN_NS, source.tsc_khz) + 1
    assert new.line(source.tsc_khz) in Window(line, line).widened(margin)
    assert new.kvmclock_ns - old.kvmclock_ns in Window(0, 200_000)


@pytest.mark.parametrize(
    "difference",
    [
        pytest.param(HostDifference(rate_ppm=10), id="10-ppm-faster"),
        pytest.param(HostDifference(rate_ppm=-200), id="200-ppm-slower"),
        pytest.param(HostDifference(calibration_ppm=10), id="calibrated-10-ppm-higher"),
        pytest.param(HostDifference(calibration_ppm=-40), id="calibrated-40-ppm-lower"),
    ],
)
def test_other_frequency_parts_tsc_and_kvmclock(
    two_hosts: TwoHosts[X86Vm], difference: HostDifference
) -> None:
    """Without scaling the TSC counts at the new host's rate, and departs from f · kvmclock by just that.

    Both rates are those that each host's kernel assumes for its TSC, in whole kHz.
    """
    hosts = two_hosts(difference)
    guest = new_guest(hosts.source, vcpus=1)
    source = save(guest)
    moved = restore(source, hosts.arrive(4 * NSEC_PER_SEC), source.clock.realtime_ns)
    (start,) = places(moved)

    moved.time.sleep_ns(10 * NSEC_PER_SEC)

    (end,) = places(moved)
    khz = source.tsc_khz
    new_khz = new_vm(hosts.destination).tsc_khz
    parted_ppm = difference.rate_ppm + difference.calibration_ppm
    assert abs(new_khz - khz - khz * parted_ppm // 1_000_000) <= 1
    drift = signed(end.line(khz) - start.line(khz))
    passed_ns = end.kvmclock_ns - start.kvmclock_ns
    gap = gaps.frequency_ticks(passed_ns, khz * 1000, new_khz * 1000)
    assert drift in Window(gap, gap).widened(ticks_at_khz(LINE_MARGIN_NS, khz) + 1)


def test_repeating_the_last_step_changes_nothing(two_hosts: TwoHosts[X86Vm]) -> None:
    """Offsets computed again from a later pair of clocks differ by the pairs' rounding, not by the delay."""
    hosts = two_hosts(HostDifference(counter=5))
    source = save(new_guest(hosts.source))
    moved = restore(source, hosts.arrive(4 * NSEC_PER_SEC), source.clock.realtime_ns)
    first = [vcpu.tsc_offset for vcpu in moved.vcpus]

    moved.time.sleep_ns(NSEC_PER_SEC)
    ByOffset().write(source, moved, moved.vcpus)
    again = [vcpu.tsc_offset for vcpu in moved.vcpus]

    margin = ticks_at_khz(LINE_MARGIN_NS, source.tsc_khz) + 1
    for old_offset, new_offset in zip(first, again, strict=True):
        assert new_offset in Window(old_offset, old_offset).widened(margin)
