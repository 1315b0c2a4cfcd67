# SPDX-License-Identifier: GPL-2.0-only
"""Runs with benchmark series, for tests of tables and plots."""

from __future__ import annotations

from reports.model import ReportFigure, ReportTarget, Result, Run, Sample, SlopeLine, Verdict
from reports.records import FIGURES

NVHE = ReportTarget("sim-arm64-nvhe", "sim", "arm64", "nvhe", "upstream", simulated=True)
HOST = ReportTarget("host", "host", "x86_64")


def series(variant: str, mean: float, deviation: float, p95: float, note: str = "") -> Sample:
    """Return a series of a counter of 500 MHz; figures are given in ns, the mean with an interval of 2 ns."""
    given = {"mean": mean, "sd": deviation, "p95": p95}
    ticks = {name: given.get(name, mean) / 2 for name in FIGURES}
    figures = tuple(
        (name, ReportFigure(value, value - (name == "mean") / 2, value + (name == "mean") / 2))
        for name, value in ticks.items()
    )
    values = (mean - 1, mean, mean + 1)
    return Sample(
        "cntpct-read", variant, "ns", values, note=note, count=10_000, hz=500_000_000, empty_ticks=9,
        figures=figures,
    )  # fmt: skip


def counter_reads() -> tuple[Sample, ...]:
    """Return the series' published table for nVHE."""
    return series("native", 54.2, 123.9, 258), series("trapped", 148.4, 121.6, 348)


def experiment(metric: str = "restored-counter-error") -> tuple[Sample, ...]:
    """Return a counter restored at 0 to 10 ms by value and by offset; one delay took 0.25 ms longer."""
    return tuple(
        Sample(
            metric,
            variant,
            values=tuple(slope * delay + 200 for delay in delays()),
            columns=("method", "asked_ms", "delay_ns", "error_ns"),
            rows=tuple(
                (variant, asked_ms, delay, slope * delay + 200) for asked_ms, delay in enumerate(delays())
            ),
            hz=500_000_000,
            line=SlopeLine(float(slope), 0.0001, 200.0),
        )
        for variant, slope in (("by value", 1), ("by offset", 0))
    )


def delays() -> list[int]:
    """Return what passed, in ns."""
    return [ms * 1_000_000 + (250_000 if ms == 4 else 0) for ms in range(11)]


def run(*found: tuple[ReportTarget, tuple[Sample, ...]]) -> Run:
    """Return a run of one benchmark on each target."""
    results = (
        Result(f"b.py::test_read[{target.name}]", "read", target.name, "b", Verdict.PASS, samples=samples)
        for target, samples in found
    )
    return Run(targets=tuple(dict.fromkeys(target for target, _ in found)), results=tuple(results))
