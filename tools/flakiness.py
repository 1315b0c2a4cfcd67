# SPDX-License-Identifier: GPL-2.0-only
"""What many runs of the same tests came to: verdicts by test, and how often a claim fails at most."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any

from tabulate import tabulate

from reports import read_journal
from reports.model import Verdict
from tools.binomial import upper_bound

ROUNDS, JOURNAL = "rounds.json", "journal.jsonl"
HEADS = ("target", "claim", "cases", "runs", "failures", "verdict changes", "failure rate at most")

Case = tuple[str, str]
"""A test on a target: the target's name and pytest's node id."""


class BadCounts(ValueError):
    """A file does not hold what `tools.rounds` writes; the text is a sentence without a full stop."""


@dataclass(slots=True)
class Seen:
    """How often each case got each verdict, and what the bad ones said."""

    verdicts: dict[Case, Counter[Verdict]] = field(default_factory=lambda: defaultdict(Counter))
    loads: list[float] = field(default_factory=list)  # the load average after each round, where it is known
    bad: list[Mapping[str, Any]] = field(default_factory=list)

    @property
    def runs(self) -> int:
        """How often the suite ran: as often as the case that ran most often."""
        return max((verdicts.total() for verdicts in self.verdicts.values()), default=0)

    def changed(self) -> dict[Case, Counter[Verdict]]:
        """Return the cases that did not get the same verdict in every run, or were missing in one."""
        runs = self._runs_by_target()
        return {
            case: verdicts
            for case, verdicts in self.verdicts.items()
            if max(verdicts.values()) < runs[case[0]]
        }

    def claims(self) -> Iterator[ClaimCounts]:
        """Yield a row for each claim on each target: its cases counted together, most failures first."""
        runs = self._runs_by_target()
        rows = [
            ClaimCounts(
                target,
                claim,
                cases=len(counters := [self.verdicts[case] for case in cases]),
                runs=sum(verdicts.total() for verdicts in counters),
                failures=sum(
                    count for each in counters for verdict, count in each.items() if _failed(verdict)
                ),
                changes=sum(runs[target] - max(verdicts.values()) for verdicts in counters),
            )
            for (target, claim), cases in groupby(sorted(self.verdicts), key=_claim)
        ]
        yield from sorted(rows, key=lambda row: (-row.failures, -row.changes, row.target, row.claim))

    def _runs_by_target(self) -> Counter[str]:
        runs: Counter[str] = Counter()
        for (target, _), verdicts in self.verdicts.items():
            runs[target] = max(runs[target], verdicts.total())
        return runs


@dataclass(frozen=True, slots=True)
class ClaimCounts:
    """What all runs of one claim on one target came to, its cases counted together."""

    target: str
    claim: str
    cases: int
    runs: int
    failures: int  # runs with a verdict that makes a run fail
    changes: int  # runs whose verdict was not the case's commonest one, or that were missing

    @property
    def bound(self) -> float:
        """The upper end of the one-sided 95 % Clopper-Pearson interval for the rate of failures."""
        return upper_bound(self.failures, self.runs)


def _claim(case: Case) -> tuple[str, str]:
    target, nodeid = case
    return target, nodeid.partition("[")[0]


def read(folder: Path) -> Seen:
    """Return what the sessions in the folders of *folder* saw; `BadCounts` names a file that is not ours."""
    seen = Seen()
    for session in sorted(folder.glob("*/")):
        add(session, seen)
    return seen


def add(session: Path, seen: Seen) -> None:
    """Add what the session in the folder *session* left to *seen*: counts, or the reporter's journal."""
    if (session / ROUNDS).exists():
        _add_rounds(session / ROUNDS, seen)
    elif (session / JOURNAL).exists():
        for result in read_journal.read([session / JOURNAL]).results:
            if result.verdict is Verdict.NOT_RUN:
                continue  # no run of it: the session was stopped
            seen.verdicts[result.target, result.nodeid][result.verdict] += 1
            if _failed(result.verdict):
                seen.bad.append({"nodeid": result.nodeid, "message": result.message})


def _failed(verdict: Verdict) -> bool:
    """Return whether the claim's own check failed, also where no text promises what it checks."""
    return verdict.bad or verdict is Verdict.CHANGED


def _add_rounds(path: Path, seen: Seen) -> None:
    try:
        counts = json.loads(path.read_text(encoding="utf-8"))
        for test in counts["tests"]:
            verdicts = {Verdict(name): int(count) for name, count in test["verdicts"].items()}
            seen.verdicts[str(test["target"]), str(test["nodeid"])].update(verdicts)
        seen.loads += [float(load) for load in counts["loads"]]
        seen.bad += [
            {"nodeid": str(one["nodeid"]), "message": one.get("message", "")} for one in counts["bad"]
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise BadCounts(f"{path} does not hold the counts of tools.rounds; remove its folder") from None


def summary(seen: Seen) -> str:
    """Return how many runs there were, with one line for each case whose verdict changed."""
    changed = seen.changed()
    lines = [f"{seen.runs} runs of {len(seen.verdicts)} tests: {len(changed)} changed their verdict"]
    for (target, nodeid), verdicts in sorted(changed.items()):
        counts = ", ".join(f"{verdict} {times}" for verdict, times in sorted(verdicts.items()))
        lines.append(f"{target} {nodeid}: {counts}")
    return "\n".join(lines)


def page(seen: Seen, processors: int) -> str:
    """Return the table of all claims in Markdown, after a line on the runs and their load."""
    rows = list(seen.claims())
    cells = [
        [row.target, f"`{row.claim}`", row.cases, row.runs, row.failures, row.changes, f"{row.bound:.1e}"]
        for row in rows
    ]
    lines = [
        f"{seen.runs} runs of {len(seen.verdicts)} cases, {_together(rows)}.",
        _load(seen.loads, processors),
    ]
    table = tabulate(cells, headers=HEADS, tablefmt="github", disable_numparse=True)
    return "\n".join([*filter(None, lines), "", table, ""])


def _together(rows: Sequence[ClaimCounts]) -> str:
    runs, failures = sum(row.runs for row in rows), sum(row.failures for row in rows)
    return (
        f"{runs} results in all and {failures} failures: a rate of {upper_bound(failures, runs):.1e} at most"
    )


def _load(loads: Iterable[float], processors: int) -> str:
    each = sorted(load / processors for load in loads)
    if not each:
        return ""
    busy = sum(load >= 4 for load in each)
    return (
        f"The load average per processor was {median(each):.1f} in the middle of these runs, "
        f"{each[0]:.1f} to {each[-1]:.1f}; {busy} runs had 4 or more."
    )
