# SPDX-License-Identifier: GPL-2.0-only
"""Interfaces that were posted and are in no released kernel, which are probed, and skipped if absent.

Source: mails on kvm@vger.kernel.org, 2021 to 2026; their names and numbers are in
fixtures/uapi/series.py.
"""

from __future__ import annotations

import ctypes
import dataclasses
import errno

import pytest

from fixtures.counters import NSEC_PER_MSEC, NSEC_PER_SEC, Window, signed, wrap
from fixtures.host_pair import HostDifference, TwoHosts
from fixtures.kvm.attribute import Attribute
from fixtures.kvm.errors import KvmError
from fixtures.kvm.expect import refused
from fixtures.kvm.handle import BAD_ADDRESS
from fixtures.kvm.system import Kvm
from fixtures.kvm.values import MASTER_CLOCK
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.migration.x86 import scaled as x86_scaled
from fixtures.migration.x86.tsc import ClockPair
from fixtures.targets import Target
from fixtures.uapi import kvm as uapi
from fixtures.uapi import series
from fixtures.uapi.x86.cpuid import X87_AND_SSE
from kvmtests.x86.clocks import flags_after_entry
from kvmtests.x86.moves import new_vm, save
from kvmtests.x86.processors import components, has_xsave
from kvmtests.x86.proposals import (
    CLOCK_GUEST,
    Guest,
    clock_guest_of,
    distance_ns,
    get_clock_guest,
    require_scale,
    scale_of,
    set_clock_guest,
    set_khz,
)

pytestmark = [pytest.mark.promise(de_facto="the proposals since 2024"), pytest.mark.generation("proposals")]
everywhere = pytest.mark.generation("upstream", "series", "proposals")


YEAR_NS = 365 * 86_400 * NSEC_PER_SEC

GUEST_KHZ = [
    pytest.param(0, id="hosts"),
    pytest.param(1_500_000, id="1.5GHz"),
    pytest.param(2_345_678, id="2.345678GHz"),
    pytest.param(4_000_000, id="4GHz"),
]
"""Frequencies of KVM_SET_TSC_KHZ; 0 is the host's."""


@pytest.fixture
def scale_attribute(vcpu: X86Vcpu) -> Attribute:
    """KVM_VCPU_TSC_SCALE, which exists."""
    return require_scale(vcpu)


@pytest.fixture
def clock_guest(vm: X86Vm, vcpu: X86Vcpu) -> Guest:
    """The numbers of KVM_GET_CLOCK_GUEST and KVM_SET_CLOCK_GUEST here; the guest has registered kvmclock."""
    vcpu.guest.enable_kvmclock()
    vm.set_clock(0)
    vcpu.guest.read_kvmclock()
    return clock_guest_of(vcpu)


@pytest.mark.parametrize("khz", GUEST_KHZ)
def test_scale_is_the_line_of_the_tsc(
    vcpu: X86Vcpu, scale_attribute: Attribute, target: Target, khz: int
) -> None:
    """guest TSC = (host TSC * tsc_ratio >> tsc_frac_bits) + offset, at any frequency and age of the host."""
    set_khz(vcpu, khz)
    vcpu.vm.time.sleep_ns(YEAR_NS if target.simulated else 0)
    vcpu.tsc_offset = 12345

    reading = vcpu.guest.read_tsc()

    scale = scale_of(scale_attribute)
    scaled = Window(scale.scaled(reading.before), scale.scaled(reading.after))
    assert reading.value in scaled.shifted(vcpu.tsc_offset)


@pytest.mark.parametrize("khz", GUEST_KHZ)
def test_scale_is_the_ratio_of_the_frequencies(vcpu: X86Vcpu, scale_attribute: Attribute, khz: int) -> None:
    """tsc_ratio is floor(guest kHz << tsc_frac_bits / host kHz), and 1 at the host's frequency."""
    host_khz = vcpu.tsc_khz
    set_khz(vcpu, khz)

    scale = scale_of(scale_attribute)

    assert scale.ratio == (vcpu.tsc_khz << scale.frac_bits) // host_khz


@everywhere
def test_scale_cannot_be_set(vcpu: X86Vcpu, scale_attribute: Attribute) -> None:
    """KVM_VCPU_TSC_SCALE is read-only: setting it fails, and frequency, scale and offset stay."""
    before = vcpu.tsc_khz, scale_of(scale_attribute), vcpu.tsc_offset

    with pytest.raises(KvmError):
        scale_attribute.set_u64(1)

    assert (vcpu.tsc_khz, scale_of(scale_attribute), vcpu.tsc_offset) == before


def test_scale_needs_memory_to_go_to(scale_attribute: Attribute) -> None:
    """A bad value pointer is refused with EFAULT when the scale is read, and refused when it is set."""
    with refused(errno.EFAULT):
        scale_attribute.get_into(BAD_ADDRESS)
    with pytest.raises(KvmError):
        scale_attribute.set_from(BAD_ADDRESS)


@pytest.mark.usefixtures("tsc_clocksource")
def test_clock_guest_is_the_guests_record(vcpu: X86Vcpu, clock_guest: Guest) -> None:
    """KVM_GET_CLOCK_GUEST returns the line that the guest has in its pvclock record."""
    getter, _ = clock_guest

    vcpu.guest.read_kvmclock()

    clock, record = get_clock_guest(vcpu, getter), vcpu.guest.pvclock()
    assert clock.line == record.line


@pytest.mark.usefixtures("tsc_clocksource")
@pytest.mark.parametrize("khz", GUEST_KHZ)
def test_clock_guest_is_what_the_guest_reads(vcpu: X86Vcpu, clock_guest: Guest, khz: int) -> None:
    """KVM_GET_CLOCK_GUEST evaluated at the guest's TSC is the guest's kvmclock, within 1 ns."""
    getter, _ = clock_guest
    set_khz(vcpu, khz)
    vcpu.vm.set_clock(10**12)

    reading = vcpu.guest.read_kvmclock()

    distance = signed(get_clock_guest(vcpu, getter).kvmclock_ns(reading.tsc) - reading.kvmclock_ns)
    assert abs(distance) <= 1


@pytest.mark.usefixtures("tsc_clocksource")
@pytest.mark.parametrize("kvmclock_ns", [pytest.param(10**12, id="later"), pytest.param(0, id="earlier")])
def test_clock_guest_survives_a_new_snapshot(
    vm: X86Vm, vcpu: X86Vcpu, clock_guest: Guest, kvmclock_ns: int
) -> None:
    """kvmclock saved by KVM_GET_CLOCK_GUEST and set again is the same at any guest TSC, within 1 ns."""
    getter, setter = clock_guest
    saved = get_clock_guest(vcpu, getter)
    vm.set_clock(kvmclock_ns)

    set_clock_guest(vcpu, setter, saved)

    assert abs(distance_ns(vcpu, saved)) <= 1


@pytest.mark.usefixtures("tsc_clocksource")
def test_clock_guest_survives_round_trips(vcpu: X86Vcpu, clock_guest: Guest) -> None:
    """What KVM_GET_CLOCK_GUEST returned can be set at any later time: a round trip costs 1 ns at most."""
    getter, setter = clock_guest
    first = get_clock_guest(vcpu, getter)

    for _ in range(10):
        set_clock_guest(vcpu, setter, get_clock_guest(vcpu, getter))
        vcpu.vm.time.sleep_ns(NSEC_PER_MSEC)

    assert abs(distance_ns(vcpu, first)) <= 10


@pytest.mark.usefixtures("tsc_clocksource")
def test_line_may_be_old(vm: X86Vm, vcpu: X86Vcpu, clock_guest: Guest) -> None:
    """A line that was saved 5 s ago, more than 2**32 ticks, sets kvmclock to what it gives now."""
    getter, setter = clock_guest
    saved = get_clock_guest(vcpu, getter)
    vm.time.sleep_ns(5 * NSEC_PER_SEC)
    vm.set_clock(0)

    set_clock_guest(vcpu, setter, saved)

    assert abs(distance_ns(vcpu, saved)) <= 1


@pytest.mark.usefixtures("tsc_clocksource")
def test_line_of_a_vm_of_another_frequency_is_refused(
    kvm: Kvm[X86Vm], vcpu: X86Vcpu, clock_guest: Guest
) -> None:
    """A VM whose guest has twice the frequency refuses the line of this one with ERANGE; its clock stays."""
    getter, setter = clock_guest
    other = new_vm(kvm)
    other.require(uapi.KVM_CAP_TSC_CONTROL)
    other.tsc_khz *= 2
    faster = other.create_vcpu(0)
    faster.guest.enable_kvmclock()
    other.set_clock(10**15)
    faster.guest.read_kvmclock()

    with refused(errno.ERANGE):
        set_clock_guest(faster, setter, get_clock_guest(vcpu, getter))

    assert other.clock().kvmclock_ns >= 10**15


@pytest.mark.usefixtures("tsc_clocksource")
def test_clock_guest_holds_for_all_vcpus(vcpus: list[X86Vcpu], clock_guest: Guest) -> None:
    """A line over one vCPU's TSC sets the VM's clock: another vCPU reads the same over its own TSC."""
    getter, setter = clock_guest
    first, second = vcpus
    second.tsc_offset = wrap(first.tsc_offset + 10**12)
    second.guest.enable_kvmclock()
    first.vm.set_clock(0)
    saved = get_clock_guest(first, getter)
    first.vm.set_clock(10**15)

    set_clock_guest(first, setter, saved)

    reading = second.guest.read_kvmclock()
    assert abs(signed(saved.kvmclock_ns(reading.tsc - 10**12) - reading.kvmclock_ns)) <= 1


@pytest.mark.usefixtures("tsc_clocksource")
def test_clock_guest_moves_to_another_vm(
    kvm: Kvm[X86Vm], vm: X86Vm, vcpu: X86Vcpu, clock_guest: Guest
) -> None:
    """On one host a new VM needs only offset and line: kvmclock over the guest's TSC is as it was."""
    getter, setter = clock_guest
    vcpu.tsc_offset = wrap(-(10**13))
    vm.set_clock(10**14)
    vcpu.guest.read_kvmclock()
    saved = get_clock_guest(vcpu, getter)
    moved = new_vm(kvm).create_vcpu(0)

    moved.tsc_offset = vcpu.tsc_offset
    moved.vm.set_clock(0)
    set_clock_guest(moved, setter, saved)

    moved.guest.enable_kvmclock()
    assert abs(distance_ns(moved, saved)) <= 1


@pytest.mark.parametrize("khz", [pytest.param(1_500_000, id="1.5GHz"), pytest.param(4_000_000, id="4GHz")])
@pytest.mark.parametrize(
    "difference",
    [
        pytest.param(HostDifference(), id="same-frequency"),
        pytest.param(HostDifference(counter_hz=3_000_000_000, counter=10**15 + 7), id="3GHz-4-days-up"),
        pytest.param(HostDifference(counter_hz=2_000_000_000, counter=5), id="2GHz-just-booted"),
    ],
)
def test_scale_and_clock_guest_move_a_guest(
    two_hosts: TwoHosts[X86Vm], difference: HostDifference, khz: int
) -> None:
    """Between hosts of any frequency the TSC counts the blackout, and kvmclock with it, within 2 ns."""
    hosts = two_hosts(difference)
    guest = new_vm(hosts.source)
    guest.tsc_khz = khz
    leaving = guest.create_vcpu(0)
    leaving.guest.enable_kvmclock()
    leaving.guest.read_kvmclock()
    old = scale_of(require_scale(leaving))
    saved, line = save(guest), get_clock_guest(leaving, series.KVM_GET_CLOCK_GUEST_2026)

    moved = new_vm(hosts.arrive(4 * NSEC_PER_SEC))
    moved.tsc_khz = khz
    arriving = moved.create_vcpu(0)
    moved.set_clock(0)
    there = moved.clock()
    new = scale_of(require_scale(arriving))
    elapsed_ns = signed(there.realtime_ns - saved.clock.realtime_ns)
    pair = ClockPair(there.host_tsc, there.kvmclock_ns, there.realtime_ns)
    (arriving.tsc_offset,) = x86_scaled.offsets(saved, old, pair, new, elapsed_ns)
    set_clock_guest(arriving, series.KVM_SET_CLOCK_GUEST_2026, line)

    arriving.guest.enable_kvmclock()
    assert abs(distance_ns(arriving, line)) <= 2
    reading = arriving.guest.read_kvmclock()
    source_clock_ns = signed(reading.kvmclock_ns - saved.clock.kvmclock_ns)
    assert source_clock_ns in Window(elapsed_ns, elapsed_ns).widened(NSEC_PER_MSEC)


def refuse_line(vcpu: X86Vcpu, clock_guest: Guest, number: int, **wrong: int) -> None:
    """Assert that the line with *wrong* in it is refused with errno *number*, and can be set without."""
    getter, setter = clock_guest
    before = get_clock_guest(vcpu, getter)

    with refused(number):
        set_clock_guest(vcpu, setter, dataclasses.replace(before, system_time_ns=10**15, **wrong))

    assert abs(distance_ns(vcpu, before)) <= 1
    set_clock_guest(vcpu, setter, before)
    assert flags_after_entry(vcpu) == MASTER_CLOCK


@pytest.mark.usefixtures("tsc_clocksource")
def test_line_without_multiplier_is_refused(vcpu: X86Vcpu, clock_guest: Guest) -> None:
    """A line whose multiplier is 0 is refused with EINVAL, the right one is not; the clock stays."""
    refuse_line(vcpu, clock_guest, errno.EINVAL, tsc_to_system_mul=0)


@pytest.mark.usefixtures("tsc_clocksource")
def test_line_of_another_frequency_is_refused(vcpu: X86Vcpu, clock_guest: Guest) -> None:
    """A line of twice the guest's frequency is refused with ERANGE, its own one is not; the clock stays."""
    shift = vcpu.guest.pvclock().tsc_shift
    refuse_line(vcpu, clock_guest, errno.ERANGE, tsc_shift=shift - 1)


@pytest.mark.usefixtures("tsc_clocksource")
def test_line_at_a_bad_address_is_refused(vcpu: X86Vcpu, clock_guest: Guest) -> None:
    """Both calls refuse an address without memory with EFAULT, and the clock stays."""
    getter, setter = clock_guest
    before = get_clock_guest(vcpu, getter)

    for number in (getter, setter):
        with refused(errno.EFAULT):
            vcpu.handle.call(number, BAD_ADDRESS)

    assert abs(distance_ns(vcpu, before)) <= 1


@pytest.mark.usefixtures("tsc_clocksource", "clock_guest")
def test_different_offsets_keep_the_master_clock(vcpus: list[X86Vcpu]) -> None:
    """With these interfaces vCPUs whose TSCs differ by an offset share the master clock."""
    first, second = vcpus
    second.tsc_offset = wrap(first.tsc_offset + 10**12)

    for vcpu in vcpus:
        vcpu.guest.read_tsc()

    assert first.vm.clock().flags == MASTER_CLOCK


@pytest.mark.usefixtures("tsc_clocksource")
def test_no_line_without_the_master_clock(vcpus: list[X86Vcpu], clock_guest: Guest) -> None:
    """Without the master clock, here by different frequencies, kvmclock is not a line over a TSC: EINVAL."""
    getter, setter = clock_guest
    line = get_clock_guest(vcpus[0], getter)
    set_khz(vcpus[1], 1_500_000)
    vcpus[0].vm.set_clock(0)
    assert not vcpus[0].vm.clock().flags

    with refused(errno.EINVAL):
        get_clock_guest(vcpus[0], getter)
    with refused(errno.EINVAL):
        set_clock_guest(vcpus[0], setter, line)

    assert not vcpus[0].vm.clock().flags


def answer_of(vcpu: X86Vcpu, getter: int) -> int:
    """Return 0 where *getter* is KVM_GET_CLOCK_GUEST, else the errno."""
    try:
        get_clock_guest(vcpu, getter)
    except KvmError as error:
        return error.errno
    return 0


@everywhere
@pytest.mark.usefixtures("clock_guest")
def test_only_one_pair_of_numbers_exists(vcpu: X86Vcpu) -> None:
    """A kernel has the getter of one of the two proposals: the setters' numbers differ in meaning."""
    answers = [answer_of(vcpu, getter) for getter in CLOCK_GUEST]

    assert sorted(answers) == [0, errno.EINVAL]


@pytest.mark.promise(de_facto="Linux 6.1 to 7.3")
@pytest.mark.usefixtures("stable_tsc")
@everywhere
@pytest.mark.parametrize(
    ("request_number", "structure"),
    [
        pytest.param(
            series.KVM_GET_SYSTEM_COUNTER_STATE,
            series.kvm_system_counter_state_x86,
            id="get-system-counter-state",
        ),
        pytest.param(
            series.KVM_SET_SYSTEM_COUNTER_STATE,
            series.kvm_system_counter_state_x86,
            id="set-system-counter-state",
        ),
    ],
)
def test_first_version_of_the_series_is_unknown(
    vcpu: X86Vcpu, request_number: int, structure: type[ctypes.Structure]
) -> None:
    """The ioctls of the series' first version, never merged, are refused with EINVAL; the offset stays."""
    before = vcpu.tsc_offset

    with refused(errno.EINVAL):
        vcpu.handle.pass_structure(request_number, structure())

    assert vcpu.tsc_offset == before


@pytest.mark.promise(de_facto="Linux 6.1 to 7.3")
@everywhere
def test_tsc_attribute_is_not_the_system_descriptors(vm: X86Vm) -> None:
    """Group 0, attribute 0 of the system descriptor, if it exists, is the guest's mask of XSAVE components.

    Source: arch/x86/kvm/x86.c: kvm_x86_dev_get_attr(), KVM_X86_XCOMP_GUEST_SUPP.
    """
    mask = components(vm)

    # A host without XSAVE has no components.
    assert mask & X87_AND_SSE == X87_AND_SSE or (mask, has_xsave(vm)) == (0, False)
