# SPDX-License-Identifier: GPL-2.0-only
"""A run against a baseline: what is new, what is fixed, and which figures really moved.

Tests are matched by target, subject and name. Figures are judged by a rank test on the
samples of both runs and the size of the effect, never by a fixed percentage.
"""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from .model import Number, Result, Run, Verdict
from .stats import quantile, rank_test

SIGNIFICANCE = 0.001
"""Largest p-value that counts; divided by the number of figures compared (Bonferroni)."""

EFFECT = 0.33
"""Smallest |Cliff's delta| that counts: what is conventionally called a medium effect."""

Key = tuple[str, str, str]


class Kind(enum.StrEnum):
    """What became of a test since the baseline."""

    NEW_FAILURE = "new failure"
    FIXED = "fixed"
    NEW_SKIP = "new skip"
    NOT_RUN = "not run"
    ADDED = "added"
    OTHER = "other change"


@dataclass(frozen=True, slots=True)
class Change:
    """One test whose verdict is not the baseline's; *old* is None for a test it lacks."""

    kind: Kind
    old: Verdict | None
    new: Result


@dataclass(frozen=True, slots=True)
class Shift:
    """One figure that moved: medians in *unit*, and how sure and how large the shift is."""

    target: str
    subject: str
    name: str
    metric: str
    variant: str
    unit: str
    old: float
    new: float
    p_value: float
    delta: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """All differences of a run from its baseline, in the run's order."""

    changes: tuple[Change, ...]
    gone: tuple[Result, ...]  # results of the baseline whose target ran but that are no longer there
    shifts: tuple[Shift, ...]

    def of(self, kind: Kind) -> list[Change]:
        """Return the changes of one *kind*."""
        return [change for change in self.changes if change.kind is kind]


def compare(baseline: Run, run: Run) -> Comparison:
    """Return what differs in *run* from *baseline*."""
    before = {key(result): result for result in baseline.results}
    after = {key(result) for result in run.results}
    targets = {result.target for result in run.results}
    changes = (_change(before.get(key(result)), result) for result in run.results)
    gone = (old for place, old in before.items() if place not in after and old.target in targets)
    return Comparison(
        changes=tuple(change for change in changes if change is not None),
        gone=tuple(gone),
        shifts=tuple(_shifts(baseline, run)),
    )


def key(result: Result) -> Key:
    """Return what makes a result the same test in another run."""
    return result.target, result.subject, result.name


def lines(found: Comparison) -> Iterator[str]:
    """Yield the comparison for the terminal: counts, then each new failure and shift by name."""
    counted = [f"{len(found.of(kind))} {kind}" for kind in Kind if found.of(kind)]
    if found.gone:
        counted.append(f"{len(found.gone)} gone")
    yield "since the baseline: " + (", ".join(counted) if counted else "every verdict is the same")
    for change in found.of(Kind.NEW_FAILURE):
        new = change.new
        yield f"NEW     {new.target} {new.subject} {new.name}: {change.old or 'absent'} -> {new.verdict}"
    for shift in found.shifts:
        yield (
            f"MOVED   {shift.target} {shift.name} {shift.metric} {shift.variant}: median"
            f" {shift.old:.1f} -> {shift.new:.1f} {shift.unit}"
            f" (p {shift.p_value:.1g}, delta {shift.delta:+.2f})"
        )


def _change(old: Result | None, new: Result) -> Change | None:
    if old is None:
        return Change(_of_added(new), None, new)
    if old.verdict is new.verdict:
        return None
    if new.verdict is Verdict.NOT_RUN:
        kind = Kind.NOT_RUN
    elif new.verdict.bad and not old.verdict.bad:
        kind = Kind.NEW_FAILURE
    elif old.verdict.bad and not new.verdict.bad and new.verdict is not Verdict.SKIP:
        kind = Kind.FIXED
    elif new.verdict is Verdict.SKIP:
        kind = Kind.NEW_SKIP
    else:
        kind = Kind.OTHER
    return Change(kind, old.verdict, new)


def _of_added(new: Result) -> Kind:
    if new.verdict.bad:
        return Kind.NEW_FAILURE
    return Kind.NOT_RUN if new.verdict is Verdict.NOT_RUN else Kind.ADDED


def _shifts(baseline: Run, run: Run) -> Iterator[Shift]:
    before = _series(baseline)
    after = _series(run)
    shared = [place for place in after if place in before]
    for place in shared:
        old, new = before[place], after[place]
        test = rank_test(old, new)
        if test.p_value * len(shared) <= SIGNIFICANCE and abs(test.delta) >= EFFECT:
            medians = quantile(sorted(old), 0.5), quantile(sorted(new), 0.5)
            yield Shift(*place, *medians, test.p_value, test.delta)


def _series(run: Run) -> dict[tuple[str, str, str, str, str, str], list[Number]]:
    series: dict[tuple[str, str, str, str, str, str], list[Number]] = defaultdict(list)
    for result in run.results:
        for sample in result.samples:
            if sample.values:
                series[*key(result), sample.metric, sample.variant, sample.unit] += sample.values
    return series
