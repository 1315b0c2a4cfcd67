# SPDX-License-Identifier: GPL-2.0-only
"""defects.html: which defects the suite noticed, by which claim, how soon, and which no claim noticed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from . import html_frame
from .defects import Defects, JudgedDefect, short
from .html_plots import Distribution, distribution
from .model import Sample

CLAIMS_FIRST = 15
"""How many claims are in sight, those that noticed most; the others open on demand."""


@dataclass(frozen=True, slots=True)
class _Group:
    """The defects whose ids begin with one letter."""

    letter: str
    title: str
    defects: tuple[JudgedDefect, ...]


TITLES = {
    "A": "arm64 counters and timers",
    "C": "KVM_GET_CLOCK and KVM_SET_CLOCK",
    "D": "what KVM writes to memory, and the logs that say so",
    "E": "vCPUs with EL2",
    "F": "what users of VMMs reported",
    "K": "by kind: exact pairs, age, views, frames, there and back, modes, sequences, combinations",
    "N": "beyond the catalogue: proposals, stolen time, traps, statistics, Xen",
    "P": "pvclock record and wall clock",
    "R": "the time of riscv64",
    "S": "single facts of claims' sentences",
    "T": "TSC",
    "U": "assertions that no other defect fails, on x86",
    "W": "changes under a guest that watches",
    "Y": "Hyper-V's synthetic timers",
}
"""What the first letters of ids stand for: each letter that docs/defects.md has."""


def page(defects: Defects) -> Iterator[str]:
    """Yield the page of one run of `make defects` in pieces; the same values give the same bytes."""
    found = defects.defects
    lost = [defect for defect in found if not defect.noticed]
    yield from html_frame.rendered(
        html_frame.environment(short=short),
        "defects.html.j2",
        "defects.js",
        title=f"Injected defects: {_headline(defects)}",
        headline=_headline(defects),
        defects=defects,
        lost=lost,
        groups=_groups(found),
        speed=_speed(found),
        plot=_plot(found),
        claims=defects.claims(),
        claims_first=CLAIMS_FIRST,
    )


def _headline(defects: Defects) -> str:
    found = defects.defects
    noticed = sum(defect.noticed for defect in found)
    by_name = sum(defect.by_name for defect in found)
    text = f"{noticed} of {len(found)} defects noticed, {by_name} by the claim that is there for them"
    return text if defects.stopped is None else f"{text}; {defects.stopped.sentence(len(found))}"


def _groups(found: Sequence[JudgedDefect]) -> list[_Group]:
    letters = dict.fromkeys(defect.id[:1] for defect in found)
    return [
        _Group(letter, TITLES.get(letter, ""), tuple(one for one in found if one.id[:1] == letter))
        for letter in letters
    ]


def _speed(found: Sequence[JudgedDefect]) -> str:
    seconds = [defect.first_s for defect in found if defect.noticed]
    if not seconds:
        return ""
    return f"first failure after {median(seconds):.1f} s (median), {max(seconds):.1f} s at most"


def _plot(found: Sequence[JudgedDefect]) -> Distribution | None:
    seconds = tuple(defect.first_s for defect in found if defect.noticed)
    return distribution([Sample("first failure", unit="s", values=seconds)]) if seconds else None
