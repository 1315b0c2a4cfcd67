# SPDX-License-Identifier: GPL-2.0-only
"""Records a pytest session in the journal, and writes the reports at its end."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from _pytest.outcomes import Exit

from . import (
    checkout,
    collector,
    command,
    conclusion,
    earlier,
    merge,
    outcome,
    progress,
    read_journal,
)
from .hosts import INPUT, Hosts, description, host_facts, in_each_mode
from .journal import HOST, VERSION, Journal, JournalError
from .live import LiveLine
from .lock import Held, Lock
from .model import Run, exit_status
from .options import ReportOptions
from .phases import Phases, worker_of
from .signals import Signals

USAGE = 2
"""Exit status where what the user wants is not available; pytest's own 4 means "nothing ran" here."""

_JUDGED = (
    pytest.ExitCode.OK,
    pytest.ExitCode.TESTS_FAILED,
    pytest.ExitCode.INTERRUPTED,
    pytest.ExitCode.NO_TESTS_COLLECTED,
)
"""What pytest says of a session whose results say more; its other statuses are its own trouble."""


class SessionRecorder:
    """Records a session in the journal, from its start to its reports."""

    def __init__(self, config: pytest.Config, options: ReportOptions) -> None:
        self.config = config
        self.options = options
        self.journal: Journal | None = None
        self.targets: list[str] = []
        self.command = command.PytestCommand()
        self.run = Run()
        self.facts = checkout.NOTHING_KNOWN
        self.written: list[Path] = []
        self.trouble = ""
        self.raised: BaseException | None = None
        self.signals = Signals()
        self.live: LiveLine | None = None
        self.hosts = Hosts() if in_each_mode(config) else None
        self._phases = Phases()
        self._collected = False
        self._uncollected: set[str] = set()

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Collect the targets and open the journal, or end the session with one sentence."""
        self.command = command.of(self.config)
        self.signals.install(lambda words: setattr(session, "shouldstop", words))
        try:
            if self.options.checkout is not None:
                self.facts = checkout.read(self.options.checkout)
            targets: list[dict[str, Any]] = self.config.hook.pytest_kvm_targets(config=self.config) or []
            self.targets = [target["name"] for target in targets]
            if self.options.report_dir is not None:
                # Until the very end: whatever else writes there does so before pytest unconfigures.
                self.config.add_cleanup(Lock(self.options.report_dir).release)
            earlier.clear(self.options.report_dir, self.options.journal)
            self.journal = Journal(self.options.journal, self.options.sync)
            self.journal.write(
                "session",
                version=VERSION,
                time_ns=time.time_ns(),
                host=socket.gethostname(),
                facts=host_facts(),
                command=self.command.words,
                options=self.command.options,
            )
            for target in targets if self.hosts is None else ():
                self.journal.write("target", **target)
            if self.journal.trouble:
                raise JournalError(self.journal.trouble)
        except (
            Held,
            JournalError,
            checkout.CheckoutError,
            earlier.EarlierError,
            pytest.UsageError,
        ) as error:
            raise NotStarted(str(error), USAGE) from None
        if self._wanted():
            self.live = progress.go_live(self.config)

    def pytest_kvm_target_found(self, target: dict[str, Any]) -> None:
        """Record what is known of a target only now; the later record counts."""
        self._opened().write("target", **target)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Record what will run."""
        self._collection([item.nodeid for item in session.items])

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Request the description of its host from a worker, where each has its own."""
        if self.hosts is not None:
            node.workerinput[INPUT] = self.hosts.name(node)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: Sequence[str]) -> None:
        """Record what will run: of workers on one host, which collect the same, what the first reports."""
        if self.hosts is None:
            self._collection(list(ids))
        elif self.hosts.collected(node, ids):
            self._collected = False
            self._collection(list(ids), **{HOST: self.hosts.name(node)})

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Record a module that cannot be collected, once however many workers say so."""
        if report.outcome != "passed" and report.nodeid not in self._uncollected:
            self._uncollected.add(report.nodeid)
            self._record(outcome.collection_failure(report, self.command))

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Record that a test is about to run."""
        host = self.hosts.starts(nodeid) if self.hosts is not None else ""
        self._opened().start(nodeid, time.time_ns(), host)
        if self.live is not None:
            self.live.start(nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the report of one phase; the last one makes the result."""
        worker = worker_of(report)
        reports = self._phases.add(report)
        where = self._where(self.hosts, worker, report) if self.hosts is not None else {}
        if reports:
            if self.hosts is not None:
                self.hosts.ended(worker, report.nodeid)
            self._record(outcome.judge(reports, self.targets, self.command), where)

    @pytest.hookimpl(tryfirst=True)
    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Keep why pytest stops early; from now on no signal disturbs the end."""
        self.signals.deaf = True
        self.raised = excinfo.value

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> Generator[None, Any, Any]:
        """Close the journal, write the reports, and say with the exit status what they say."""
        self.signals.ending()
        if self.live is not None:
            self.live.close()
        if self.journal is not None:
            with collector.paused():
                self._finish(session, int(exitstatus))
        return (yield)

    def pytest_unconfigure(self) -> None:
        """Restore the handlers of signals."""
        self.signals.restore()

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the summary by target and where the reports are."""
        # Imported here, as the writers below: workers, and lab hosts that only send
        # their journal, need no tables and no templates.
        from . import summary

        if self._wanted() and self.run.results:
            if measured := summary.benchmarks(self.run):
                terminalreporter.section("benchmarks")
                for line in measured:
                    terminalreporter.line(line)
            terminalreporter.section("summary by target")
            for line in summary.lines(self.run):
                terminalreporter.line(line)
        if self.written and self.options.report_dir is not None:
            folder = self.options.report_dir
            where = os.path.relpath(folder, self.config.invocation_params.dir)
            terminalreporter.line(f"reports in {where}/: {summary.places(self.written, folder)}")
        if self.trouble:
            terminalreporter.line(self.trouble, red=True)

    def _opened(self) -> Journal:
        assert self.journal is not None, "pytest_sessionstart opens the journal"
        return self.journal

    def _wanted(self) -> bool:
        """Whether this session is about targets or writes reports: otherwise pytest behaves as always."""
        return bool(self.targets or self.options.journal)

    def _where(self, hosts: Hosts, worker: Any, report: pytest.TestReport) -> dict[str, str]:
        """Return the fields that name the host of *report*, once its description is written."""
        where = {HOST: hosts.name(worker)}
        found = description(report)
        if found is not None:
            journal = self._opened()
            journal.write(HOST, facts=found["facts"], **where)
            for target in found["targets"]:
                journal.write("target", **target, **where)
        return where

    def _collection(self, nodeids: list[str], **where: str) -> None:
        if nodeids and not self._collected:
            self._collected = True
            if self.live is not None:
                self.live.total += len(nodeids)
            self._opened().collection(nodeids, **where)

    def _record(self, found: outcome.OutcomeRecords, where: Mapping[str, str] = MappingProxyType({})) -> None:
        journal = self._opened()
        if found.samples or found.log:
            key = {"nodeid": found.result["nodeid"], "target": found.result["target"], **where}
            for sample in found.samples:
                journal.write("sample", **{**sample, **key})
            if found.log:
                journal.write("log", **key, text=found.log)
        journal.result({**found.result, **where} if where else found.result)
        if self.live is not None:
            progress.show(self.live, found.result)

    def _finish(self, session: pytest.Session, status: int) -> None:
        journal = self._opened()
        ended = conclusion.of(session, self.raised, self.signals.words)
        status = self.signals.status or status
        journal.write(
            "end", time_ns=time.time_ns(), exit_status=status, stopped=ended.stopped, limited=ended.limited
        )
        journal.restore()
        self.run = merge.merge(read_journal.parse(journal.read(), "this session"))
        journal.close()
        self.trouble = journal.trouble
        if not self._wanted():
            return
        if self.signals.status:
            session.exitstatus = self.signals.status
        elif not ended.interrupted and status in _JUDGED and self.run.results:
            session.exitstatus = exit_status(self.run.results)
        if self.options.report_dir is not None:
            self._write_reports(self.options.report_dir)
        if self.trouble and not ended.interrupted:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _write_reports(self, folder: Path) -> None:
        from .files import write_reports
        from .whole_file import ReportError

        try:
            self.written = write_reports(self.run, folder, facts=self.facts)
        except ReportError as error:
            self.trouble = str(error)


class NotStarted(Exit):
    """The session ends before its first test; *msg* is one sentence for the user.

    pytest prints *msg*, and then the exception once more as the reason why it stopped.
    """

    def __str__(self) -> str:
        """Return what remains to be said."""
        return "no test ran"
