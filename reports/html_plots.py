# SPDX-License-Identifier: GPL-2.0-only
"""The coordinates of the plots in report.html, in units of their SVG; templates hold the markup."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .model import Sample
from .series import slope
from .stats import quantile

WIDTH, HEIGHT, TOP = 640, 160, 20
BINS = 80
SERIES_COLOURS = 4
"""Classes s0 … s3 of the style sheet; further series use them again."""

WIDE = 30
"""Ratio of greatest to least value from which an axis is logarithmic; a linear one would show two bars."""

SCATTER_HEIGHT = 240
POINTS_DRAWN = 500


@dataclass(frozen=True, slots=True)
class Curve:
    """The outline of one histogram: an SVG path, and the class that colours it."""

    label: str
    colour: str
    path: str
    slope: str = ""


@dataclass(frozen=True, slots=True)
class Tick:
    """A place on an axis, and what stands there."""

    place: float
    text: str


@dataclass(frozen=True, slots=True)
class Distribution:
    """The distributions of all series of a metric over one axis."""

    curves: tuple[Curve, ...]
    ticks: tuple[Tick, ...]
    logarithmic: bool
    tallest: str  # share of the tallest bar


@dataclass(frozen=True, slots=True)
class Cloud:
    """The points of one series, and the line through them."""

    label: str
    colour: str
    slope: str
    points: tuple[tuple[float, float], ...]
    line: tuple[float, float, float, float]  # x1 y1 x2 y2


@dataclass(frozen=True, slots=True)
class Scatter:
    """Error against delay, for each method of restoring."""

    clouds: tuple[Cloud, ...]
    ticks_x: tuple[Tick, ...]  # ms
    ticks_y: tuple[Tick, ...]  # ms


def distribution(samples: Sequence[Sample]) -> Distribution:
    """Return the outlines of all *samples* over one axis that the middle 99.8 % of the values fill."""
    everything = sorted(value for sample in samples for value in sample.values)
    low, high = quantile(everything, 0.001), quantile(everything, 0.999)
    if low == high:
        low, high = low - 0.5, high + 0.5
    logarithmic = low > 0 and high / low > WIDE
    scale: Callable[[float], float] = math.log if logarithmic else float
    first, span = scale(low), scale(high) - scale(low)
    shares = [
        _shares([(scale(max(value, low)) - first) / span for value in sample.values]) for sample in samples
    ]
    tallest = max(max(share) for share in shares)
    curves = tuple(
        Curve(sample.variant or "all", colour(index), _outline(share, tallest))
        for index, (sample, share) in enumerate(zip(samples, shares, strict=True))
    )
    values = _decades(low, high) if logarithmic else _round_values(low, high)
    ticks = tuple(Tick(WIDTH * (scale(value) - first) / span, f"{value:,.6g}") for value in values)
    return Distribution(curves, ticks, logarithmic, f"{100 * tallest:.0f} %")


def scatter(samples: Sequence[Sample]) -> Scatter | None:
    """Return the points of all *samples* and the lines through them; None if there are none."""
    drawn = [sample.points() for sample in samples]
    xs = [x for points in drawn for x, _ in points]
    ys = [0.0, *(y for points in drawn for _, y in points)]
    if not xs:
        return None
    to_x = _fitting(min(0.0, *xs), max(xs), 0, WIDTH)
    to_y = _fitting(min(ys), max(ys), SCATTER_HEIGHT, 0)
    clouds = tuple(
        _cloud(sample, colour(index), points, to_x, to_y)
        for index, (sample, points) in enumerate(zip(samples, drawn, strict=True))
    )
    return Scatter(clouds, _round_ticks(min(0.0, *xs), max(xs), to_x), _round_ticks(min(ys), max(ys), to_y))


def colour(index: int) -> str:
    """Return the class of the series at *index*."""
    return f"s{index % SERIES_COLOURS}"


def number(value: float) -> str:
    """Return *value* for people: about four digits, thousands grouped, never an exponent."""
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"


def _shares(places: Sequence[float]) -> list[float]:
    """Return the share of *places*, 0 to 1, in each bin; what lies outside counts at the ends."""
    heights = [0] * BINS
    for place in places:
        heights[min(BINS - 1, max(0, int(place * BINS)))] += 1
    return [height / len(places) for height in heights]


def _outline(shares: Sequence[float], tallest: float) -> str:
    step = WIDTH / BINS
    points = [f"M0 {HEIGHT}"]
    for place, share in enumerate(shares):
        height = HEIGHT - (HEIGHT - TOP) * share / tallest
        points.append(f"V{height:.1f}H{(place + 1) * step:.1f}")
    return "".join([*points, f"V{HEIGHT}Z"])


def _decades(low: float, high: float) -> list[float]:
    """Return powers of ten from *low* to *high*, and between them where there are few."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    steps = (1, 2, 5) if last - first <= 2 else (1, 3) if last - first <= 4 else (1,)
    values = (step * 10.0**power for power in range(first, last + 1) for step in steps)
    return [value for value in values if low <= value <= high]


def _fitting(low: float, high: float, first: float, last: float) -> Callable[[float], float]:
    """Return what maps *low* … *high* to *first* … *last*."""
    span = (high - low) or 1.0
    return lambda value: round(first + (value - low) / span * (last - first), 1)


def _cloud(
    sample: Sample,
    style: str,
    points: Sequence[tuple[float, float]],
    to_x: Callable[[float], float],
    to_y: Callable[[float], float],
) -> Cloud:
    every = max(1, -(-len(points) // POINTS_DRAWN))
    ends = [x for x, _ in points] or [0.0]
    fitted = sample.line
    line = tuple(
        place
        for x in (min(ends), max(ends))
        for place in (to_x(x), to_y(fitted.intercept + fitted.slope * x if fitted else 0.0))
    )
    shown = dict.fromkeys((to_x(x), to_y(y)) for x, y in points[::every])
    return Cloud(
        sample.variant or "all", style, slope(sample), tuple(shown), (line[0], line[1], line[2], line[3])
    )


def _round_ticks(low_ns: float, high_ns: float, place: Callable[[float], float]) -> tuple[Tick, ...]:
    values_ms = _round_values(low_ns / 1e6, high_ns / 1e6)
    return tuple(Tick(place(value_ms * 1e6), f"{value_ms:g}") for value_ms in values_ms)


def _round_values(low: float, high: float) -> list[float]:
    """Return about five round numbers between *low* and *high*."""
    rough = ((high - low) or 1.0) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= 0.9 * rough)
    return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]
