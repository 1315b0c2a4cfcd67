# SPDX-License-Identifier: GPL-2.0-only
"""The benchmark series of a run, put together as tables show them: one group a metric and target."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .model import ReportFigure, ReportTarget, Run, Sample
from .stats import summarize

ASKED = "asked_ms"
"""Column of an experiment's rows: the delay that was requested."""

MODES = {"nvhe": "nVHE", "vhe": "VHE", "protected": "protected"}

CLASSIC = {"Average": "mean", "Standard Deviation": "sd", "95th Percentile": "p95"}
"""Rows of the table in the series' cover letters."""

EVERY = {
    "Average": "mean",
    "Standard Deviation": "sd",
    "50th Percentile": "p50",
    "95th Percentile": "p95",
    "99th Percentile": "p99",
    "99.9th Percentile": "p99.9",
    "Minimum": "min",
    "Maximum": "max",
}
"""Rows of the table with everything."""


@dataclass(frozen=True, slots=True)
class Group:
    """The series of one metric that one test took on one target."""

    target: ReportTarget
    test: str  # subject and name
    metric: str
    unit: str
    samples: tuple[Sample, ...]

    @property
    def mode(self) -> str:
        """The hypervisor's mode as the cover letters write it, or nothing."""
        return MODES.get(self.target.mode, "")

    @property
    def title(self) -> str:
        """What a table of this group is headed by: "VHE, sim-arm64-vhe (simulated): cntpct-read"."""
        return f"{', '.join(filter(None, (self.mode, self.target.title)))}: {self.metric}"

    @property
    def is_experiment(self) -> bool:
        """Whether the series are points with lines through them."""
        return any(sample.line is not None for sample in self.samples)


def groups(run: Run) -> list[Group]:
    """Return what *run* measured, in the order of its results; series without values are left out."""
    targets = {target.name: target for target in run.targets}
    found: dict[tuple[str, str, str, str], list[Sample]] = {}
    for result in run.results:
        for sample in result.samples:
            if sample.values:
                test = f"{result.subject} {result.name}"
                found.setdefault((result.target, test, sample.metric, sample.unit), []).append(sample)
    return [
        Group(targets[target], test, metric, unit, tuple(samples))
        for (target, test, metric, unit), samples in found.items()
    ]


def figures(sample: Sample) -> dict[str, ReportFigure]:
    """Return the figures of *sample* in its unit, of all that was measured where the benchmark summed it up.

    A series that came without figures has those of its values, and no intervals.
    """
    if sample.figures and sample.hz and sample.unit == "ns":
        return {
            name: ReportFigure(ns(sample, one.value), ns(sample, one.low), ns(sample, one.high))
            for name, one in sample.figures
        }
    seen = summarize(sample.values)
    values = (seen.mean, seen.deviation, seen.median, seen.p95, seen.p99, seen.p999)
    return {
        name: ReportFigure(value, value, value)
        for name, value in zip(EVERY.values(), (*values, seen.minimum, seen.maximum), strict=True)
    }


def ns(sample: Sample, ticks: float) -> float:
    """Return *ticks* of the counter of *sample* in ns."""
    return ticks * 1e9 / sample.hz


def resolution(samples: Sequence[Sample]) -> str:
    """Return how fine the counter is, in words; empty where no series has its frequency."""
    seen = {f"{one.hz / 1e6:g} MHz, one tick is {ns(one, 1):.4g} ns": None for one in samples if one.hz}
    return f"counter: {'; '.join(seen)}" if seen else ""


def alone(samples: Sequence[Sample]) -> str:
    """Return what the operation alone costs, in words: its median less that of an empty interval."""
    costs = [_alone(one) for one in samples if one.empty_ticks is not None and one.figures and one.hz]
    if not costs:
        return ""
    empty = " / ".join(dict.fromkeys(f"{empty_ns:,.1f} ns" for _, empty_ns, _ in costs))
    parts = ", ".join(f"{name} {cost_ns:,.1f} ns" for name, _, cost_ns in costs)
    return f"alone, an empty interval's median of {empty} subtracted from the median: {parts}"


def _alone(sample: Sample) -> tuple[str, float, float]:
    empty_ns = ns(sample, sample.empty_ticks or 0)
    return sample.variant or "all", empty_ns, figures(sample)["p50"].value - empty_ns


def slope(sample: Sample) -> str:
    """Return the slope of the line of *sample* with its 95 % interval."""
    return f"{sample.line.slope:.4f} ± {sample.line.half_width:.4f}" if sample.line else ""


def mean_errors(samples: Sequence[Sample]) -> Iterator[tuple[int, list[float | None]]]:
    """Yield each delay in ms that has points, with the mean error in µs for each of *samples*."""
    by_delay = [_by_delay(sample) for sample in samples]
    for delay_ms in sorted({delay for found in by_delay for delay in found}):
        cells = (found.get(delay_ms) for found in by_delay)
        yield delay_ms, [sum(cell) / len(cell) / 1e3 if cell else None for cell in cells]


def _by_delay(sample: Sample) -> dict[int, list[float]]:
    """Return the errors at each delay: the one requested where the rows have it, else the one that passed."""
    requested = sample.columns.index(ASKED) if ASKED in sample.columns else None
    found: dict[int, list[float]] = {}
    for row in sample.rows:
        delay_ms = row[-2] if requested is None else row[requested]
        if sample.line is not None and not isinstance(delay_ms, str) and not isinstance(row[-1], str):
            found.setdefault(round(delay_ms / 1e6 if requested is None else delay_ms), []).append(row[-1])
    return found
