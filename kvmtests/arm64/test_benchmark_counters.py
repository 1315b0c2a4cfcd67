# SPDX-License-Identifier: GPL-2.0-only
"""Measures what reading the physical counter costs an arm64 guest, without an offset and with one.

This is the series' counter_emulation_benchmark: ISB, CNTVCT, ISB, CNTPCT, ISB, CNTVCT, ISB, with a
physical offset of 0 and of 1. It fails if a counter goes back.
"""

from __future__ import annotations

import pytest

from fixtures.benchmark.recorder import BenchmarkRecorder
from fixtures.benchmark.series import Series
from fixtures.kvm.arm64.vcpu import Arm64Vcpu
from fixtures.targets import Probe
from fixtures.uapi import kvm as uapi

pytestmark = [
    pytest.mark.promise(architectural="Arm ARM, The Generic Timer in AArch64 state: the system counter"),
    pytest.mark.benchmark,
    pytest.mark.timeout(600),
]

COLUMNS = ("trapped", "freq_mhz", "cntvct_start", "cntpct", "cntvct_end")


@pytest.mark.glance
def test_physical_counter_read(
    benchmark_vcpu: Arm64Vcpu, recorder: BenchmarkRecorder, target_facts: Probe
) -> None:
    """CNTPCT_EL0 between two CNTVCT_EL0, offset 0 (native) and offset 1 (trapped): time never goes back."""
    guest = benchmark_vcpu.guest
    hz = guest.read_cntfrq()
    empty = Series("empty", hz)
    for first, middle, _ in recorder.triples(guest, "cntvct_triples"):
        empty.add(first, middle)
    native, trapped = Series("native", hz), Series("trapped", hz)
    raw = recorder.raw("cntpct-read", COLUMNS)
    for series, offset in ((native, 0), (trapped, 1)):
        set_physical_offset(benchmark_vcpu, offset)
        for first, middle, last in recorder.triples(guest, "cntpct_triples"):
            series.add(first, last)
            raw.add(series.variant, (offset, hz / 1e6), first, middle, last)

    note = "" if traps(target_facts) else "an offset needs no trap in this mode"
    recorder.record("cntpct-read", [native, trapped], empty, raw, note)

    assert [len(series) for series in (native, trapped)] == [recorder.plan.iterations] * 2
    assert [series.went_back() for series in (native, trapped, empty)] == [0, 0, 0]


def set_physical_offset(vcpu: Arm64Vcpu, offset: int) -> None:
    """Offset CNTPCT_EL0 by whichever interface this kernel has; `CapabilityMissing` without one."""
    if vcpu.vm.check_extension(uapi.KVM_CAP_COUNTER_OFFSET):
        vcpu.vm.set_counter_offset(offset)
    else:
        vcpu.require_series_offsets()
        vcpu.physical_offset = offset


def traps(target_facts: Probe) -> bool:
    """Return whether a physical offset makes CNTPCT_EL0 trap, as far as the target's facts show.

    On Linux 6.12 it does not with CNTPOFF_EL2 under VHE, nor in protected mode, which ignores it.
    """
    facts = target_facts.facts
    return facts.get("mode") != "protected" and not (facts.get("mode") == "vhe" and facts.get("cntpoff"))
