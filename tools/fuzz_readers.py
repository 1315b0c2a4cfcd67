# SPDX-License-Identifier: GPL-2.0-only
"""Files of results that were cut, repeated, reordered, mixed or spoilt, for each reader of them.

A reader returns a model or raises its documented error, never another exception; and every writer
can write what a reader returned.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from fixtures.lab.mailbox import Mailbox
from fixtures.lab.progress import Progress
from fixtures.lab.records import revive
from fixtures.lab.timing import PHASES
from reports import (
    compare,
    compare_lines,
    defects,
    html_defects,
    merge,
    outcome,
    read_journal,
    read_ktap,
    records,
    summary,
)
from reports.files import FAMILIES, WRITERS
from reports.html import page
from reports.model import Run, Verdict
from tools import fuzz_inputs, lint_ktap

Reader = Callable[[random.Random, "ReaderCounts"], None]

MOST_EDITS = 6
DEEP = 100_000  # levels of JSON: more than any recursion limit
WORDS = (
    "\x1b[31m", "\0", "\ud800", "]]>", "</script>", " # SKIP ", "not ok 1 -", "ok 2 # SKIP", "1..7",
    "1..999999999", "TAP version 13", "KTAP version 1", "Bail out!", "# Subtest: x", "    ", "# ", "\r",
    "\u2028", "=1+1", "|",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, -1, 2**63, 2**64, 10**400, 1e308, float("inf"), float("nan"), "", "x" * 5000, [], {}, [[]],
    {"a": {"b": []}}, ["a", 1, None], "\ud800", -(2**63), 0.5,
)  # fmt: skip


@dataclass(slots=True)
class ReaderCounts:
    """How many files were read, and what the readers found in them."""

    files: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    results: int = 0
    problems: int = 0
    written: int = 0  # files whose results went through every writer


def read_one(name: str, seed: int, counts: ReaderCounts) -> None:
    """Have the reader *name* read the files of *seed*; raises any exception that it may not raise."""
    chance = random.Random(f"{name} {seed}")  # noqa: S311 - repeatable, not secret
    READERS[name](chance, counts)
    counts.files += 1


def _journal(chance: random.Random, counts: ReaderCounts) -> None:
    lines = spoilt(chance, [_encoded(chance, record) for record in _records(chance)])
    run = merge.merge(read_journal.parse(lines))
    other = merge.merge(read_journal.parse(spoilt(chance, lines)))
    _use(chance, run, counts)
    list(compare_lines.lines(compare.compare(other, run)))
    list(summary.benchmarks(run))


def _ktap(chance: random.Random, counts: ReaderCounts) -> None:
    run = merge.merge(read_journal.parse([_encoded(chance, record) for record in _records(chance)]))
    whole = "".join(WRITERS[chance.choice(("results.ktap", "results.tap"))](run))
    text = b"".join(spoilt(chance, whole.encode("utf-8", "replace").splitlines(keepends=True)))
    decoded = text.decode("utf-8", "surrogateescape" if chance.randrange(2) else "replace")
    _use(chance, read_ktap.parse(decoded), counts)
    list(lint_ktap.lines("fuzz", lint_ktap.lint(decoded)))


def _defects(chance: random.Random, counts: ReaderCounts) -> None:
    record = {"version": 1, "seconds": 3, "everything": False, "defects": [_defect(chance) for _ in range(3)]}
    text = b"".join(spoilt(chance, json.dumps(_swapped(chance, record), indent=1).encode().splitlines(True)))
    try:
        found = defects.parse(text)
    except defects.DefectsError:
        counts.refused["DefectsError"] += 1
        return
    counts.results += len(found.defects)
    "".join(html_defects.page(found))


def _input(read: Callable[[random.Random, fuzz_inputs.Spoil], int]) -> Reader:
    def reader(chance: random.Random, counts: ReaderCounts) -> None:
        try:
            counts.results += read(chance, spoilt)
        except fuzz_inputs.Refused as refused:
            counts.refused[str(refused)] += 1

    return reader


def _lab_host(chance: random.Random, counts: ReaderCounts) -> None:
    ids = [f"kvmtests/x86/test_clock.py::test_{number}[lab-a]" for number in range(chance.randrange(1, 8))]
    lines = spoilt(chance, [_encoded(chance, _swapped(chance, each)) for each in _lab_records(chance, ids)])
    progress, mailbox = Progress(asked=frozenset(ids)), Mailbox()
    for line in lines:
        progress.take(line, mailbox)
    progress.settle(mailbox)
    progress.close(mailbox)
    counts.problems += progress.left_out
    for nodeid in progress.finished:
        judged = mailbox.wait(nodeid)
        reports = [revive(data) for data in judged.reports]
        if judged.loss is None:
            counts.results += 1
            outcome.judge(reports, ["lab-a"])
        "".join(str(report.longrepr) + repr(report.sections) for report in reports).encode("utf-8")


def _lab_records(chance: random.Random, nodeids: Sequence[str]) -> list[dict[str, Any]]:
    """Return the records of a lab host that judges *nodeids*."""
    times = {"at_s": 1.5, "now_s": 1.5}
    found: list[dict[str, Any]] = [{"type": "phase", "name": name, **times} for name in PHASES]
    found.append({"type": "hello", "target": {"name": "lab-a", "mode": "vhe", "facts": {"kernel": "6.12"}}})
    for nodeid in nodeids:
        if chance.randrange(8) == 0:
            found.append({"type": "absent", "nodeid": nodeid, "reason": chance.choice(("", "ImportError"))})
            continue
        found.append({"type": "start", "nodeid": nodeid})
        for when in ("setup", "call", "teardown"):
            data = _swapped(chance, _lab_report(chance, nodeid, when))
            found.append({"type": "report", "nodeid": nodeid, "data": data})
        found.append({"type": "finish", "nodeid": nodeid})
    if chance.randrange(4) == 0:
        found.append({"type": "trouble", "text": "Traceback\nValueError: x"})
    return [*found, {"type": "end", "exit_status": 0}]


def _lab_report(chance: random.Random, nodeid: str, when: str) -> dict[str, Any]:
    path = {"path": "x.py", "lineno": 3, "message": "1 is not 2"}
    entry = {"lines": ["> x"], "reprfuncargs": None, "reprlocals": None, "reprfileloc": path, "style": "long"}
    traceback = {"reprentries": [{"type": "ReprEntry", "data": entry}], "extraline": None, "style": "long"}
    failure = {"reprcrash": path, "reprtraceback": traceback, "sections": [], "chain": None}
    report = {
        "$report_type": "TestReport", "nodeid": nodeid, "location": ["x.py", 3, "x"], "keywords": {"x": 1},
        "outcome": "passed", "longrepr": None, "when": when, "sections": [["Captured stdout call", "x"]],
        "duration": 0.1, "start": 1.0, "stop": 1.1, "user_properties": [["verdict", "fail"], ["target", "x"]],
    }  # fmt: skip
    skip = {"outcome": "skipped", "longrepr": ["x.py", 3, "Skipped: x"]}
    return report | chance.choice(({}, {}, {"outcome": "failed", "longrepr": failure}, skip))


def _use(chance: random.Random, run: Run, counts: ReaderCounts) -> None:
    counts.results += len(run.results)
    counts.problems += len(run.problems)
    list(summary.lines(run))
    if chance.randrange(4) == 0:
        counts.written += 1
        for writer in WRITERS.values():
            "".join(writer(run)).encode("utf-8")
        "".join(page(run)).encode("utf-8")
        for family in FAMILIES.values():
            for _, lines in family(run):
                "".join(lines).encode("utf-8")


def _records(chance: random.Random) -> list[dict[str, Any]]:
    """Return the records of a session."""
    count = chance.randrange(1, 8)
    ids = [f"kvmtests/x86/test_clock.py::test_{number}[sim-a-{number}]" for number in range(count)]
    found: list[dict[str, Any]] = [
        {"type": "session", "version": 1, "host": "m", "time_ns": 1, "facts": {"kernel": "6.12"}},
        {"type": "target", "name": "sim-a", "kind": "sim", "simulated": True, "facts": {"counter_hz": 10**9}},
        {"type": "collection", "nodeids": ids},
    ]
    for number, nodeid in enumerate(ids):
        key = {"nodeid": nodeid, "target": "sim-a"}
        found.append({"type": "start", "nodeid": nodeid, "time_ns": number})
        values = [chance.random() * 100 for _ in range(chance.choice((0, 1, 5)))]
        figures = {name: [1, 0, 2] for name in records.FIGURES}
        sample = {"metric": "tsc", "variant": "native", "unit": "ns", "values": values, "hz": 10**9}
        rows = {"columns": ["a", "b"], "rows": [[1, 2]], "figures": figures, "line": [1, 2, 3]}
        found += [{"type": "sample", **key, **sample, **rows}, {"type": "log", **key, "text": "text\nok 1 x"}]
        verdict = chance.choice(list(Verdict)).value
        said = {"message": "1 is not 2", "known_issue": "x", "start_ns": 1, "duration_ns": 2, "line": 3}
        found.append({"type": "result", **key, **said, "subject": "x86.clock", "verdict": verdict})
    found.append({"type": "end", "time_ns": 2, "exit_status": 1})
    return [_swapped(chance, record) for record in found]


def _defect(chance: random.Random) -> dict[str, Any]:
    claim = "kvmtests/x86/test_clock.py::test_1"
    return _swapped(
        chance,
        {"id": "C01", "symptom": "s", "part": "clock", "variation": "V", "targets": ["sim-a"], "first": claim,
         "noticed_by": claim, "by_name": True, "first_s": 1.5, "tests": [claim], "asked": 4, "message": "m",
         "trouble": ""},
    )  # fmt: skip


def _swapped(chance: random.Random, record: dict[str, Any]) -> dict[str, Any]:
    """Return *record*, one in three times with a field of another type, without one, or with a word in it."""
    if chance.randrange(3):
        return record
    name = chance.choice(list(record))
    kind = chance.randrange(3)
    if kind == 0:
        return {key: value for key, value in record.items() if key != name}
    value = record[name]
    if kind == 1 and isinstance(value, str):
        at = chance.randrange(len(value) + 1)
        return {**record, name: value[:at] + chance.choice(WORDS) + value[at:]}
    return {**record, name: chance.choice(VALUES)}


def _encoded(chance: random.Random, record: dict[str, Any]) -> bytes:
    separators = chance.choice(((",", ":"), (", ", ": ")))
    return json.dumps(record, separators=separators).encode() + b"\n"


def spoilt(chance: random.Random, lines: Sequence[bytes]) -> list[bytes]:
    """Return *lines* after a few random edits."""
    found = list(lines)
    for _ in range(chance.randrange(MOST_EDITS)):
        found = chance.choice(_EDITS)(chance, found)
    return found


def _cut(chance: random.Random, lines: list[bytes]) -> list[bytes]:
    whole = b"".join(lines)
    return whole[: chance.randrange(len(whole) + 1)].splitlines(keepends=True)


def _repeated(chance: random.Random, lines: list[bytes]) -> list[bytes]:
    at = chance.randrange(len(lines) + 1)
    return lines[:at] + lines[max(0, at - chance.randrange(1, 9)) :]


def _shuffled(chance: random.Random, lines: list[bytes]) -> list[bytes]:
    return chance.sample(lines, len(lines))


def _bytes(chance: random.Random, lines: list[bytes]) -> list[bytes]:
    at = chance.randrange(len(lines) + 1)
    return [*lines[:at], chance.randbytes(chance.randrange(60)) + b"\n", *lines[at:]]


def _flipped(chance: random.Random, lines: list[bytes]) -> list[bytes]:
    whole = bytearray(b"".join(lines))
    for _ in range(chance.randrange(1, 20) if whole else 0):
        whole[chance.randrange(len(whole))] = chance.getrandbits(8)
    return bytes(whole).splitlines(keepends=True)


def _inserted(chance: random.Random, lines: list[bytes]) -> list[bytes]:
    whole, at = b"".join(lines), chance.randrange(len(b"".join(lines)) + 1)
    word = chance.choice(WORDS).encode("utf-8", "surrogatepass")
    return (whole[:at] + word + whole[at:]).splitlines(keepends=True)


def _deep(chance: random.Random, lines: list[bytes]) -> list[bytes]:
    opening = chance.choice((b"[", b'{"a":', b'{"type":"result","facts":[', b'{"type":"start",'))
    at = chance.randrange(len(lines) + 1)
    return [*lines[:at], opening * DEEP + b"\n", *lines[at:]]


def _huge(chance: random.Random, lines: list[bytes]) -> list[bytes]:
    digits = b"9" * chance.choice((20, 400, 5000))
    at = chance.randrange(len(lines) + 1)
    record = b'{"type":"session","version":1,"time_ns":' + digits + b',"facts":{"a":' + digits + b"}}\n"
    line = chance.choice((record, b"ok " + digits + b" x\n", b"1.." + digits + b"\n"))
    return [*lines[:at], line, *lines[at:]]


_EDITS: tuple[Callable[[random.Random, list[bytes]], list[bytes]], ...] = (
    _cut, _cut, _repeated, _shuffled, _bytes, _flipped, _inserted, _deep, _huge,
)  # fmt: skip

READERS: dict[str, Reader] = {
    "journal": _journal,
    "ktap": _ktap,
    "defects": _defects,
    "lab-records": _lab_host,
    "lab-lists": _input(fuzz_inputs.lab_lists),
    "cases": _input(fuzz_inputs.case),
    "known-issues": _input(fuzz_inputs.issues),
}
"""By the name that `python3 -m tools.fuzz readers --target` takes."""
