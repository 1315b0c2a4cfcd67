# SPDX-License-Identifier: GPL-2.0-only
"""Readings of x86 guest clocks, and judgements of them, that several subjects share."""

from __future__ import annotations

from collections.abc import Iterable

from fixtures.counters import OutsideWindow, Window, bracket
from fixtures.kvm.spans import Span, spanned
from fixtures.kvm.values import ClockFlags, Reading
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.migration.x86.scaled import FRACTION_BITS
from fixtures.uapi.x86 import msr_index

TSC_CLOCKSOURCES = frozenset(("tsc", "hyperv_clocksource_tsc_page"))
"""Clocksources of a host that are computed from its TSC: KVM's master clock needs one."""

MARGIN_NS = 1_000
"""How far outside of its window a kvmclock may lie, in ns.

Inside one call KVM samples kvmclock and CLOCK_REALTIME one after the other, and a new snapshot
moves kvmclock by what the TSC and CLOCK_MONOTONIC_RAW have drifted apart since the last one.
Over the time that a claim takes both together stay below a microsecond.
"""


def ticks_between(earlier: Window, later: Window) -> Window:
    """Return how many ticks can lie between an instant in *earlier* and one in *later*."""
    return Window(later.first - earlier.last, later.last - earlier.first)


def continued(value: int, since: Window, now: Window) -> Window:
    """Return what a TSC that was *value* in *since* reads in *now*, both in host ticks, unscaled."""
    return ticks_between(since, now).shifted(value)


def host_reading(vcpu: X86Vcpu) -> Reading:
    """Return IA32_TSC by KVM_GET_MSRS, between two readings of the host's TSC."""
    return Reading(*bracket(vcpu.vm.time.counter, lambda: vcpu.get_msr(msr_index.MSR_IA32_TSC)))


def check_tsc_continues(vcpu: X86Vcpu, value: int, since: Window) -> None:
    """Fail unless guest and host read a TSC that was *value* in *since* and has continued unscaled."""
    for reader, reading in {"guest": vcpu.guest.read_tsc(), "host": host_reading(vcpu)}.items():
        expected = continued(value, since, reading.window)
        if reading.value not in expected:
            raise OutsideWindow(f"the TSC that the {reader} reads", reading.value, expected)


def epoch_window(vm: X86Vm, written: Span) -> Window:
    """Return what CLOCK_REALTIME was when kvmclock was 0, as a wall clock *written* then may say.

    Computed from KVM_GET_CLOCK and the host's clocks now. Without the master clock, and before Linux
    v6.7 always, KVM reads CLOCK_REALTIME and kvmclock one after the other: the difference may be off
    by as long as the write took.
    """
    span, clock = spanned(vm.time, vm.clock)
    return span.realtime_ns.shifted(-clock.kvmclock_ns).widened(written.raw_ns.width + MARGIN_NS)


def enter_all(vcpus: Iterable[X86Vcpu]) -> None:
    """Let every vCPU enter its guest once, which serves its pending requests."""
    for vcpu in vcpus:
        vcpu.guest.read_tsc()


def flags_after_entry(*vcpus: X86Vcpu) -> ClockFlags:
    """Return KVM_GET_CLOCK's flags after each of *vcpus*, of one VM, has entered its guest."""
    enter_all(vcpus)
    return vcpus[0].vm.clock().flags


def fraction_bits(vcpu: X86Vcpu) -> int:
    """Return how many fraction bits the processor's TSC multiplier has."""
    _, ebx, ecx, edx = vcpu.guest.cpuid(0)
    return FRACTION_BITS[b"".join(word.to_bytes(4, "little") for word in (ebx, edx, ecx))]
