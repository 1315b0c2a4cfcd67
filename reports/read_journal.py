# SPDX-License-Identifier: GPL-2.0-only
"""Journals back into the model, however they ended.

A journal may be cut anywhere, hold torn or foreign lines, or be several journals one after
the other. What was recorded is kept: a test that had started when the journal broke off is
the crashed one, collected tests whose turn never came are not run.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from . import collector, merge, names
from .journal import VERSION
from .model import LOCAL, Ending, Fact, Figure, Line, Number, Result, Run, Sample, Session, Target, Verdict
from .text import TEXT_LIMIT, clean, clip, one_line

Record = Mapping[str, Any]

PROBLEMS_SHOWN = 20
"""Unreadable lines named one by one for each journal; the rest are counted."""

FIGURES = ("mean", "sd", "p50", "p95", "p99", "p99.9", "min", "max")
"""What tables show of a series."""

MIN_HZ, MAX_HZ = 1, 10**15
"""Counters have a frequency: ticks of anything else have no length."""

_START = b'{"type":"start",'
_MACHINE = b'"machine":'
_DECODE = json.JSONDecoder().decode
_VERDICTS = {verdict.value: verdict for verdict in Verdict}

NOT_RUN = "not run"
INTERRUPTED = "interrupted while it ran"
CRASHED = "the run ended while this test was running"


def read(paths: Sequence[Path]) -> Run:
    """Return what all journals in *paths* say, merged; OSError if one cannot be opened."""
    with collector.paused():
        runs: list[Run] = []
        for path in paths:
            with path.open("rb") as lines:
                runs.extend(parse(lines, str(path)))
        return merge.merge(runs)


def parse(lines: Iterable[bytes], name: str = "journal") -> list[Run]:
    """Return one run for each session in *lines*, texts cleaned. Raises nothing."""
    chapters: list[_Chapter] = []
    problems: list[str] = []
    for number, line in enumerate(lines, 1):
        if line.startswith(_START) and line.endswith(b"}\n") and chapters and _MACHINE not in line:
            chapters[-1].start_lines.append(line)
            continue
        record = _record(line)
        if record is None:
            if line.strip():
                problems.append(f"{name}:{number}: not a complete record, left out")
            continue
        if record["type"] == "session" or not chapters:
            chapters.append(_Chapter())
        complaint = chapters[-1].of_machine(record).take(record)
        if complaint:
            problems.append(f"{name}:{number}: {complaint}")
    if not chapters:
        problems.append(f"{name}: holds no journal record")
    if len(problems) > PROBLEMS_SHOWN:
        problems[PROBLEMS_SHOWN:] = [f"{name}: {len(problems) - PROBLEMS_SHOWN} more lines left out"]
    runs = [run for chapter in chapters for run in chapter.runs()] or [Run()]
    return [*runs[:-1], Run(runs[-1].sessions, runs[-1].targets, runs[-1].results, tuple(problems))]


@dataclass(slots=True)
class _Chapter:
    """One session while its records come in."""

    session: Session = field(default_factory=Session)
    version: int = VERSION
    targets: dict[str, Target] = field(default_factory=dict)
    collected: dict[str, None] = field(default_factory=dict)
    start_lines: list[bytes] = field(default_factory=list)
    started: dict[str, int] = field(default_factory=dict)
    results: dict[tuple[str, str], Result] = field(default_factory=dict)
    samples: dict[tuple[str, str], list[Sample]] = field(default_factory=dict)
    logs: dict[tuple[str, str], str] = field(default_factory=dict)
    strangers: set[str] = field(default_factory=set)  # files whose tests are about no target

    machines: dict[str, _Chapter] = field(default_factory=dict)

    def of_machine(self, record: Record) -> _Chapter:
        """Return the part of this session that *record* belongs to: its machine's, if it names one."""
        name = "" if record["type"] == "session" else _word(record, "machine")
        if not name:
            return self
        if name not in self.machines:
            session = Session(name, started_ns=self.session.started_ns)
            self.machines[name] = _Chapter(session, self.version)
        return self.machines[name]

    def runs(self) -> list[Run]:
        """Return the run of this session, and behind it one of each of its machines, by their names.

        Which of them reported first is chance, and no matter of reports.
        """
        return [self.run(), *(machine.run() for _, machine in sorted(self.machines.items()))]

    def take(self, record: Record) -> str:
        """Add *record*; return what is wrong with it, or nothing."""
        kind = record["type"]
        if kind == "session":
            return self._session(record)
        take = _TAKERS.get(kind) if self.version == VERSION else None
        return take(self, record) or "" if take else ""

    def run(self) -> Run:
        """Return all of the session, tests in collection order, none of them missing."""
        seen = {nodeid for nodeid, _ in self.results}
        if not (self.session.complete and self.collected.keys() <= seen):
            self._read_starts()
        self.strangers = {_file(nodeid) for nodeid, target in self.results if target == LOCAL}
        lost = dict.fromkeys(id_ for id_ in (*self.collected, *self.started) if id_ not in seen)
        results = [*self.results.values(), *map(self._missing, lost)]
        # What was never collected, a module that cannot be imported for one, comes last.
        order = {nodeid: index for index, nodeid in enumerate(self.collected)}
        known = [result for result in results if result.nodeid in order]
        others = [result for result in results if result.nodeid not in order]
        known.sort(key=lambda result: order[result.nodeid])
        others.sort(key=lambda result: (result.nodeid, result.target))
        results = [*known, *others]
        for name in dict.fromkeys(result.target for result in results):
            self.targets.setdefault(name, Target(name))
        sessions = (self.session,) if self.version == VERSION else ()
        return Run(sessions, tuple(self.targets.values()), tuple(merge.ordered(results, self.targets)))

    def _session(self, record: Record) -> str:
        self.version = _integer(record, "version")
        self.session = Session(_line(record, "machine"), _facts(record), _integer(record, "time_ns"))
        if self.version != VERSION:
            return f"schema version {self.version} is not {VERSION}: its session is left out"
        return ""

    def _start(self, record: Record) -> None:
        self.started[self._nodeid(record)] = _integer(record, "time_ns")

    def _read_starts(self) -> None:
        """Read the start records: only tests without a result need theirs, so this waits."""
        for line in self.start_lines:
            record = _record(line)
            if record is not None:
                self._start(record)

    def _nodeid(self, record: Record) -> str:
        raw = record.get("nodeid")
        # Nearly always one that the collection record has brought, and that is clean.
        return raw if isinstance(raw, str) and raw in self.collected else _line(record, "nodeid")

    def _collection(self, record: Record) -> None:
        self.collected.update(dict.fromkeys(_nodeids(record)))

    def _sample(self, record: Record) -> None:
        self.samples.setdefault(self._key(record), []).append(_sample(record))

    def _key(self, record: Record) -> tuple[str, str]:
        nodeid = self._nodeid(record)
        target = _word(record, "target") or names.target_of(nodeid, tuple(self.targets))
        return nodeid, sys.intern(target)

    def _target(self, record: Record) -> str:
        name = _line(record, "name")
        if not name:
            return "a target without a name, left out"
        self.targets[name] = Target(
            name=name,
            kind=_line(record, "kind") or "host",
            arch=_line(record, "arch"),
            mode=_line(record, "mode"),
            generation=_line(record, "generation"),
            simulated=bool(record.get("simulated")),
            usable=bool(record.get("usable", True)),
            reason=_line(record, "reason"),
            facts=_facts(record),
        )
        return ""

    def _result(self, record: Record) -> str:
        key = nodeid, target = self._key(record)
        verdict = _verdict(record)
        if not nodeid or verdict is None:
            return "a result without node id or verdict, left out"
        self.results[key] = Result(
            nodeid=nodeid,
            name=names.kernel_name(nodeid, target),
            target=target,
            subject=_subject(_word(record, "subject")) or names.subject_of(nodeid),
            verdict=verdict,
            ending=Ending.CRASHED if record.get("ending") == "crashed" else Ending.FINISHED,
            message=_line(record, "message"),
            reason=_word(record, "reason"),
            log=self.logs.pop(key, ""),
            start_ns=_integer(record, "start_ns"),
            duration_ns=max(0, _integer(record, "duration_ns")),
            file=_word(record, "file"),
            line=max(0, _integer(record, "line")),
            known_issue=_word(record, "known_issue"),
            repro=_line(record, "repro"),
            samples=tuple(self.samples.pop(key, ())),
        )
        return ""

    def _missing(self, nodeid: str) -> Result:
        about_none = _file(nodeid) in self.strangers
        target = LOCAL if about_none else names.target_of(nodeid, tuple(self.targets))
        crashed = nodeid in self.started and not self.session.complete
        reason = INTERRUPTED if nodeid in self.started else NOT_RUN
        return Result(
            nodeid=nodeid,
            name=names.kernel_name(nodeid, target),
            target=target,
            subject=names.subject_of(nodeid),
            verdict=Verdict.ERROR if crashed else Verdict.SKIP,
            ending=Ending.CRASHED if crashed else Ending.NOT_RUN,
            message=CRASHED if crashed else "",
            reason="" if crashed else reason,
            log=self.logs.pop((nodeid, target), ""),
            start_ns=self.started.get(nodeid, 0),
            samples=tuple(self.samples.pop((nodeid, target), ())),
        )

    def _log(self, record: Record) -> None:
        key = self._key(record)
        before = self.logs.get(key, "")
        self.logs[key] = clip(before + clean(_raw(record, "text")), TEXT_LIMIT)

    def _machine(self, record: Record) -> None:
        self.session = Session(self.session.machine, _facts(record), self.session.started_ns)

    def _end(self, record: Record) -> None:
        for machine in self.machines.values():
            machine._end(record)
        self.session = Session(
            self.session.machine,
            self.session.facts,
            self.session.started_ns,
            _integer(record, "time_ns"),
            _integer(record, "exit_status"),
            _line(record, "stopped"),
        )


_TAKERS: dict[str, Callable[[_Chapter, Record], str | None]] = {
    "target": _Chapter._target,
    "collection": _Chapter._collection,
    "start": _Chapter._start,
    "sample": _Chapter._sample,
    "log": _Chapter._log,
    "result": _Chapter._result,
    "machine": _Chapter._machine,
    "end": _Chapter._end,
}


def _file(nodeid: str) -> str:
    return nodeid.partition("::")[0]


def _record(line: bytes) -> Record | None:
    try:
        record = _DECODE(line.decode())
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or not isinstance(record.get("type"), str):
        return None
    return record


def _raw(record: Record, key: str) -> str:
    value = record.get(key)
    return value if isinstance(value, str) else ""


def _line(record: Record, key: str) -> str:
    value = record.get(key)
    return one_line(value) if value and isinstance(value, str) else ""


def _word(record: Record, key: str) -> str:
    """Return a text that comes again and again, the same object each time."""
    value = record.get(key)
    return _cleaned(value) if value and isinstance(value, str) else ""


@lru_cache(maxsize=4096)
def _cleaned(text: str) -> str:
    return one_line(text)


@lru_cache(maxsize=4096)
def _subject(text: str) -> str:
    return names.slug(text) if text else ""


def _nodeids(record: Record) -> list[str]:
    value = record.get("nodeids")
    if not isinstance(value, list):
        return []
    return [one_line(nodeid) for nodeid in value if isinstance(nodeid, str)]


def _integer(record: Record, key: str) -> int:
    value = record.get(key)
    return value if isinstance(value, int) and abs(value) < 1 << 63 else 0


def _verdict(record: Record) -> Verdict | None:
    value = record.get("verdict")
    return _VERDICTS.get(value) if isinstance(value, str) else None


def _facts(record: Record) -> tuple[tuple[str, Fact], ...]:
    facts = record.get("facts")
    if not isinstance(facts, dict):
        return ()
    return tuple((one_line(str(name)), _fact(value)) for name, value in facts.items())


def _fact(value: object) -> Fact:
    if isinstance(value, bool | int):
        return value
    return one_line(value if isinstance(value, str) else json.dumps(value))


def _numbers(value: object) -> tuple[Number, ...]:
    if not isinstance(value, list):
        return ()
    numbers = (item for item in value if isinstance(item, int | float) and not isinstance(item, bool))
    # Comparing leaves out NaN and infinities, and takes integers of any length.
    return tuple(item for item in numbers if -1e300 < item < 1e300)


def _cells(row: object) -> tuple[Number | str, ...]:
    if not isinstance(row, list):
        return ()
    return tuple(one_line(cell) if isinstance(cell, str) else cell for cell in row if _is_cell(cell))


def _is_cell(cell: object) -> bool:
    if isinstance(cell, int | float) and not isinstance(cell, bool):
        return -1e300 < cell < 1e300
    return isinstance(cell, str)


def _sample(record: Record) -> Sample:
    columns, rows = record.get("columns"), record.get("rows")
    heads = tuple(one_line(str(head)) for head in columns) if isinstance(columns, list) else ()
    readings = (_cells(row) for row in rows) if isinstance(rows, list) else ()
    (hz,) = _numbers([record.get("hz")]) or (0,)
    (empty_ticks,) = _numbers([record.get("empty_ticks")]) or (None,)
    line = _numbers(record.get("line"))
    return Sample(
        metric=_line(record, "metric") or "unnamed",
        variant=_line(record, "variant"),
        unit=_line(record, "unit") or "ns",
        values=_numbers(record.get("values")),
        columns=heads,
        rows=tuple(row for row in readings if len(row) == len(heads)),
        note=_line(record, "note"),
        count=max(0, _integer(record, "count")),
        hz=hz if MIN_HZ <= hz <= MAX_HZ else 0,
        empty_ticks=empty_ticks,
        figures=_figures(record.get("figures")) if MIN_HZ <= hz <= MAX_HZ else (),
        line=Line(*line) if len(line) == 3 else None,
    )


def _figures(value: object) -> tuple[tuple[str, Figure], ...]:
    """Return the figures of a series: all that tables show, or none."""
    if not isinstance(value, dict):
        return ()
    found = {name: _numbers(value.get(name)) for name in FIGURES}
    if any(len(ends) != 3 for ends in found.values()):
        return ()
    return tuple((name, Figure(*ends)) for name, ends in found.items())
