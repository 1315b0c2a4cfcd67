# SPDX-License-Identifier: GPL-2.0-only
"""Which claims noticed a defect: the verdicts, what a terminal shows of them, and their files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tabulate import tabulate

from fixtures.defects.catalogue import IMPOSSIBLE, IN_THE_LIBRARY, PRESENT
from fixtures.defects.defect import Defect
from fixtures.defects.table import DEFECTS
from reports import defects as reported
from reports import html_defects
from reports.whole_file import write_file
from tools.defect_jobs import JobOutcome


@dataclass(frozen=True, slots=True)
class DefectVerdict:
    """Which claims noticed one defect, and how soon."""

    id: str
    symptom: str
    part: str
    variation: str
    targets: tuple[str, ...]
    noticed_by: str  # the claim that is there for it
    by_name: bool  # whether that claim failed
    first: str  # the first claim that failed, with its parameters; "" where none did
    first_s: float
    tests: tuple[str, ...]  # all that failed among those that ran
    asked: tuple[str, ...]  # the test functions that ran
    message: str  # of the claim that is there for it if that failed, else of the first one
    seconds: float
    trouble: str  # why the claims could not run, or ""

    @property
    def noticed(self) -> bool:
        """Whether any claim failed."""
        return bool(self.tests)


def verdict_on(defect: Defect, outcome: JobOutcome) -> DefectVerdict:
    """Return what the claims in *outcome* say of *defect*."""
    named = [notice for notice in outcome.notices if f"kvmtests/{defect.noticed_by}[" in notice.name]
    shown = (named or list(outcome.notices))[:1]
    first = outcome.notices[:1]
    return DefectVerdict(
        id=defect.id,
        symptom=defect.symptom,
        part=defect.part,
        variation=defect.variation.__name__,
        targets=defect.targets,
        noticed_by=defect.noticed_by,
        by_name=bool(named),
        first=first[0].name if first else "",
        first_s=round(first[0].after_s, 3) if first else 0.0,
        tests=outcome.names,
        asked=outcome.asked,
        message=shown[0].message if shown else "",
        seconds=round(outcome.seconds, 3),
        trouble=outcome.trouble,
    )


def table(verdicts: Sequence[DefectVerdict]) -> str:
    """Return one line for each defect."""
    rows = [
        (
            verdict.id,
            "yes" if verdict.by_name else "by others" if verdict.noticed else "NO",
            len(verdict.tests),
            f"{verdict.first_s:.2f}",
            (verdict.noticed_by if verdict.by_name or not verdict.noticed else _short(verdict.first)),
        )
        for verdict in verdicts
    ]
    return tabulate(rows, ("defect", "noticed", "claims", "after s", "by"), tablefmt="simple")


def summary(verdicts: Sequence[DefectVerdict], seconds: float) -> str:
    """Return one sentence with the counts."""
    noticed = sum(verdict.noticed for verdict in verdicts)
    by_name = sum(verdict.by_name for verdict in verdicts)
    unnoticed = ", ".join(verdict.id for verdict in verdicts if not verdict.noticed)
    text = f"{noticed} of {len(verdicts)} defects noticed, {by_name} by the claim that is there for them"
    return f"{text}; {seconds:.0f} s" + (f"; unnoticed: {unnoticed}" if unnoticed else "")


def silent_claims(verdicts: Sequence[DefectVerdict]) -> tuple[str, ...]:
    """Return the test functions that ran and failed for none of the defects."""
    failed = {name.partition("[")[0] for verdict in verdicts for name in verdict.tests}
    return tuple(sorted({name for verdict in verdicts for name in verdict.asked} - failed))


def thin_rules(verdicts: Sequence[DefectVerdict]) -> dict[str, str]:
    """Return by rule the test function that alone noticed all of the rule's defects that were noticed."""
    functions: dict[str, set[str]] = {}
    for verdict in verdicts:
        noticed = functions.setdefault(DEFECTS[verdict.id].rule, set())
        noticed.update(name.partition("[")[0] for name in verdict.tests)
    return {rule: found.pop() for rule, found in functions.items() if len(found) == 1}


def thin_lines(verdicts: Sequence[DefectVerdict]) -> list[str]:
    """Return one line for each of the rules that hang on a single test function."""
    return [f"{rule}: {_short(function)}" for rule, function in thin_rules(verdicts).items()]


def _short(name: str) -> str:
    return name.removeprefix("kvmtests/").split("[")[0]


def write(
    verdicts: Sequence[DefectVerdict],
    folder: Path,
    seconds: float,
    *,
    everything: bool = False,
    stopped: reported.Stopped | None = None,
) -> tuple[Path, Path]:
    """Write defects.json and its page into *folder*; return both paths. ReportError if that fails."""
    record = {
        "version": reported.VERSION,
        "seconds": round(seconds, 1),
        "everything": everything,
        "defects": [_record(verdict) for verdict in verdicts],
        **({"stopped": asdict(stopped)} if stopped else {}),
        "silent": () if stopped else silent_claims(verdicts),
        "elsewhere": [
            *_present(),
            *([row, f"in migration: {shown}"] for row, shown in IN_THE_LIBRARY.items()),
        ],
        "impossible": list(IMPOSSIBLE.items()),
    }
    text = json.dumps(record, indent=1) + "\n"
    return write_file(folder / "defects.json", [text]), write_file(
        folder / "defects.html", html_defects.page(reported.parse(text))
    )


def _present() -> list[list[str]]:
    return [[row, f"{where}: {shown}"] for row, (where, shown) in PRESENT.items()]


def _record(verdict: DefectVerdict) -> dict[str, object]:
    fields = asdict(verdict)
    return {**fields, "asked": len(verdict.asked), "noticed": verdict.noticed}
