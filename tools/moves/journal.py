# SPDX-License-Identifier: GPL-2.0-only
"""The moves as a journal, so that every report of a run can be made of them."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fixtures.targets import Target
from reports.journal import VERSION, Journal
from reports.model import Verdict
from tools.moves.page import bound, failure, shown
from tools.moves.results import GuestMove, JudgedRow, NoMove, Outcome

SUBJECT = "moves"


@dataclass(frozen=True, slots=True)
class RunTimes:
    """When all of it began and ended, in ns since 1970."""

    began_ns: int
    ended_ns: int


def write(path: Path, outcomes: Sequence[Outcome], times: RunTimes, status: int) -> None:
    """Write what came of all moves to *path*: a result for each row, an error for each host not visited.

    `reports.journal.JournalError` where that is not possible.
    """
    journal = Journal(path)
    facts = {"kernel": f"{platform.system()} {platform.release()}", "python": platform.python_version()}
    journal.write("session", version=VERSION, time_ns=times.began_ns, host=platform.node(), facts=facts)
    for outcome in outcomes:
        _target(journal, outcome)
    results = [result for outcome in outcomes for result in _results(outcome)]
    journal.collection([str(result["nodeid"]) for result in results])
    for result in results:
        journal.start(str(result["nodeid"]), times.began_ns)
        journal.result(result)
    journal.write("end", time_ns=times.ended_ns, exit_status=status)
    journal.close()


def _target(journal: Journal, outcome: Outcome) -> None:
    target = outcome.destination
    journal.write(
        "target",
        name=target.name,
        kind=target.kind,
        arch=target.arch,
        mode=str(outcome.facts.get("mode", target.mode)),
        generation=target.generation,
        simulated=target.simulated,
        usable=isinstance(outcome, GuestMove),
        reason=outcome.reason if isinstance(outcome, NoMove) else "",
        facts=dict(outcome.facts),
    )


def _results(outcome: Outcome) -> Iterator[dict[str, str | int]]:
    target = outcome.destination
    if isinstance(outcome, NoMove):
        yield _result(target, f"visit[{outcome.source or 'nowhere'}]", Verdict.ERROR, failure(outcome))
        return
    for each in outcome.rows:
        name = f"{each.row.what}[{each.row.method} from {outcome.source}]".replace(" ", "-")
        yield _result(target, name, each.verdict, _message(each), known_issue=each.known_issue)


def _result(
    target: Target, name: str, verdict: Verdict, message: str, known_issue: str = ""
) -> dict[str, str | int]:
    found = {
        "nodeid": f"{SUBJECT}::{name}",
        "target": target.name,
        "subject": SUBJECT,
        "verdict": str(verdict),
    }
    if verdict is Verdict.PASS:
        return {**found}
    reason = {"reason": f"known issue {known_issue}", "known_issue": known_issue} if known_issue else {}
    return {**found, "message": message, **reason}


def _message(judged: JudgedRow) -> str:
    row = judged.row
    off = " off" if row.unit == "ns" else ""
    return f"{row.what}: {shown(row)}{off}, which may be {bound(row)}"
