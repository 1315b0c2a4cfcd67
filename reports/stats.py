# SPDX-License-Identifier: GPL-2.0-only
"""The few statistics that reports show, exact where they can be, without a library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .model import Number


@dataclass(frozen=True, slots=True)
class Summary:
    """What a table says of one series; all but *count* in the unit of the series."""

    count: int
    mean: float
    deviation: float  # of the sample: divisor count - 1; 0 for one value
    minimum: Number
    median: float
    p95: float
    p99: float
    p999: float
    maximum: Number


def summarize(values: Sequence[Number]) -> Summary:
    """Return the summary of *values*; ValueError if there are none."""
    if not values:
        raise ValueError("no values to summarize")
    ordered = sorted(values)
    mean = math.fsum(ordered) / len(ordered)
    square = math.fsum((value - mean) ** 2 for value in ordered)
    return Summary(
        count=len(ordered),
        mean=mean,
        deviation=math.sqrt(square / (len(ordered) - 1)) if len(ordered) > 1 else 0.0,
        minimum=ordered[0],
        median=quantile(ordered, 0.5),
        p95=quantile(ordered, 0.95),
        p99=quantile(ordered, 0.99),
        p999=quantile(ordered, 0.999),
        maximum=ordered[-1],
    )


def quantile(ordered: Sequence[Number], fraction: float) -> float:
    """Return the value below which *fraction* of the sorted *ordered* lies, interpolated."""
    place = (len(ordered) - 1) * fraction
    low = math.floor(place)
    high = math.ceil(place)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


@dataclass(frozen=True, slots=True)
class RankTest:
    """How two series differ: the Mann-Whitney test with ties, and Cliff's delta."""

    p_value: float  # two-sided, normal approximation
    delta: float  # -1 … 1: chance that a new value exceeds an old one, less the reverse


def rank_test(old: Sequence[Number], new: Sequence[Number]) -> RankTest:
    """Return whether *new* tends to other values than *old*, whatever their distribution.

    A p-value of 1 comes back where nothing can be said: a series is empty or all are equal.
    """
    if not old or not new:
        return RankTest(1.0, 0.0)
    joined = sorted([(value, 0) for value in old] + [(value, 1) for value in new])
    total = len(joined)
    rank_sum = 0.0
    ties = 0
    first = 0
    while first < total:
        last = first
        while last < total and joined[last][0] == joined[first][0]:
            last += 1
        rank_sum += (first + 1 + last) / 2 * sum(owner for _, owner in joined[first:last])
        ties += (last - first) ** 3 - (last - first)
        first = last
    pairs = len(old) * len(new)
    wins = rank_sum - len(new) * (len(new) + 1) / 2
    variance = pairs / 12 * (total + 1 - ties / (total * (total - 1)))
    if variance <= 0:
        return RankTest(1.0, 0.0)
    distance = max(0.0, abs(wins - pairs / 2) - 0.5) / math.sqrt(variance)
    return RankTest(math.erfc(distance / math.sqrt(2)), 2 * wins / pairs - 1)


def histogram(values: Sequence[Number], bins: int) -> tuple[float, float, list[int]]:
    """Return (first edge, bin width, counts) over the middle 99.8 % of *values*.

    What lies outside is counted in the outermost bins, so a few far outliers do not press
    everything else into one bar. The width is 0 if all values are equal.
    """
    ordered = sorted(values)
    low, high = quantile(ordered, 0.001), quantile(ordered, 0.999)
    width = (high - low) / bins
    heights = [0] * bins
    for value in ordered:
        place = int((value - low) / width) if width else 0
        heights[min(bins - 1, max(0, place))] += 1
    return low, width, heights
