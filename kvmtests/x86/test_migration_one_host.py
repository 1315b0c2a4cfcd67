# SPDX-License-Identifier: GPL-2.0-only
"""A guest handed to another VM of the same host, by the documented algorithm and by live update."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fixtures.counters import NSEC_PER_MSEC, Window, signed
from fixtures.kvm.system import Kvm
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.migration.ticks import ticks_at_khz
from fixtures.migration.x86 import tsc
from fixtures.migration.x86.procedure import Scaled
from fixtures.migration.x86.scaled import Scaling
from fixtures.uapi import kvm as uapi
from fixtures.uapi.x86.msr_index import MSR_IA32_TSC_ADJUST
from kvmtests.x86.clocks import fraction_bits
from kvmtests.x86.moves import (
    HostPlace,
    new_guest,
    new_vm,
    places,
    require_offsets,
    restore,
    resume,
    save,
)

pytestmark = [
    pytest.mark.promise(
        documented="Documentation/virt/kvm/devices/vcpu.rst, KVM_VCPU_TSC_OFFSET: the algorithm for migration"
    ),
    pytest.mark.thorough,
    pytest.mark.usefixtures("tsc_clocksource"),
]


# kvmclock is rounded on either side, and CLOCK_MONOTONIC_RAW and the TSC drift apart between
# two snapshots of the master clock by about 1 ppm of the few ms that a test lasts.
LINE_MARGIN_NS = 40

# Of the host's frequency, in parts per thousand.
SCALED = [
    pytest.param(500, id="half"),
    pytest.param(999, id="a-thousandth-less"),
    pytest.param(1234, id="a-quarter-more"),
    pytest.param(3000, id="three-times"),
]


@pytest.fixture(autouse=True)
def offsets(vcpu: X86Vcpu) -> None:
    """KVM takes TSC offsets and keeps them."""
    vcpu.vm.require_realtime()
    require_offsets(vcpu)


@pytest.mark.parametrize(
    "blackout_ns", [pytest.param(0, id="at-once"), pytest.param(20 * NSEC_PER_MSEC, id="20ms")]
)
def test_tsc_and_kvmclock_move_together(kvm: Kvm[X86Vm], blackout_ns: int) -> None:
    """Guest TSC - f · kvmclock is the same in the new VM, on every vCPU."""
    guest = new_guest(kvm, uptime_ns=NSEC_PER_MSEC)
    before = places(guest)
    source = save(guest)
    guest.time.sleep_ns(blackout_ns)

    moved = restore(source, kvm, source.clock.realtime_ns)

    margin = ticks_at_khz(LINE_MARGIN_NS, source.tsc_khz)
    for old, new in zip(before, places(moved), strict=True):
        line = old.line(source.tsc_khz)
        assert new.line(source.tsc_khz) in Window(line, line).widened(margin)


@pytest.mark.promise(de_facto="Linux 6.1 to 7.3")
@pytest.mark.parametrize(
    "blackout_ns", [pytest.param(0, id="at-once"), pytest.param(20 * NSEC_PER_MSEC, id="20ms")]
)
@pytest.mark.parametrize("permille", SCALED)
def test_scaled_guest_keeps_its_line(kvm: Kvm[X86Vm], permille: int, blackout_ns: int) -> None:
    """A guest with a frequency of its own continues in the new VM, by the scaled arithmetic, on its line."""
    guest = scaled_guest(kvm, permille)
    [before] = places(guest)
    source = save(guest)
    guest.time.sleep_ns(blackout_ns)

    moved = new_vm(kvm)
    move = procedure(guest.vcpus[0], moved.tsc_khz, source.tsc_khz)
    move.restore(source, moved, source.clock.realtime_ns)
    resume(moved)

    [after] = places(moved)
    assert moved.vcpus[0].tsc_khz == source.tsc_khz
    check_line(before, after, source.tsc_khz)


@pytest.mark.promise(de_facto="Linux 6.1 to 7.3")
@pytest.mark.parametrize("permille", SCALED)
def test_scaled_guest_keeps_its_line_by_its_vcpus_frequency(kvm: Kvm[X86Vm], permille: int) -> None:
    """A VM of the host's frequency, whose vCPU gets the guest's before its offset, continues on its line."""
    guest = scaled_guest(kvm, permille)
    [before] = places(guest)
    source = save(guest)

    moved = new_vm(kvm)
    move = procedure(guest.vcpus[0], moved.tsc_khz, source.tsc_khz)
    vcpu = moved.create_vcpu(0)
    vcpu.tsc_khz = source.tsc_khz
    moved.set_clock(source.clock.kvmclock_ns, realtime_ns=source.clock.realtime_ns)
    move.write(source, moved, [vcpu])
    resume(moved)

    [after] = places(moved)
    check_line(before, after, source.tsc_khz)


@pytest.mark.promise(de_facto="Linux 6.1 to 7.3")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(500, 1234, id="faster"),
        pytest.param(3000, 999, id="slower"),
        pytest.param(1234, 1000, id="to-the-hosts"),
        pytest.param(1000, 500, id="from-the-hosts"),
    ],
)
def test_guest_continues_at_another_frequency(kvm: Kvm[X86Vm], old: int, new: int) -> None:
    """Restored at another frequency, a guest counts at that one from where it stood, next to its kvmclock."""
    guest = scaled_guest(kvm, old)
    source = save(guest)
    [offset] = source.tsc_offsets
    moved = new_vm(kvm)
    khz = moved.tsc_khz * new // 1000
    move = procedure(guest.vcpus[0], moved.tsc_khz, khz)
    stood = move.old.scaled(source.clock.host_tsc) + offset

    move.restore(replace(source, tsc_khz=khz), moved, source.clock.realtime_ns)
    resume(moved)

    [after] = places(moved)
    assert moved.vcpus[0].tsc_khz == khz
    check_line(HostPlace(stood, source.clock.kvmclock_ns), after, khz)


def procedure(source: X86Vcpu, host_khz: int, khz: int) -> Scaled:
    """Return how the guest of *source* moves to *khz*, on one host of *host_khz*."""
    old_khz, bits = source.tsc_khz, fraction_bits(source)
    return Scaled(Scaling.estimated(old_khz, host_khz, bits), Scaling.estimated(khz, host_khz, bits))


def check_line(before: HostPlace, after: HostPlace, khz: int) -> None:
    """Fail unless a guest of *khz* is on the line that it was on *before*.

    The record counts in whole kHz of what the multiplier gives, which may be one less than requested:
    1/kHz of the time since the last snapshot.
    """
    line = before.line(khz)
    margin_ns = LINE_MARGIN_NS + 2 * after.kvmclock_ns // khz
    assert after.line(khz) in Window(line, line).widened(ticks_at_khz(margin_ns, khz) + 1)


def scaled_guest(kvm: Kvm[X86Vm], permille: int) -> X86Vm:
    """Return a guest at *permille* of the host's frequency; `CapabilityMissing` without scaling."""
    guest = new_vm(kvm)
    guest.require(uapi.KVM_CAP_TSC_CONTROL)
    guest.tsc_khz = guest.tsc_khz * permille // 1000
    guest.create_vcpu(0)
    resume(guest)
    guest.time.sleep_ns(NSEC_PER_MSEC)
    return guest


def test_vcpus_keep_their_distance(kvm: Kvm[X86Vm]) -> None:
    """The skew that a guest gave one vCPU through its TSC survives, to the tick."""
    guest = new_guest(kvm, uptime_ns=NSEC_PER_MSEC)
    guest.vcpus[1].guest.wrmsr(MSR_IA32_TSC_ADJUST, 2**64 - 12345)
    source = save(guest)

    moved = restore(source, kvm, source.clock.realtime_ns)

    first, second = (vcpu.tsc_offset for vcpu in moved.vcpus)
    assert signed(second - first) == -12345
    assert moved.vcpus[1].get_msr(MSR_IA32_TSC_ADJUST) == 2**64 - 12345


@pytest.mark.parametrize(
    "delay_ns", [pytest.param(0, id="at-once"), pytest.param(20 * NSEC_PER_MSEC, id="20ms")]
)
def test_live_update_keeps_the_tsc_to_the_tick(kvm: Kvm[X86Vm], delay_ns: int) -> None:
    """With the offsets carried over unchanged each guest's TSC stays on its line, whatever the delay."""
    source = save(new_guest(kvm, uptime_ns=NSEC_PER_MSEC))
    successor = new_vm(kvm)
    vcpus = [successor.create_vcpu(number) for number in range(2)]
    successor.time.sleep_ns(delay_ns)

    for vcpu, offset in zip(vcpus, tsc.live_update_offsets(source), strict=True):
        vcpu.tsc_offset = offset

    for vcpu, offset in zip(vcpus, source.tsc_offsets, strict=True):
        reading = vcpu.guest.read_tsc()
        assert vcpu.tsc_offset == offset
        assert reading.value in reading.window.shifted(offset)
