# SPDX-License-Identifier: GPL-2.0-only
"""Benchmarks for report.html: the classic table for each metric, and its distribution as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .model import Run, Sample
from .stats import Summary, histogram, summarize

WIDTH, HEIGHT, BASE = 640, 160, 20
BINS = 80
SERIES_COLOURS = 4
"""Classes s0 … s3 of the style sheet; further series use them again."""


@dataclass(frozen=True, slots=True)
class Curve:
    """The outline of one histogram: an SVG path, and the class that colours it."""

    label: str
    colour: str
    path: str


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One metric of one test on one target: rows of the table, and the plot."""

    target: str
    test: str
    simulated: bool
    metric: str
    unit: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    curves: tuple[Curve, ...]
    ticks: tuple[tuple[float, str], ...]
    notes: tuple[str, ...]


def benchmarks(run: Run) -> list[Benchmark]:
    """Return a table and plot for each target, test, metric and unit that has samples."""
    simulated = run.simulated
    groups: dict[tuple[str, str, str, str], list[Sample]] = {}
    for result in run.results:
        for sample in result.samples:
            if sample.values:
                test = f"{result.subject} {result.name}"
                groups.setdefault((result.target, test, sample.metric, sample.unit), []).append(sample)
    return [_benchmark(place, samples, simulated=place[0] in simulated) for place, samples in groups.items()]


def _benchmark(place: tuple[str, str, str, str], samples: Sequence[Sample], *, simulated: bool) -> Benchmark:
    target, test, metric, unit = place
    seen = [summarize(sample.values) for sample in samples]
    curves, ticks = _plot(samples)
    return Benchmark(
        target=target,
        test=test,
        simulated=simulated,
        metric=metric,
        unit=unit,
        heads=tuple((sample.variant or "all").capitalize() for sample in samples),
        rows=_rows(seen, [sample.count or len(sample.values) for sample in samples]),
        curves=curves,
        ticks=ticks,
        notes=tuple(dict.fromkeys(sample.note for sample in samples if sample.note)),
    )


def _rows(seen: Sequence[Summary], measured: Sequence[int]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    lines = (
        ("Mean", [one.mean for one in seen]),
        ("Standard deviation", [one.deviation for one in seen]),
        ("Median", [one.median for one in seen]),
        ("95th percentile", [one.p95 for one in seen]),
        ("99th percentile", [one.p99 for one in seen]),
        ("99.9th percentile", [one.p999 for one in seen]),
        ("Minimum", [one.minimum for one in seen]),
        ("Maximum", [one.maximum for one in seen]),
    )
    counted = ("Samples", tuple(f"{count:,}" for count in measured))
    return (*((name, tuple(figure(value) for value in values)) for name, values in lines), counted)


def figure(value: float) -> str:
    """Return *value* for people: about four digits, thousands grouped, never an exponent."""
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"


def _plot(samples: Sequence[Sample]) -> tuple[tuple[Curve, ...], tuple[tuple[float, str], ...]]:
    """Return the outlines of all *samples* over one axis, and the axis' ticks."""
    everything = [value for sample in samples for value in sample.values]
    low, width, _ = histogram(everything, BINS)
    width = width or 1.0
    shares = [_shares(sample.values, low, width) for sample in samples]
    tallest = max(max(share) for share in shares)
    curves = tuple(
        Curve(sample.variant or "all", f"s{index % SERIES_COLOURS}", _path(share, tallest))
        for index, (sample, share) in enumerate(zip(samples, shares, strict=True))
    )
    ticks = tuple((WIDTH * part / 4, figure(low + width * BINS * part / 4)) for part in range(5))
    return curves, ticks


def _shares(values: Sequence[float], low: float, width: float) -> list[float]:
    heights = [0] * BINS
    for value in values:
        heights[min(BINS - 1, max(0, int((value - low) / width)))] += 1
    return [height / len(values) for height in heights]


def _path(shares: Sequence[float], tallest: float) -> str:
    step = WIDTH / BINS
    points = [f"M0 {HEIGHT}"]
    for place, share in enumerate(shares):
        top = HEIGHT - (HEIGHT - BASE) * share / tallest
        points.append(f"V{top:.1f}H{(place + 1) * step:.1f}")
    return "".join([*points, f"V{HEIGHT}Z"])
