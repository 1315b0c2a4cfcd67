# SPDX-License-Identifier: GPL-2.0-only
"""mutants.html: which defects the suite noticed, by which claim, how soon, and which nobody noticed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from . import html_frame
from .html_plots import Distribution, distribution
from .model import Sample
from .mutants import Mutant, Mutants, short

CLAIMS_FIRST = 15
"""Claims in sight, those that noticed most; the others open on demand."""


@dataclass(frozen=True, slots=True)
class _Group:
    """All defects of one row of the catalogue's parts: those of one letter."""

    letter: str
    title: str
    mutants: tuple[Mutant, ...]


TITLES = {
    "A": "arm64 counters and timers",
    "C": "KVM_GET_CLOCK and KVM_SET_CLOCK",
    "P": "kvmclock page",
    "T": "TSC",
}
"""What the letters of the catalogue stand for."""


def page(mutants: Mutants) -> Iterator[str]:
    """Yield the page of one run of `make mutants` in pieces; the same values give the same bytes."""
    found = mutants.mutants
    lost = [mutant for mutant in found if not mutant.noticed]
    yield from html_frame.rendered(
        html_frame.environment(short=short),
        "mutants.html.j2",
        "mutants.js",
        title=f"Injected defects: {_headline(mutants)}",
        headline=_headline(mutants),
        mutants=mutants,
        lost=lost,
        groups=_groups(found),
        speed=_speed(found),
        plot=_plot(found),
        claims=mutants.claims(),
        claims_first=CLAIMS_FIRST,
    )


def _headline(mutants: Mutants) -> str:
    found = mutants.mutants
    noticed = sum(mutant.noticed for mutant in found)
    by_name = sum(mutant.by_name for mutant in found)
    text = f"{noticed} of {len(found)} defects noticed, {by_name} by the claim that is there for them"
    return text if mutants.stopped is None else f"{text}; {mutants.stopped.sentence(len(found))}"


def _groups(found: Sequence[Mutant]) -> list[_Group]:
    letters = dict.fromkeys(mutant.id[:1] for mutant in found)
    return [
        _Group(letter, TITLES.get(letter, ""), tuple(one for one in found if one.id[:1] == letter))
        for letter in letters
    ]


def _speed(found: Sequence[Mutant]) -> str:
    seconds = [mutant.first_s for mutant in found if mutant.noticed]
    if not seconds:
        return ""
    return f"first failure after {median(seconds):.1f} s (median), {max(seconds):.1f} s at most"


def _plot(found: Sequence[Mutant]) -> Distribution | None:
    seconds = tuple(mutant.first_s for mutant in found if mutant.noticed)
    return distribution([Sample("first failure", unit="s", values=seconds)]) if seconds else None
