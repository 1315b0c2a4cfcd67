# SPDX-License-Identifier: GPL-2.0-only
"""The pytest plug-in: records a session in the journal and writes the reports at its end.

Only one process writes: the plain pytest process, or pytest-xdist's controller.
"""

from __future__ import annotations

import os
import platform
import socket
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from _pytest.outcomes import Exit

from . import (
    checkout,
    clean_reports,
    collector,
    command,
    conclusion,
    earlier,
    hookspecs,
    merge,
    names,
    outcome,
    read_journal,
)
from .hosts import INPUT, HostDescription, Hosts, description, in_each_mode
from .journal import HOST, VERSION, Journal, JournalError, Sync
from .late_warnings import LateWarnings
from .live import LiveLine, wanted
from .lock import Held, Lock
from .model import Run, Verdict, exit_status
from .signals import Signals, leave_to_controller

USAGE = 2
"""Exit status where what the user wants is not available; pytest's own 4 means "nothing ran" here."""

_JUDGED = (
    pytest.ExitCode.OK,
    pytest.ExitCode.TESTS_FAILED,
    pytest.ExitCode.INTERRUPTED,
    pytest.ExitCode.NO_TESTS_COLLECTED,
)
"""What pytest says of a session whose results say more; its other statuses are its own trouble."""

_LOOKS_ONLY = ("collectonly", "promises", "showfixtures", "show_fixtures_per_test", "setupplan")


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """The reporter's options on the command line."""

    report_dir: Path | None
    journal: Path | None
    sync: Sync
    checkout: Path | None

    @classmethod
    def of(cls, config: pytest.Config) -> ReportOptions:
        """Return the options of *config*; relative paths start where pytest was started."""
        here = config.invocation_params.dir
        report_dir = here / config.option.report_dir if config.option.report_dir else None
        journal = here / config.option.journal if config.option.journal else None
        if journal is None and report_dir is not None:
            journal = report_dir / "journal.jsonl"
        checkout = here / config.option.checkout if config.option.checkout else None
        return cls(report_dir, journal, Sync(config.option.journal_sync), checkout)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the reporter."""
    group = parser.getgroup("reports", "journal and reports")
    group.addoption("--report-dir", metavar="DIR", help="write the journal and all reports into DIR")
    group.addoption(
        "--journal", metavar="FILE", help="write the journal to FILE (default: journal.jsonl in --report-dir)"
    )
    group.addoption(
        "--journal-sync",
        choices=[sync.value for sync in Sync],
        default=Sync.SECOND.value,
        help="when the disk has the journal: before each test, at most once a second, or as the kernel likes",
    )
    group.addoption(
        "--checkout",
        metavar="FILE",
        help="where the kernels under test come from, for kcidb.json (docs/ci.md)",
    )


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the hook pytest_kvm_targets."""
    pluginmanager.add_hookspecs(hookspecs)


def pytest_configure(config: pytest.Config) -> None:
    """Start the recorder where this process is the one that writes."""
    looks_only = any(getattr(config.option, name, False) for name in _LOOKS_ONLY)
    if INPUT in getattr(config, "workerinput", {}):
        config.pluginmanager.register(HostDescription(config, _host_facts()), "kvm-host")
    config.pluginmanager.register(LateWarnings(), "kvm-late-warnings")
    config.pluginmanager.register(clean_reports, "kvm-clean-reports")
    if hasattr(config, "workerinput"):
        leave_to_controller()
    elif not looks_only:
        config.pluginmanager.register(SessionRecorder(config, ReportOptions.of(config)), "kvm-recorder")


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
        self._pending: dict[tuple[str, str], list[pytest.TestReport]] = {}
        self._judged: dict[Any, tuple[str, str]] = {}  # by worker, the test that had its result last
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
                facts=_host_facts(),
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
        self._go_live()

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
        # With several workers the same test may run in more than one at a time.
        worker = getattr(report, "node", None)
        key = ("" if worker is None else worker.workerinput["workerid"], report.nodeid)
        if report.when == outcome.LOST_WORKER and key == self._judged.get(worker):
            return  # It died between two tests: pytest-xdist blames the last one, which has its result.
        reports = self._pending.setdefault(key, [])
        reports.append(report)
        where = self._where(self.hosts, worker, report) if self.hosts is not None else {}
        if report.when in ("teardown", outcome.LOST_WORKER):
            del self._pending[key]
            self._judged[worker] = key
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

    def _go_live(self) -> None:
        environment = os.environ
        is_terminal = sys.stdout.isatty() and self.config.option.verbose == 0
        reporter = self.config.pluginmanager.get_plugin("terminalreporter")
        if self._wanted() and reporter is not None and wanted(environment, is_terminal=is_terminal):
            # The line takes the place of pytest's own progress: paths, letters, percentage.
            reporter.showfspath = False
            reporter._show_progress_info = False
            self.config.pluginmanager.register(NoLetters())
            self.live = LiveLine(self.config.get_terminal_writer(), environment)

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
            self._show(self.live, found.result)

    def _show(self, live: LiveLine, result: dict[str, Any]) -> None:
        name = names.kernel_name(result["nodeid"], result["target"])
        subject = result.get("subject") or names.subject_of(result["nodeid"])
        where = f"{result['target']} {subject} {name}"
        strict = bool(result.get("strict"))
        live.result(
            result["nodeid"], where, Verdict(result["verdict"]), result.get("message", ""), strict=strict
        )

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


class NoLetters:
    """Leaves pytest's letters out where the live line shows more; called for every phase of a test."""

    @pytest.hookimpl(wrapper=True)
    def pytest_report_teststatus(self) -> Generator[None, Any, Any]:
        """Return only the category, which pytest counts."""
        category, _, _ = yield
        return category, "", ""


def _host_facts() -> dict[str, str]:
    return {
        "kernel": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "pytest": pytest.__version__,
    }
