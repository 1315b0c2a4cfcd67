# SPDX-License-Identifier: GPL-2.0-only
"""The moves as tables, in Markdown: docs/migration.md has one of a real run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fixtures.moves.rows import MoveRow
from reports.model import Verdict
from tools.lab_matrix import table
from tools.moves.results import GuestMove, JudgedRow, NoMove, Outcome

HOLDS = {Verdict.PASS: "holds", Verdict.FAIL: "does not hold"}
_UNITS = ((1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "µs"))


def page(outcomes: Sequence[Outcome], took_ns: int) -> str:
    """Return two tables, of rows and of moves, the hosts that were not visited, and the time it took."""
    moves = [each for each in outcomes if isinstance(each, GuestMove)]
    parts = []
    if moves:
        rows = [line for move in moves for line in _rows(move)]
        parts.append(table(rows, ["move", "method", "what", "error", "bound", "verdict"]))
        heads = ["move", "kernels", "guest's frequency", "blackout", "ties", "took"]
        parts.append(table([_summary(move) for move in moves], heads))
    parts += [failure(each) + "\n" for each in outcomes if isinstance(each, NoMove)]
    return "\n".join([*parts, f"In all {took_ns / 1e9:.0f} s.\n"])


def failure(found: NoMove) -> str:
    """Return in one sentence which host cannot be judged and why, and where the guest is."""
    kept = f"; the guest is kept in {found.guest}" if found.guest else ""
    return f"{found.destination.name} cannot be judged: {found.reason}{kept}."


def shown(row: MoveRow) -> str:
    """Return the value of *row* with its unit, as in "+12.3 µs"."""
    if row.unit == "ns":
        return length(row.value, sign="+")
    return f"{row.value:,} {row.unit if row.value != 1 else row.unit.removesuffix('s')}"


def bound(row: MoveRow) -> str:
    """Return what the value of *row* may be."""
    if row.most is None:
        return f"{row.least} or more"
    if row.least == row.most:
        return f"{row.least}"
    if row.least == -row.most:
        return f"± {length(row.most)}"
    return f"{length(row.least, sign='+')} to {length(row.most, sign='+')}"


def length(ns: int, sign: str = "") -> str:
    """Return *ns* in the largest unit in which it is 1 or more, with three digits or more."""
    for size, unit in _UNITS:
        if abs(ns) >= size:
            return f"{ns / size:{sign},.{2 if abs(ns) < 10 * size else 1}f} {unit}"
    return f"{ns:{sign}} ns"


def _rows(move: GuestMove) -> Iterator[list[str]]:
    for each in move.rows:
        yield [move.title, each.row.method, each.row.what, shown(each.row), bound(each.row), _said(each)]


def _said(judged: JudgedRow) -> str:
    return HOLDS.get(judged.verdict, f"known issue {judged.known_issue}")


def _summary(move: GuestMove) -> list[str]:
    ties = f"± {length(move.uncertain_ns)}"
    before_and_after = [" to ".join(dict.fromkeys(each)) for each in (move.kernels, move.frequencies)]
    return [move.title, *before_and_after, length(move.blackout_ns), ties, length(move.took_ns)]
