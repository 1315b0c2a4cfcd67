# SPDX-License-Identifier: GPL-2.0-only
"""Claims that have something to say, as the page shows them: a heading, causes, one example of each.

Whatever was cut off stands in the matrix, which has every result.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .compare import Comparison, Kind, key
from .groups import ClaimGroup, FailureCause, by_claim, cause_of
from .model import NOTABLE, Result, Verdict

CASES_SHOWN = 50
"""Cases of one cause that are named below its example."""

CAUSES_SHOWN = 10
COMMON_SHOWN = 3
GROUPS_FIRST = 8
GROUPS_SHOWN = 100
"""Claims in sight, and claims written out as markup."""


@dataclass(frozen=True, slots=True)
class ShownCause:
    """One cause: an example with its log, cases that are named, and how many are not."""

    example: Result
    count: int
    targets: tuple[str, ...]
    cases: tuple[Result, ...]
    more: int
    before: str  # the verdict in the baseline, for a list of changes


@dataclass(frozen=True, slots=True)
class ShownClaim:
    """One claim: its name, sentence and promise, how many results and targets are concerned, its causes."""

    subject: str
    claim: str
    sentence: str
    promise: str
    count: int
    targets: tuple[str, ...]
    causes: tuple[ShownCause, ...]
    more_causes: int


@dataclass(frozen=True, slots=True)
class CommonCause:
    """One cause that several claims have."""

    example: Result
    claims: int
    count: int


@dataclass(frozen=True, slots=True)
class ShownList:
    """Claims in sight, those that are folded, and how many are not there."""

    name: str
    count: int
    claims: int
    first: tuple[ShownClaim, ...]
    folded: tuple[ShownClaim, ...]
    more: int
    common: tuple[CommonCause, ...]


_NOTHING: Mapping[tuple[str, str, str], str] = {}


def shown(
    name: str, results: Iterable[Result], before: Mapping[tuple[str, str, str], str] = _NOTHING
) -> ShownList:
    """Return *results* by claim and cause; *before* holds verdicts of the baseline by `compare.key`."""
    groups = by_claim(results)
    claims = tuple(_claim(group, before) for group in groups[:GROUPS_SHOWN])
    return ShownList(
        name=name,
        count=sum(len(group.results) for group in groups),
        claims=len(groups),
        first=claims[:GROUPS_FIRST],
        folded=claims[GROUPS_FIRST:],
        more=len(groups) - len(claims),
        common=_common(groups),
    )


def bad(results: Sequence[Result]) -> ShownList:
    """Return what went wrong: what KVM broke first, then the rest."""
    found = [result for result in results if result.bad]
    found.sort(key=lambda result: result.verdict is not Verdict.FAIL)
    return shown("bad", found)


def noted(results: Sequence[Result]) -> ShownList:
    """Return what is to be seen and fails no run: changed behaviour, and issues that no longer show."""
    return shown("noted", (result for result in results if result.verdict in NOTABLE and not result.bad))


def changes(comparison: Comparison | None) -> list[ShownList]:
    """Return one list for each kind of change that a comparison found, what broke first."""
    if comparison is None:
        return []
    before = {key(change.new): str(change.old or "absent") for change in comparison.changes}
    lists = [
        shown(kind.value, (change.new for change in comparison.of(kind)), before)
        for kind in Kind
        if comparison.of(kind)
    ]
    if comparison.gone:
        was = {key(result): str(result.verdict) for result in comparison.gone}
        lists.append(shown("gone", comparison.gone, was))
    return lists


def _common(groups: Sequence[ClaimGroup]) -> tuple[CommonCause, ...]:
    """Return the causes of several claims, those of most claims first."""
    causes: dict[tuple[str, ...], list[FailureCause]] = {}
    for cause in (cause for group in groups for cause in group.causes if cause.example.message):
        causes.setdefault(cause_of(cause.example), []).append(cause)
    shared = sorted((found for found in causes.values() if len(found) > 1), key=len, reverse=True)
    return tuple(
        CommonCause(found[0].example, len(found), sum(len(cause.results) for cause in found))
        for found in shared[:COMMON_SHOWN]
    )


def _claim(group: ClaimGroup, before: Mapping[tuple[str, str, str], str]) -> ShownClaim:
    results = group.results
    return ShownClaim(
        subject=group.subject,
        claim=group.claim,
        sentence=next((result.sentence for result in results if result.sentence), ""),
        promise=next((result.promise for result in results if result.promise), ""),
        count=len(results),
        targets=group.targets,
        causes=tuple(_cause(cause, before) for cause in group.causes[:CAUSES_SHOWN]),
        more_causes=max(0, len(group.causes) - CAUSES_SHOWN),
    )


def _cause(cause: FailureCause, before: Mapping[tuple[str, str, str], str]) -> ShownCause:
    old = dict.fromkeys(before[key(result)] for result in cause.results if key(result) in before)
    return ShownCause(
        example=cause.example,
        count=len(cause.results),
        targets=cause.targets,
        cases=cause.results[1 : CASES_SHOWN + 1],
        more=max(0, len(cause.results) - CASES_SHOWN - 1),
        before=" or ".join(old),
    )
