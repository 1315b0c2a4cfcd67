# SPDX-License-Identifier: GPL-2.0-only
"""Which claims differ between two targets, and which change of KVM each difference comes from.

A claim that is skipped names the change of fixtures/kernel_changes.py that it follows; a known
issue names the one that mends it. A difference that neither explains is one that nobody intended.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tabulate import tabulate

from fixtures.kernel_changes import CHANGES
from fixtures.known_issues import KnownIssue
from reports.model import Result, Run, Verdict

Case = tuple[str, str]
"""Subject and name of a claim, which are the same on every target."""


@dataclass(frozen=True, slots=True)
class TargetDifference:
    """One claim whose verdict is another on the second target. *change* is "" if nothing explains it."""

    case: Case
    old: str
    new: str
    change: str


def differences(
    old: tuple[Run, str], new: tuple[Run, str], issues: Sequence[KnownIssue]
) -> tuple[TargetDifference, ...]:
    """Return the claims that differ between two targets, each given as its run and its name.

    KeyError for a target that its run does not have.
    """
    changed = _changed(*old) ^ _changed(*new)
    mended = {issue.id: changed & set(_unless(issue)) for issue in issues}
    before, after = _results(*old), _results(*new)
    found = []
    for case in dict.fromkeys((*before, *after)):
        pair = before.get(case), after.get(case)
        first, second = (result.verdict.value if result else "absent" for result in pair)
        if first != second:
            change = next(_explanations([each for each in pair if each], changed, mended), "")
            found.append(TargetDifference(case, first, second, change))
    return tuple(found)


def report(found: Sequence[TargetDifference]) -> str:
    """Return the table of differences, the intended ones by their change, and a sentence that counts them."""
    others = sum(not each.change for each in found)
    counted = (
        f"{len(found) - others} claims changed as intended, by "
        f"{len({each.change for each in found} - {''})} changes of KVM; {others} for no known reason"
    )
    places = ["", *CHANGES]
    order = sorted(found, key=lambda each: places.index(each.change))
    rows = [
        (
            "changed as intended" if each.change else "DIFFERS",
            ".".join(each.case),
            f"{each.old} -> {each.new}",
            each.change,
        )
        for each in order
    ]
    return f"{tabulate(rows, headers=['', 'claim', 'verdict', 'change'])}\n\n{counted}" if rows else counted


def _changed(run: Run, target: str) -> set[str]:
    return {name for name, value in run.target(target).facts if name in CHANGES and value is True}


def _results(run: Run, target: str) -> Mapping[Case, Result]:
    return {(result.subject, result.name): result for result in run.results if result.target == target}


def _explanations(
    results: Sequence[Result], changed: set[str], mended: Mapping[str, set[str]]
) -> Iterator[str]:
    for result in results:
        if result.verdict is Verdict.SKIP:
            yield from (name for name in changed if CHANGES[name].sentence in result.reason)
        yield from mended.get(result.known_issue, ())


def _unless(issue: KnownIssue) -> Mapping[str, object]:
    unless = issue.when.get("unless", {})
    return unless if isinstance(unless, Mapping) else {}
