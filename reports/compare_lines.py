# SPDX-License-Identifier: GPL-2.0-only
"""A comparison on the terminal: four lists apart from each other, claims with one cause on one line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .compare import Change, Comparison, Kind, key
from .groups import ClaimGroup, by_claim, count
from .model import Verdict
from .text import clip_line

MESSAGE_LIMIT = 300
TARGETS_NAMED = 3
_QUIET = (Kind.OTHER,)


def lines(found: Comparison) -> Iterator[str]:
    """Yield the counts, which targets were compared, then each list by claim, then figures that moved."""
    yield f"since the baseline: {counted(found)}"
    yield from _targets(found)
    for kind in Kind:
        if kind not in _QUIET:
            yield from _changes(kind, found.of(kind))
    for group in by_claim(found.gone):
        yield f"{'GONE':<11} {_place(group)}"
    for shift in found.shifts:
        yield (
            f"MOVED       {shift.target} {shift.name} {shift.metric} {shift.variant}: median"
            f" {shift.old:.1f} -> {shift.new:.1f} {shift.unit}"
            f" (p {shift.p_value:.1g}, delta {shift.delta:+.2f})"
        )


def counted(found: Comparison) -> str:
    """Return how many claims and cases each list has, or that nothing changed."""
    said = [count(kind.value, [change.new for change in found.of(kind)]) for kind in Kind if found.of(kind)]
    if found.gone:
        said.append(count("gone", found.gone))
    if not found.matched.pairs:
        return "no target is in both runs, so that nothing was compared; name pairs with --map OLD=NEW"
    return ", ".join(said) if said else "every verdict is the same"


def _targets(found: Comparison) -> Iterator[str]:
    for old, new in found.matched.renamed:
        yield f"compared: {new} with the baseline's {old}"
    for name in found.matched.new:
        yield f"not compared: {name}, which the baseline lacks"
    for name in found.matched.gone:
        yield f"gone: {name}, which only the baseline has"


def _changes(kind: Kind, changes: Sequence[Change]) -> Iterator[str]:
    old = {key(change.new): change.old for change in changes}
    for group in by_claim(change.new for change in changes):
        for cause in group.causes:
            only = ClaimGroup(group.subject, group.claim, (cause,))
            before = " or ".join(dict.fromkeys(old[key(result)] or "absent" for result in cause.results))
            yield f"{kind.upper():<11} {_place(only)}: {before} -> {cause.example.verdict}"
            said = (
                cause.example.message if cause.example.verdict is not Verdict.SKIP else cause.example.reason
            )
            if said:
                yield f"            {clip_line(said, MESSAGE_LIMIT)}"


def _place(group: ClaimGroup) -> str:
    results = group.results
    where = group.targets
    named = ", ".join(where[:TARGETS_NAMED])
    if len(where) > TARGETS_NAMED:
        named += f" and {len(where) - TARGETS_NAMED} more targets"
    name = results[0].name if len(results) == 1 else f"{group.claim} ({len(results)} cases)"
    return f"{named} {group.subject} {name}"
