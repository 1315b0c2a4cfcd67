# SPDX-License-Identifier: GPL-2.0-only
"""Benchmarks for report.html: the classic table for each metric with its intervals, and a plot."""

from __future__ import annotations

from dataclasses import dataclass

from .html_plots import Distribution, Scatter, distribution, number, scatter
from .model import Run, Sample
from .series import EVERY, Group, alone, figures, groups, mean_errors, resolution, slope


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure with its unit, and its interval of confidence where it has one."""

    value: str
    interval: str = ""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One metric of one test on one target: rows of the table, and the plot."""

    group: Group
    heads: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    notes: tuple[str, ...]
    distribution: Distribution | None = None
    scatter: Scatter | None = None

    @property
    def has_intervals(self) -> bool:
        """Whether any figure has an interval."""
        return any(cell.interval for _, cells in self.rows for cell in cells)


def benchmarks(run: Run) -> list[Benchmark]:
    """Return a table and plot for each target, test, metric and unit that has samples."""
    return [_experiment(group) if group.is_experiment else _measured(group) for group in groups(run)]


def _measured(group: Group) -> Benchmark:
    columns = [figures(sample) for sample in group.samples]
    rows = []
    for name, key in EVERY.items():
        cells = (
            _cell(column[key].value, column[key].low, column[key].high, group.unit) for column in columns
        )
        rows.append((name, tuple(cells)))
    rows.append(("Samples", tuple(Cell(f"{sample.measured:,}") for sample in group.samples)))
    said = (resolution(group.samples), alone(group.samples), *(sample.note for sample in group.samples))
    return Benchmark(
        group=group,
        heads=("Metric", *(_head(sample) for sample in group.samples)),
        rows=tuple(rows),
        notes=tuple(dict.fromkeys(filter(None, said))),
        distribution=distribution(group.samples),
    )


def _experiment(group: Group) -> Benchmark:
    rows: list[tuple[str, tuple[Cell, ...]]] = [
        (f"{delay_ms} ms", tuple(Cell("" if us is None else f"{us:,.2f} µs") for us in means_us))
        for delay_ms, means_us in mean_errors(group.samples)
    ]
    rows.append(("Slope, with its 95 % interval", tuple(Cell(slope(sample)) for sample in group.samples)))
    rows.append(("Points", tuple(Cell(f"{sample.measured:,}") for sample in group.samples)))
    said = (resolution(group.samples), *(sample.note for sample in group.samples))
    return Benchmark(
        group=group,
        heads=("Injected delay", *(_head(sample) for sample in group.samples)),
        rows=tuple(rows),
        notes=tuple(dict.fromkeys(filter(None, said))),
        scatter=scatter(group.samples),
    )


def _cell(value: float, low: float, high: float, unit: str) -> Cell:
    seen = number(value)
    ends = number(low), number(high)
    return Cell(f"{seen} {unit}", "" if ends == (seen, seen) else f"[{', '.join(ends)}]")


def _head(sample: Sample) -> str:
    return (sample.variant or "all").capitalize()
