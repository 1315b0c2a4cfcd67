# SPDX-License-Identifier: GPL-2.0-only
"""What came of the moves along routes, judged, and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fixtures.facts import Fact
from fixtures.kernel_release import Prediction
from fixtures.known_issues import KnownIssue
from fixtures.moves.rows import BY_OFFSET, BY_VALUE, MoveRow
from fixtures.targets import Target
from reports.model import Verdict

FORMAT, VERSION = "kvmtests-moves", 1

CLAIMS = {
    (BY_OFFSET, "physical counter"): (
        "test_counter_offset.py::test_physical_counter_is_host_counter_minus_offset[plus-180e9]"
    ),
    (BY_VALUE, "physical counter"): (
        "test_counters_by_value.py::test_written_physical_counter_continues_from_there"
    ),
}
"""The claim whose known issues explain why a row does not hold, by its method and name."""


@dataclass(frozen=True, slots=True)
class JudgedRow:
    """A row, and the known issue that explains why it does not hold, "" for none."""

    row: MoveRow
    known_issue: str = ""

    @property
    def verdict(self) -> Verdict:
        """Return pass, xfail or fail."""
        if self.row.holds:
            return Verdict.PASS
        return Verdict.XFAIL if self.known_issue else Verdict.FAIL


@dataclass(frozen=True, slots=True)
class GuestMove:
    """One move of a guest, from the host called *source* to a target."""

    source: str
    destination: Target
    kernels: tuple[str, str]
    frequencies: tuple[str, str]  # of the guest, before and after
    facts: Mapping[str, Fact]  # of the destination
    rows: tuple[JudgedRow, ...]
    blackout_ns: int
    uncertain_ns: int  # of both hosts' ties together, either way
    took_ns: int  # all of the visit to the destination, its boot included

    @property
    def title(self) -> str:
        """Return both hosts, for people."""
        return f"{self.source} to {self.destination.name}"


@dataclass(frozen=True, slots=True)
class NoMove:
    """A host that cannot be judged, and why; *guest* is the file of the one that should have come."""

    source: str  # "" for the first host of a route
    destination: Target
    reason: str
    guest: str = ""

    @property
    def facts(self) -> Mapping[str, Fact]:
        """Return nothing: nobody looked at the host."""
        return {}


Outcome = GuestMove | NoMove


def judged(
    rows: Iterable[MoveRow], target: Target, facts: Mapping[str, Fact], issues: Sequence[KnownIssue]
) -> Iterator[JudgedRow]:
    """Yield *rows* of a guest on *target*; with those that fail the one of *issues* that predicts it."""
    given = {**facts, "kind": target.kind, "arch": target.arch}
    for row in rows:
        claim = CLAIMS.get((row.method, row.what)) if not row.holds else None
        case = f"kvmtests/{target.arch}/{claim}"
        predicted = (each.id for each in issues if claim and each.predicts(case, given) is not Prediction.NO)
        yield JudgedRow(row, next(predicted, ""))


def as_data(outcomes: Sequence[Outcome], took_ns: int) -> dict[str, Any]:
    """Return moves.json: every move with its rows, and every host that cannot be judged with the reason."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "took_ns": took_ns,
        "moves": [_move(each) for each in outcomes if isinstance(each, GuestMove)],
        "failures": [
            {"from": each.source, "to": each.destination.name, "reason": each.reason, "guest": each.guest}
            for each in outcomes
            if isinstance(each, NoMove)
        ],
    }


def _move(move: GuestMove) -> dict[str, Any]:
    rows = [
        {**asdict(each.row), "verdict": str(each.verdict), "known_issue": each.known_issue}
        for each in move.rows
    ]
    return {
        "from": move.source,
        "to": move.destination.name,
        "kernels": list(move.kernels),
        "frequencies": list(move.frequencies),
        "blackout_ns": move.blackout_ns,
        "uncertain_ns": move.uncertain_ns,
        "took_ns": move.took_ns,
        "rows": rows,
    }
