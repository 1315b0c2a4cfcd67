# SPDX-License-Identifier: GPL-2.0-only
"""results.csv: one row for each result, for spreadsheets and scripts."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from .model import ReportTarget, Result, Run

HEADS = (
    "target",
    "simulated",
    "kernel",
    "subject",
    "name",
    "verdict",
    "ending",
    "duration_s",
    "message",
    "reason",
    "known_issue",
    "promise",
    "nodeid",
)

PIECE = 200
"""Rows written at a time."""

# A spreadsheet takes a cell that begins like this for a formula, also with full-width signs.
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def rows(run: Run) -> Iterator[str]:
    """Yield *run* as CSV (RFC 4180, but lines end in LF), heads first."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    targets = {target.name: target for target in run.targets}
    writer.writerow(HEADS)
    for first in range(0, len(run.results), PIECE):
        piece = run.results[first : first + PIECE]
        writer.writerows(_cells(result, targets[result.target]) for result in piece)
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()


def _cells(result: Result, target: ReportTarget) -> tuple[str, ...]:
    return (
        defused(result.target),
        "yes" if target.simulated else "no",
        defused(target.kernel),
        defused(result.subject),
        defused(result.name),
        result.verdict,
        result.ending,
        f"{result.duration_ns / 1e9:.6f}",
        defused(result.message),
        defused(result.reason),
        defused(result.known_issue),
        defused(result.promise),
        defused(result.nodeid),
    )


def defused(cell: str) -> str:
    """Return *cell* as a spreadsheet shows it and does not compute it."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
