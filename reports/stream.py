# SPDX-License-Identifier: GPL-2.0-only
"""Results as flat TAP version 13 while they come: what a program under kselftest prints.

The plan is known after collection and stands before the first result; each line is flushed,
because the runner loses what a buffer holds when time is up. However the session ends, the
document is completed: what was planned and did not run is named, then the totals, a newline.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import pytest

from . import command, ktap, merge, outcome, read_journal
from .model import Result, ResultEnding, Verdict, exit_status


class Out(Protocol):
    """Where the lines go."""

    def write(self, text: str, /) -> object:
        """Write *text*."""
        ...

    def flush(self) -> None:
        """Send it to the reader."""
        ...


class KeptReporter:
    """A pytest plug-in that keeps what the terminal would show.

    Without a reporter other plug-ins break: pytest-timeout writes the stacks of all threads to it.
    """

    def __init__(self) -> None:
        self._file = io.StringIO()

    @property
    def text(self) -> str:
        """What pytest wrote so far."""
        return self._file.getvalue()

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Replace pytest's reporter by one that writes here."""
        config.pluginmanager.unregister(name="terminalreporter")
        config.pluginmanager.register(pytest.TerminalReporter(config, self._file), "terminalreporter")


class TapStream:
    """A pytest plug-in that prints one document."""

    def __init__(self, out: Out) -> None:
        self._out = out
        self._planned: dict[str, tuple[Result, str]] = {}
        self._results: list[Result] = []
        self._lost: list[Result] = []
        self._reports: dict[str, list[pytest.TestReport]] = {}
        self._command = command.PytestCommand()
        self._running = ""
        self._finished = False
        self._write(["TAP version 13\n"])

    @property
    def exit_status(self) -> int:
        """Return 0, 1 or 4, as kselftest knows them."""
        return exit_status([*self._results, *self._lost])

    @property
    def planned(self) -> bool:
        """Whether tests were found, so that the plan is known."""
        return bool(self._planned)

    def skip(self, reason: str) -> None:
        """Complete the document as one in which nothing can run, for *reason*."""
        if not self._finished:
            self._finished = True
            self._write([f"1..0 # SKIP {ktap.constant(reason)}\n"])

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Print the plan."""
        self._command = command.of(session.config)
        if reason := _shared_reason(session.items):
            self.skip(reason)
            return
        waiting = _waiting(session.items)
        self._planned = {
            result.nodeid: (result, name)
            for result, name in zip(waiting, ktap.flat_names(waiting), strict=True)
        }
        if self._planned:
            self._write([f"1..{len(self._planned)}\n"])

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Report a module that cannot be imported: its program has this one result."""
        if report.outcome == "failed" and not self._finished:
            self._finished = True
            (result,) = _results([outcome.collection_failure(report)])
            self._results.append(result)
            name = f"{result.subject}.{result.name}"
            self._write(["1..1\n", *ktap.result_lines(result, 1, name), ktap.totals(self._results)])

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Remember which test runs."""
        self._running = nodeid

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Print a result with its last phase."""
        self._reports.setdefault(report.nodeid, []).append(report)
        if report.when == "teardown":
            (result,) = _results([outcome.judge(self._reports.pop(report.nodeid), (), self._command)])
            self._running = ""
            self._report(result)

    def finish(self) -> None:
        """Complete the document of a session that ended: what has no result did not run."""
        if not self._finished and not self._planned:
            self.skip("none of these claims concerns this host")
        self._complete("", Verdict.NOT_RUN)

    def expire(self, name: str, why: str, verdict: Verdict = Verdict.TIMEOUT) -> None:
        """Complete the document of a session that was ended from outside, for the reason *why*.

        The test that was running gets *verdict*, timeout or error. If the plan was not known
        yet, the program called *name* is the one that does.
        """
        if not self._finished and not self._planned:
            self._finished = True
            lost = Result(name, name, "", "", verdict, ResultEnding.CRASHED, message=why)
            self._results.append(lost)
            self._write(["1..1\n", *ktap.result_lines(lost, 1, name), ktap.totals(self._results)])
        self._complete(why, verdict)

    def _complete(self, why: str, verdict: Verdict) -> None:
        if self._finished:
            return
        self._finished = True
        reported = {result.nodeid for result in self._results}
        waiting = [nodeid for nodeid in self._planned if nodeid not in reported]
        # Between two tests the next one is the one that got no time.
        lost = self._running if self._running in waiting else next(iter(waiting), "")
        for nodeid in waiting:
            planned = self._planned[nodeid][0]
            if nodeid == lost and verdict.bad:
                self._report(
                    planned._replace(verdict=verdict, ending=ResultEnding.CRASHED, message=why, reason="")
                )
            else:
                self._lost.append(planned)
        self._write(ktap.not_run_lines(self._planned[result.nodeid] for result in self._lost))
        self._write([ktap.totals([*self._results, *self._lost])])

    def _report(self, result: Result) -> None:
        if result.nodeid not in self._planned:
            return  # The KUnit parser drops what goes beyond the plan; pytest never does this.
        self._results.append(result)
        name = self._planned[result.nodeid][1]
        self._write(ktap.result_lines(result, len(self._results), name, skip=ktap.INNER_SKIP))

    def _write(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._out.write(line)
        self._out.flush()


def _shared_reason(items: Sequence[pytest.Item]) -> str:
    """Return the reason for which each of *items* is marked as a skip, or "" where one of them will run."""
    markers = [item.get_closest_marker("skip") for item in items]
    reasons = [str(marker.kwargs.get("reason", "")) for marker in markers if marker is not None]
    return reasons[0] if reasons and len(reasons) == len(items) else ""


def _waiting(items: Sequence[pytest.Item]) -> Sequence[Result]:
    """Return a result that has not run for each of *items*, all under distinct names."""
    records = []
    for item in items:
        words = {name: value for name, value in item.user_properties if name in ("target", "subject")}
        records.append(_line("result", nodeid=item.nodeid, verdict=Verdict.NOT_RUN, **words))
    return merge.merge(read_journal.parse(records)).results


def _results(outcomes: Sequence[outcome.OutcomeRecords]) -> Sequence[Result]:
    """Return *outcomes* as the journal's reader would."""
    records = []
    for found in outcomes:
        key = {"nodeid": found.result["nodeid"], "target": found.result["target"]}
        records += [_line("log", **key, text=found.log), _line("result", **found.result)]
    return read_journal.parse(records)[0].results


def _line(kind: str, **fields: Any) -> bytes:
    return json.dumps({"type": kind, **fields}).encode()
