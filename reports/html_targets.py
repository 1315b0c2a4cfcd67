# SPDX-License-Identifier: GPL-2.0-only
"""The table of targets on the page: what each one is, and how its results are spread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from . import html_data
from .model import LOCAL, ReportTarget, Result, Run, Verdict, by_target, counts

_EMULATORS = {"qemu": "QEMU", "bochs": "Bochs"}


@dataclass(frozen=True, slots=True)
class BarPart:
    """One verdict's part of a bar, in hundredths of its width."""

    letter: str
    start: float
    width: float


@dataclass(frozen=True, slots=True)
class TargetRow:
    """One target: texts of `TargetTable.columns`, numbers of `TargetTable.verdicts`, and its bar."""

    target: ReportTarget
    texts: tuple[str, ...]
    numbers: tuple[int, ...]
    bar: tuple[BarPart, ...]
    spoken: str
    bad: bool


@dataclass(frozen=True, slots=True)
class TargetTable:
    """All targets that have results; columns and verdicts that none of them has are left out."""

    columns: tuple[str, ...]
    verdicts: tuple[Verdict, ...]
    rows: tuple[TargetRow, ...]
    outside: TargetRow | None  # tests that concern no target


def table(run: Run) -> TargetTable:
    """Return the table of *run*'s targets, in its order."""
    found = [(target, results, _texts(target, run)) for target, results in by_target(run)]
    seen = counts(run.results)
    verdicts = tuple(verdict for verdict in Verdict if seen[verdict])
    columns = tuple(name for name in _COLUMNS if any(texts[name] for _, _, texts in found))
    rows = [
        _row(target, results, [texts[name] for name in columns], verdicts) for target, results, texts in found
    ]
    return TargetTable(
        columns=columns,
        verdicts=verdicts,
        rows=tuple(row for row in rows if row.target.name != LOCAL or len(rows) == 1),
        outside=next((row for row in rows if row.target.name == LOCAL and len(rows) > 1), None),
    )


_COLUMNS = ("kernel", "KVM module", "mode", "interface", "CPU", "runs on")


def _texts(target: ReportTarget, run: Run) -> dict[str, str]:
    said = {
        "kernel": target.release,
        "KVM module": str(target.fact("backend_module")),
        "mode": target.mode or str(target.fact("mode")),
        "interface": "" if target.generation in ("upstream", "probed") else target.generation,
        "CPU": str(target.fact("cpu")),
        "runs on": _board(target, run),
    }
    # The target's label says already that it is simulated.
    return {name: "" if text == "simulated" else text for name, text in said.items()}


def _board(target: ReportTarget, run: Run) -> str:
    """Return the emulator and its version, or the host's name."""
    for fact, name in _EMULATORS.items():
        if version := target.fact(fact):
            return f"{name} {version}"
    if target.kind != "host":
        return ""
    _, _, board = target.name.partition("@")
    hosts = {session.host for session in run.sessions if session.host}
    return board or (hosts.pop() if len(hosts) == 1 else "")


def _row(
    target: ReportTarget, results: Sequence[Result], texts: Sequence[str], verdicts: Sequence[Verdict]
) -> TargetRow:
    seen = counts(results)
    bar = []
    start = 0.0
    for verdict in Verdict:
        width = 100 * seen[verdict] / len(results)
        if width:
            bar.append(BarPart(html_data.VERDICT_LETTERS[verdict], round(start, 2), round(width, 2)))
        start += width
    return TargetRow(
        target=target,
        texts=tuple(texts),
        numbers=tuple(seen[verdict] for verdict in verdicts),
        bar=tuple(bar),
        spoken=", ".join(f"{number} {verdict}" for verdict, number in seen.items() if number),
        bad=any(result.bad for result in results),
    )
