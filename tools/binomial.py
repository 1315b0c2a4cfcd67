# SPDX-License-Identifier: GPL-2.0-only
"""How often something happens at most, from how often it was seen."""

from __future__ import annotations

import math

CONFIDENCE = 0.95
_HALVINGS = 60  # of an interval of length 1: exact to the last bit that matters


def upper_bound(events: int, runs: int, confidence: float = CONFIDENCE) -> float:
    """Return the upper end of the one-sided Clopper-Pearson interval for a rate.

    A rate above it would have shown as few as *events* in *runs* with a probability below
    1 - *confidence*. Without an event, 95 % gives 1 - 0.05 ** (1 / runs), which the rule of
    three rounds to 3 / runs. ValueError unless 0 <= events <= runs and runs > 0.
    """
    if not 0 <= events <= runs or runs == 0:
        raise ValueError(f"{events} events in {runs} runs")
    if events == runs:
        return 1.0
    low, high = events / runs, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if at_most(events, runs, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def at_most(events: int, runs: int, rate: float) -> float:
    """Return how probable *events* or fewer are in *runs*, each with probability *rate*."""
    if rate <= 0 or rate >= 1:
        return 1.0 if rate <= 0 or events == runs else 0.0
    return math.fsum(math.exp(_log_exactly(count, runs, rate)) for count in range(events + 1))


def _log_exactly(events: int, runs: int, rate: float) -> float:
    ways = math.lgamma(runs + 1) - math.lgamma(events + 1) - math.lgamma(runs - events + 1)
    return ways + events * math.log(rate) + (runs - events) * math.log1p(-rate)
