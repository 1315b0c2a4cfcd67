# SPDX-License-Identifier: GPL-2.0-only
"""One session of a journal while its records come in: which tests have results, and what the others are."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from . import merge, names, records
from .command import PytestCommand
from .journal import HOST, OLD_HOST, VERSION
from .model import FORMER_LOCAL, LOCAL, ReportTarget, Result, ResultEnding, Run, Sample, Session, Verdict
from .records import Record, integer, word
from .text import TEXT_LIMIT, clean, clip, cut_line

# What pytest says where -x or --maxfail ends a session: older journals have nothing else.
_LIMITED = re.compile(r"stopping after \d+ failures")

NOT_RUN = "its turn never came"
INTERRUPTED = "interrupted while it ran"
CRASHED = "the run ended while this test was running"


@dataclass(slots=True)
class Chapter:
    """One session while its records come in."""

    session: Session = field(default_factory=Session)
    version: int = VERSION
    command: PytestCommand = field(default_factory=lambda: PytestCommand(()))
    targets: dict[str, ReportTarget] = field(default_factory=dict)
    collected: dict[str, None] = field(default_factory=dict)
    start_lines: list[bytes] = field(default_factory=list)
    started: dict[str, int] = field(default_factory=dict)
    results: dict[tuple[str, str], Result] = field(default_factory=dict)
    samples: dict[tuple[str, str], list[Sample]] = field(default_factory=dict)
    logs: dict[tuple[str, str], str] = field(default_factory=dict)
    strangers: set[str] = field(default_factory=set)  # files whose tests are about no target

    hosts: dict[str, Chapter] = field(default_factory=dict)

    def of_host(self, record: Record) -> Chapter:
        """Return the part of this session that *record* belongs to: its host's, if it names one."""
        name = "" if record["type"] == "session" else word(record, _host_field(record))
        if not name:
            return self
        if name not in self.hosts:
            session = Session(name, started_ns=self.session.started_ns)
            self.hosts[name] = Chapter(session, self.version, self.command)
        return self.hosts[name]

    def runs(self) -> list[Run]:
        """Return the run of this session, then one of each of its hosts, sorted by name.

        Which of them reported first is chance, and reports do not depend on it.
        """
        return [self.run(), *(host.run() for _, host in sorted(self.hosts.items()))]

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
            self.targets.setdefault(name, ReportTarget(name))
        missing = sum(result.verdict is Verdict.NOT_RUN for result in results)
        sessions = (replace(self.session, missing=missing),) if self.version == VERSION else ()
        return Run(sessions, tuple(self.targets.values()), tuple(merge.ordered(results, self.targets)))

    def _session(self, record: Record) -> str:
        self.version = integer(record, "version")
        self.session = Session(
            records.line(record, _host_field(record)), records.facts(record), integer(record, "time_ns")
        )
        self.command = PytestCommand(records.words(record, "command"), records.words(record, "options"))
        if self.version != VERSION:
            return f"schema version {self.version} is not {VERSION}: its session is left out"
        return ""

    def _start(self, record: Record) -> None:
        self.started[self._nodeid(record)] = integer(record, "time_ns")

    def _read_starts(self) -> None:
        """Read the start records: only tests without a result need theirs, so this waits."""
        for line in self.start_lines:
            record = records.decoded(line)
            if record is not None:
                self._start(record)

    def _nodeid(self, record: Record) -> str:
        raw = record.get("nodeid")
        # Nearly always one that the collection record has brought, and that is clean.
        return raw if isinstance(raw, str) and raw in self.collected else records.line(record, "nodeid")

    def _collection(self, record: Record) -> None:
        self.collected.update(dict.fromkeys(records.nodeids(record)))

    def _sample(self, record: Record) -> None:
        key = self._key(record, word(record, "target"))
        self.samples.setdefault(key, []).append(records.sample(record))

    def _key(self, record: Record, target: str) -> tuple[str, str]:
        """Return what *record* is about; where it names no *target*, the node id decides."""
        nodeid = self._nodeid(record)
        if target == FORMER_LOCAL and target not in self.targets:
            target = LOCAL
        return nodeid, target or names.target_of(nodeid, tuple(self.targets))

    def _target(self, record: Record) -> str:
        name = records.line(record, "name")
        if not name:
            return "a target without a name, left out"
        self.targets[name] = ReportTarget(
            name=name,
            kind=records.line(record, "kind") or "host",
            arch=records.line(record, "arch"),
            mode=records.line(record, "mode"),
            generation=records.line(record, "generation"),
            simulated=bool(record.get("simulated")),
            usable=bool(record.get("usable", True)),
            reason=records.line(record, "reason"),
            no_programs=records.line(record, "no_programs"),
            facts=records.facts(record),
        )
        return ""

    def _result(self, record: Record) -> str:
        named, subject, verdict, file = records.place(record)
        key = nodeid, target = self._key(record, named)
        if not nodeid or verdict is None:
            return "a result without node id or verdict, left out"
        said = records.said(record)
        log = self.logs.pop(key, "")
        for each in ("message", "reason") if said else ():
            said[each], log = cut_line(said[each], log)
        self.results[key] = Result(
            nodeid=nodeid,
            name=names.kernel_name(nodeid, target),
            target=target,
            subject=subject or names.subject_of(nodeid),
            verdict=verdict,
            ending=_ending(record, verdict),
            log=log,
            start_ns=integer(record, "start_ns"),
            duration_ns=max(0, integer(record, "duration_ns")),
            file=file,
            line=max(0, integer(record, "line")),
            strict=record.get("strict") is True,
            samples=tuple(self.samples.pop(key, ())),
            **said,
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
            verdict=Verdict.ERROR if crashed else Verdict.NOT_RUN,
            ending=ResultEnding.CRASHED if crashed else ResultEnding.NOT_RUN,
            message=CRASHED if crashed else "",
            reason="" if crashed else reason,
            repro=self.command.line(nodeid, target) if crashed and self.command.words else "",
            log=self.logs.pop((nodeid, target), ""),
            start_ns=self.started.get(nodeid, 0),
            samples=tuple(self.samples.pop((nodeid, target), ())),
        )

    def _log(self, record: Record) -> None:
        key = self._key(record, word(record, "target"))
        before = self.logs.get(key, "")
        self.logs[key] = clip(before + clean(records.raw(record, "text")), TEXT_LIMIT)

    def _host(self, record: Record) -> None:
        self.session = Session(self.session.host, records.facts(record), self.session.started_ns)

    def _end(self, record: Record) -> None:
        for host in self.hosts.values():
            host._end(record)
        self.session = Session(
            self.session.host,
            self.session.facts,
            self.session.started_ns,
            integer(record, "time_ns"),
            integer(record, "exit_status"),
            records.line(record, "stopped"),
            bool(record.get("limited")) or _LIMITED.match(records.line(record, "stopped")) is not None,
        )


_TAKERS: dict[str, Callable[[Chapter, Record], str | None]] = {
    "target": Chapter._target,
    "collection": Chapter._collection,
    "start": Chapter._start,
    "sample": Chapter._sample,
    "log": Chapter._log,
    "result": Chapter._result,
    HOST: Chapter._host,
    OLD_HOST: Chapter._host,
    "end": Chapter._end,
}


def _ending(record: Record, verdict: Verdict) -> ResultEnding:
    if verdict is Verdict.NOT_RUN:
        return ResultEnding.NOT_RUN
    return ResultEnding.CRASHED if record.get("ending") == "crashed" else ResultEnding.FINISHED


def _host_field(record: Record) -> str:
    return HOST if HOST in record else OLD_HOST


def _file(nodeid: str) -> str:
    return nodeid.partition("::")[0]
