# SPDX-License-Identifier: GPL-2.0-only
"""A run against a baseline: what broke, what is repaired, what is new or gone, and which figures moved.

Tests are matched by target (`matching`), subject and name. Figures are judged by a rank test on the
samples of both runs and the size of the effect, never by a fixed percentage.
"""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from . import matching
from .model import Number, Result, Run, Verdict
from .stats import quantile, rank_test

SIGNIFICANCE = 0.001
"""Largest p-value that counts; divided by the number of figures compared (Bonferroni)."""

EFFECT = 0.33
"""Smallest |Cliff's delta| that counts: what is conventionally called a medium effect."""

WORSE = 1
"""Exit status where something is worse than in the baseline, or is gone."""

Key = tuple[str, str, str]
_UNJUDGED = (Verdict.SKIP, Verdict.NOT_RUN)
_NO_TARGETS: Mapping[str, str] = {}


class Kind(enum.StrEnum):
    """What became of a test since the baseline."""

    BROKEN = "broken"
    REPAIRED = "repaired"
    NEW = "new"
    SKIPPED = "skipped now"
    NOT_RUN = "not run"
    OTHER = "other change"


@dataclass(frozen=True, slots=True)
class Change:
    """One test whose verdict is not the baseline's; *old* is None for a test it lacks."""

    kind: Kind
    old: Verdict | None
    new: Result
    old_bad: bool = False

    @property
    def worse(self) -> bool:
        """Whether the test fails, and did not in the baseline."""
        return self.new.bad and not self.old_bad

    @property
    def lost(self) -> bool:
        """Whether the baseline judged what this run left out."""
        return self.kind in (Kind.SKIPPED, Kind.NOT_RUN) and self.old not in _UNJUDGED


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
    gone: tuple[Result, ...]  # results of the baseline whose test is no longer there
    shifts: tuple[Shift, ...]
    matched: matching.Matched
    kernels: tuple[tuple[str, str, str], ...] = ()  # each compared target, its kernel before, and now

    def of(self, kind: Kind) -> list[Change]:
        """Return the changes of one *kind*."""
        return [change for change in self.changes if change.kind is kind]

    @property
    def worse(self) -> list[Change]:
        """The tests that fail now and did not in the baseline."""
        return [change for change in self.changes if change.worse]

    @property
    def lost(self) -> list[Change]:
        """The tests that the baseline judged, and that this run skipped or did not come to."""
        return [change for change in self.changes if change.lost]

    def status(self, *, allow_gone: bool = False) -> int:
        """Return 0, or `WORSE` where a test is worse or, unless *allow_gone*, is no longer judged."""
        if self.worse or not self.matched.pairs:
            return WORSE
        return WORSE if (self.gone or self.lost) and not allow_gone else 0


def compare(baseline: Run, run: Run, targets: Mapping[str, str] = _NO_TARGETS) -> Comparison:
    """Return what differs in *run* from *baseline*.

    *targets* names targets of the run by the baseline's, where names alone do not match them;
    `matching.MapError` if it does not fit.
    """
    matched = matching.match(baseline, run, targets)
    baseline = matching.renamed(baseline, matched)
    before = {key(result): result for result in baseline.results}
    after = {key(result) for result in run.results}
    known = {new for _, new in matched.pairs}
    changes = (_change(before.get(key(result)), result) for result in run.results if result.target in known)
    gone = (old for place, old in before.items() if place not in after)
    return Comparison(
        changes=tuple(change for change in changes if change is not None),
        gone=tuple(gone),
        shifts=tuple(_shifts(baseline, run)),
        matched=matched,
        kernels=tuple(
            (new, baseline.target(new).release, run.target(new).release) for _, new in matched.pairs
        ),
    )


def key(result: Result) -> Key:
    """Return what makes a result the same test in another run."""
    return result.target, result.subject, result.name


def _change(old: Result | None, new: Result) -> Change | None:
    if old is None:
        return Change(Kind.NEW, None, new)
    if old.verdict is new.verdict:
        return None
    return Change(_kind(old, new), old.verdict, new, old.bad)


def _kind(old: Result, new: Result) -> Kind:
    if new.verdict is Verdict.NOT_RUN:
        return Kind.NOT_RUN
    if new.verdict is Verdict.SKIP:
        return Kind.SKIPPED
    if new.bad and not old.bad:
        return Kind.BROKEN
    # A known issue that passes where it is no longer predicted was repaired with the kernel.
    passes = new.verdict in (Verdict.PASS, Verdict.XPASS) and not new.bad
    if passes and (old.bad or old.verdict in (Verdict.XFAIL, Verdict.CHANGED)):
        return Kind.REPAIRED
    return Kind.OTHER


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
