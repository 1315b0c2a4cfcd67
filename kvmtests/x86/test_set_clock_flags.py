# SPDX-License-Identifier: GPL-2.0-only
"""KVM_SET_CLOCK with every combination of its flags, and every field filled: only REALTIME counts."""

from __future__ import annotations

import errno
import itertools

import pytest

from fixtures.counters import NSEC_PER_SEC, Window
from fixtures.kvm.expect import refused
from fixtures.kvm.spans import spanned
from fixtures.kvm.values import ClockFlags
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.uapi import kvm as uapi
from kvmtests.x86.clocks import MARGIN_NS, enter_all

pytestmark = [
    pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_SET_CLOCK: flags"),
    pytest.mark.thorough,
]

KNOWN = [
    sum(flags)
    for count in range(4)
    for flags in itertools.combinations(
        (uapi.KVM_CLOCK_TSC_STABLE, uapi.KVM_CLOCK_REALTIME, uapi.KVM_CLOCK_HOST_TSC), count
    )
]
FLAGS = [pytest.param(flags, id=f"{flags:#x}") for flags in KNOWN]
UNKNOWN = [pytest.param(1 << bit, id=f"bit-{bit}") for bit in (0, 4, 16, 31)]
AGES = [
    pytest.param(10 * NSEC_PER_SEC, id="10s"),
    pytest.param(3 * 3600 * NSEC_PER_SEC, id="3h"),
    pytest.param(400 * 86_400 * NSEC_PER_SEC, id="400d"),
]
CLOCK_NS = 1000 * NSEC_PER_SEC


@pytest.mark.parametrize("flags", FLAGS)
@pytest.mark.parametrize("age_ns", AGES)
@pytest.mark.parametrize("parted", [pytest.param(0, id="together"), pytest.param(10**12, id="parted")])
def test_realtime_counts_with_its_flag_alone(
    vm: X86Vm, vcpus: list[X86Vcpu], parted: int, age_ns: int, flags: int
) -> None:
    """The clock is what was given, plus the time since realtime iff KVM_CLOCK_REALTIME is set."""
    vm.require_realtime()
    vcpus[1].tsc_offset = vcpus[1].tsc_offset + parted
    enter_all(vcpus)
    host_tsc = vm.time.counter() - 10 * vcpus[0].tsc_khz * 1000
    realtime_ns = vm.time.realtime_ns() - age_ns

    set_span, _ = spanned(
        vm.time,
        lambda: vm.set_clock(CLOCK_NS, flags=flags, host_tsc=host_tsc, realtime_field_ns=realtime_ns),
    )
    read_span, clock = spanned(vm.time, vm.clock)

    counted = set_span.since_realtime(realtime_ns) if flags & uapi.KVM_CLOCK_REALTIME else Window(0, 0)
    expected = set_span.until(read_span).plus(counted).shifted(CLOCK_NS).widened(MARGIN_NS)
    assert clock.kvmclock_ns in expected


@pytest.mark.parametrize("known", FLAGS)
@pytest.mark.parametrize("unknown", UNKNOWN)
def test_unknown_flag_is_refused_next_to_any(vm: X86Vm, known: int, unknown: int) -> None:
    """An unknown flag gives EINVAL next to any of the known ones, and the clock continues."""
    first_span, first = spanned(vm.time, vm.clock)

    with refused(errno.EINVAL):
        vm.set_clock(CLOCK_NS, flags=known | unknown, realtime_field_ns=1)

    last_span, last = spanned(vm.time, vm.clock)
    assert last.kvmclock_ns - first.kvmclock_ns in first_span.until(last_span).widened(MARGIN_NS)


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
@pytest.mark.usefixtures("tsc_clocksource", "stable_tsc")
@pytest.mark.parametrize("parted", [pytest.param(0, id="together"), pytest.param(10**12, id="parted")])
def test_fields_without_flags_are_zero(vm: X86Vm, vcpus: list[X86Vcpu], parted: int) -> None:
    """KVM_GET_CLOCK, with the master clock or without: padding is 0, and so are fields without their flag."""
    vcpus[1].tsc_offset = vcpus[1].tsc_offset + parted
    enter_all(vcpus)

    clock, padding = vm.clock(), vm.clock_padding()

    assert set(padding) == {0}
    assert bool(clock.host_tsc) == bool(clock.flags & ClockFlags.HOST_TSC)
    assert bool(clock.realtime_ns) == bool(clock.flags & ClockFlags.REALTIME)
