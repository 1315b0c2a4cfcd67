# SPDX-License-Identifier: GPL-2.0-only
"""Which target of a run is which of its baseline.

A target of the same name is the same target. What is left is matched without what stands after
the "@" (a kernel, or a host), where that leaves no choice: lab-arm64-vhe@6.12 is lab-arm64-vhe@7.3.
A map given by the user goes before both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from .model import Run


class MapError(Exception):
    """A map of targets does not fit the runs; the text is one sentence for the user."""


@dataclass(frozen=True, slots=True)
class Matched:
    """The targets of two runs: *pairs* of the baseline's name and the run's, and those without a partner."""

    pairs: tuple[tuple[str, str], ...] = ()
    gone: tuple[str, ...] = ()  # only in the baseline
    new: tuple[str, ...] = ()  # only in the run

    @property
    def renamed(self) -> tuple[tuple[str, str], ...]:
        """The pairs whose names differ."""
        return tuple((old, new) for old, new in self.pairs if old != new)


def family(target: str) -> str:
    """Return the name of *target* without its kernel or host: host of host@board-a."""
    return target.partition("@")[0]


def parse(words: Sequence[str]) -> dict[str, str]:
    """Return the map that *words* like ``old=new`` give; `MapError` for another word, or a name twice."""
    found: dict[str, str] = {}
    for word in words:
        old, sign, new = word.partition("=")
        if not (old and sign and new):
            raise MapError(f"--map {word!r} is not of the form BASELINE-TARGET=TARGET")
        if old in found or new in found.values():
            raise MapError(f"--map names {old if old in found else new} twice; give each target one partner")
        found[old] = new
    return found


def match(baseline: Run, run: Run, given: Mapping[str, str]) -> Matched:
    """Return which target with results of *run* is which of *baseline*; *given* pairs go first.

    `MapError` if *given* names a target that has no results.
    """
    old, new = _targets(baseline), _targets(run)
    for name, side, which in (
        *((name, old, "the baseline") for name in given),
        *((name, new, "the run") for name in given.values()),
    ):
        if name not in side:
            raise MapError(f"--map names {name}, which {which} lacks; it has {', '.join(side) or 'none'}")
    pairs = dict(given)
    taken = set(given.values())
    pairs |= {name: name for name in old if name in new and name not in pairs and name not in taken}
    pairs |= _by_family(old, new, pairs)
    partners = set(pairs.values())
    return Matched(
        pairs=tuple((name, pairs[name]) for name in old if name in pairs),
        gone=tuple(name for name in old if name not in pairs),
        new=tuple(name for name in new if name not in partners),
    )


def renamed(run: Run, matched: Matched) -> Run:
    """Return the baseline *run* with its targets called as their partners are.

    One without a partner keeps its name, marked where a partner has it.
    """
    partners = {new for _, new in matched.pairs}
    names = dict(matched.renamed) | {name: f"{name} (baseline)" for name in matched.gone if name in partners}
    if not names:
        return run
    return replace(
        run,
        targets=tuple(replace(target, name=names.get(target.name, target.name)) for target in run.targets),
        results=tuple(
            result._replace(target=names[result.target]) if result.target in names else result
            for result in run.results
        ),
    )


def _targets(run: Run) -> tuple[str, ...]:
    return tuple(dict.fromkeys(result.target for result in run.results))


def _by_family(old: Iterable[str], new: Iterable[str], pairs: Mapping[str, str]) -> dict[str, str]:
    """Return the pairs of targets that are each the only one of their family in their run."""
    old, new = list(old), list(new)
    olds, news = Counter(map(family, old)), Counter(map(family, new))
    taken = set(pairs.values())
    alone = {family(name): name for name in new if news[family(name)] == 1 and name not in taken}
    return {
        name: alone[family(name)]
        for name in old
        if name not in pairs and olds[family(name)] == 1 and family(name) in alone
    }
