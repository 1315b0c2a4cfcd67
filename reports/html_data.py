# SPDX-License-Identifier: GPL-2.0-only
"""What the script of report.html works on: the run in few bytes a result.

A result is one letter in the row of its test. More about it stands in a
list of details, and logs stand in a second list that the page parses when it needs them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .as_program import offered
from .compare import Comparison, key
from .model import LOCAL, ReportTarget, Result, ResultEnding, Run, Verdict
from .text import clip, clip_line

EVERY_DETAIL = 5_000
"""Results up to which passes have details too (node id, duration)."""

LOG_LIMIT = 16_000
LOGS_LIMIT = 4_000_000
"""Characters of one log, and of all logs: beyond that only the two ends of each log are kept."""

SHORT_LOG = 600
MESSAGE_LIMIT = 2_000
"""Characters of one message; logs have the rest."""

VERDICT_LETTERS = {
    Verdict.PASS: "p",
    Verdict.FAIL: "f",
    Verdict.CHANGED: "c",
    Verdict.SKIP: "s",
    Verdict.XFAIL: "x",
    Verdict.XPASS: "u",
    Verdict.ERROR: "e",
    Verdict.TIMEOUT: "t",
    Verdict.NOT_RUN: "n",
}
ABSENT = " "

_ENCODE = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":")
).encode


@dataclass(slots=True)
class _Subject:
    """The rows of one subject: names, and a letter for each target."""

    places: dict[str, int] = field(default_factory=dict)
    letters: list[list[str]] = field(default_factory=list)
    details: dict[int, int] = field(default_factory=dict)
    old: dict[int, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Logs:
    """Every distinct log once."""

    texts: list[str] = field(default_factory=list)
    known: dict[str, int] = field(default_factory=dict)
    length: int = 0

    def place(self, log: str) -> int:
        """Return the index of *log* among the texts; after LOGS_LIMIT characters only its start is kept."""
        limit = LOG_LIMIT if self.length < LOGS_LIMIT else SHORT_LOG
        text = clip(log, limit)
        if text not in self.known:
            self.known[text] = len(self.texts)
            self.texts.append(text)
            self.length += len(text)
        return self.known[text]


def letter(result: Result) -> str:
    """Return the letter that stands for *result*: its verdict's."""
    return VERDICT_LETTERS[result.verdict]


def build(run: Run, comparison: Comparison | None) -> tuple[dict[str, Any], list[str]]:
    """Return the page's data and its logs, both ready for JSON."""
    used = {result.target for result in run.results}
    targets = [target for target in run.targets if target.name in used]
    column = {target.name: index for index, target in enumerate(targets)}
    old = {key(change.new): change for change in comparison.changes} if comparison else {}
    subjects: dict[str, _Subject] = {}
    details: list[dict[str, Any]] = []
    logs = _Logs()
    program = offered(run.targets)
    everything = len(run.results) <= EVERY_DETAIL
    blank = [ABSENT] * len(targets)
    for result in run.results:
        subject = subjects.get(result.subject)
        if subject is None:
            subject = subjects[result.subject] = _Subject()
        row = subject.places.get(result.name)
        if row is None:
            row = subject.places[result.name] = len(subject.letters)
            subject.letters.append(blank[:])
        place = column[result.target]
        subject.letters[row][place] = letter(result)
        cell = row * len(targets) + place
        if everything or result.verdict is not Verdict.PASS or result.log:
            subject.details[cell] = len(details)
            details.append(_detail(result, logs) | ({"x": command} if (command := program(result)) else {}))
        change = old.get(key(result)) if old else None
        if change is not None:
            subject.old[cell] = VERDICT_LETTERS[change.old] if change.old else ABSENT
    data = {
        "targets": [_target(target) for target in targets],
        "subjects": [_packed(name, subject) for name, subject in subjects.items()],
        "details": details,
        "baseline": comparison is not None,
    }
    return data, logs.texts


def encode(value: object) -> Iterator[str]:
    """Yield *value* as JSON that cannot end the script element it stands in."""
    yield _ENCODE(value).replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _target(target: ReportTarget) -> dict[str, Any]:
    label = "no target" if target.name == LOCAL else target.name
    return {"name": target.name, "label": label, "simulated": target.simulated}


def _packed(name: str, subject: _Subject) -> dict[str, Any]:
    packed: dict[str, Any] = {
        "name": name,
        "tests": list(subject.places),
        "letters": "".join(map("".join, subject.letters)),
    }
    if subject.details:
        packed["details"] = _runs(subject.details)
    if subject.old:
        packed["old"] = subject.old
    return packed


def _runs(details: dict[int, int]) -> list[int]:
    """Return cell numbers and detail numbers, one after the other, each as the step from the last."""
    steps: list[int] = []
    last_cell = last_detail = 0
    for cell, detail in details.items():
        steps += (cell - last_cell, detail - last_detail)
        last_cell, last_detail = cell, detail
    return steps


def _detail(result: Result, logs: _Logs) -> dict[str, Any]:
    place = f"{result.file}:{result.line}" if result.file and result.line else result.file
    words: dict[str, Any] = {
        "s": result.sentence,
        "m": clip_line(result.message, MESSAGE_LIMIT),
        "r": result.reason,
        "d": round(result.duration_ns / 1e6, 3),
        "f": place,
        "k": result.known_issue,
        "o": result.promise,
        "p": result.repro,
        "i": result.nodeid,
    }
    if result.ending is ResultEnding.CRASHED:
        words["c"] = 1
    if result.log:
        words["l"] = logs.place(result.log)
    return {name: value for name, value in words.items() if value != ""}
