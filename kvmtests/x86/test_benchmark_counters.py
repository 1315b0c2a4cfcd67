# SPDX-License-Identifier: GPL-2.0-only
"""Measures what reading counters costs an x86 guest: natively, and where KVM has to answer.

This is the x86 counterpart of the series' counter_emulation_benchmark. It fails if a counter goes back.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from fixtures.benchmark.recorder import BenchmarkRecorder
from fixtures.benchmark.series import Series
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.uapi.x86.msr_index import MSR_IA32_TSC

pytestmark = [
    pytest.mark.promise(architectural="Intel SDM 3B, Time-Stamp Counter"),
    pytest.mark.benchmark,
    pytest.mark.timeout(600),
]

COLUMNS = ("trapped", "freq_mhz", "tsc_start", "tsc", "tsc_end")


@pytest.mark.glance
def test_tsc_read_by_instruction_and_by_exit(benchmark_vcpu: X86Vcpu, recorder: BenchmarkRecorder) -> None:
    """RDTSC between two RDTSC (native), RDMSR of IA32_TSC between two (trapped): time never goes back."""
    guest = benchmark_vcpu.guest
    hz = benchmark_vcpu.tsc_khz * 1000
    native, trapped, empty = (Series(name, hz) for name in ("native", "trapped", "empty"))
    raw = recorder.raw("tsc-read", COLUMNS)
    for first, middle, last in recorder.triples(guest, "tsc_triples"):
        native.add(first, last)
        empty.add(first, middle)
        raw.add("native", (0, hz / 1e6), first, middle, last)
    for first, middle, last in recorder.triples(guest, "rdmsr_triples", [MSR_IA32_TSC]):
        trapped.add(first, last)
        raw.add("trapped", (1, hz / 1e6), first, middle, last)

    recorder.record("tsc-read", [native, trapped], empty, raw)

    assert [len(series) for series in (native, trapped)] == [recorder.plan.iterations] * 2
    assert [series.went_back() for series in (native, trapped, empty)] == [0, 0, 0]


@pytest.mark.promise(documented="Documentation/virt/kvm/x86/msr.rst, MSR_KVM_SYSTEM_TIME_NEW: flags, bit 0")
@pytest.mark.usefixtures("tsc_clocksource")
def test_kvmclock_read(benchmark_vcpu: X86Vcpu, recorder: BenchmarkRecorder) -> None:
    """kvmclock read from its record in a loop, against RDTSC in a loop: neither goes back."""
    guest = benchmark_vcpu.guest
    guest.enable_kvmclock()
    hz = benchmark_vcpu.tsc_khz * 1000
    tsc, page = (Series(name, hz) for name in ("rdtsc", "kvmclock page"))

    for stamps in recorder.counts(guest, "tsc_samples", width=1, place=0):
        _add_steps(tsc, stamps)
    for stamps in recorder.counts(guest, "pvclock_samples", width=2, place=1):
        _add_steps(page, stamps)

    recorder.record("time-read", [tsc, page], tsc, note="empty: the loop with RDTSC alone")
    assert [series.went_back() for series in (tsc, page)] == [0, 0]


def _add_steps(series: Series, stamps: Sequence[int]) -> None:
    # The last chunk may hold one stamp, from which there is no step.
    series.add(stamps[:-1], stamps[1:])
