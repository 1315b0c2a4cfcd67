# SPDX-License-Identifier: GPL-2.0-only
"""The bound on a rate: the closed form, and exact arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest

from tools.binomial import at_most, upper_bound


@pytest.mark.parametrize("runs", [1, 10, 500, 2000, 1_400_000])
def test_without_an_event_the_bound_has_a_closed_form(runs: int) -> None:
    """Nothing in n runs bounds the rate by 1 - 0.05 ** (1 / n), which is below 3 / n."""
    bound = upper_bound(0, runs)

    assert math.isclose(bound, -math.expm1(math.log(0.05) / runs), rel_tol=1e-9)
    assert bound < 3 / runs


@pytest.mark.parametrize(("events", "runs"), [(1, 10), (5, 10), (2, 100), (7, 300)])
def test_bound_agrees_with_exact_arithmetic(events: int, runs: int) -> None:
    """A rate just below the bound shows as few events with more than 5 %, one just above with less."""
    bound = Fraction(upper_bound(events, runs))
    step = Fraction(1, 10**9)

    assert exactly_at_most(events, runs, bound - step) > Fraction(1, 20)
    assert exactly_at_most(events, runs, bound + step) < Fraction(1, 20)


def exactly_at_most(events: int, runs: int, rate: Fraction) -> Fraction:
    """Return how probable *events* or fewer are in *runs*, without rounding."""
    return sum(
        (math.comb(runs, count) * rate**count * (1 - rate) ** (runs - count) for count in range(events + 1)),
        start=Fraction(0),
    )


def test_at_the_bound_so_few_events_have_five_percent() -> None:
    """A rate at the bound shows as few events with a probability of 5 %."""
    assert math.isclose(at_most(3, 700, upper_bound(3, 700)), 0.05, rel_tol=1e-9)


def test_events_in_every_run_bound_nothing() -> None:
    """Where each run had the event, the rate may be 1."""
    assert upper_bound(4, 4) == 1.0


@pytest.mark.parametrize(("events", "runs"), [(0, 0), (-1, 5), (6, 5)])
def test_impossible_counts_are_refused(events: int, runs: int) -> None:
    """More events than runs, or no runs, is a ValueError."""
    with pytest.raises(ValueError, match="runs"):
        upper_bound(events, runs)
