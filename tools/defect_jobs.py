# SPDX-License-Identifier: GPL-2.0-only
"""Runs of the suite in forked processes: pytest and the claims are imported once for all of them."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

import pytest

from tools import streams
from tools.stopping import SIGNALS, Stop

_FORK = multiprocessing.get_context("fork")
# A defect is noticed also by a claim whose behaviour no text promises.
_SILENT = ("-qq", "--no-header", "--no-summary", "-p", "no:cacheprovider", "-p", "no:xdist", "--tb=native")
_QUIET = (*_SILENT, "--de-facto=fail")


@dataclass(frozen=True, slots=True)
class Job:
    """One run: the claims in *paths* on *targets*, with the defect *defect* if that is not ""."""

    name: str
    defect: str
    targets: tuple[str, ...]
    paths: tuple[str, ...]
    first: str = ""  # the test function that runs before all others, "module::function"
    only: tuple[str, ...] = ()  # the test functions that run, in this order; all where there is none
    enough: int = 0  # the run ends once so many test functions have failed; 0: it does not
    options: tuple[str, ...] = ()  # of pytest, which select further claims


@dataclass(frozen=True, slots=True)
class Notice:
    """One claim that did not pass."""

    name: str  # pytest's node id
    verdict: str
    message: str
    after_s: float  # since the start of the run


@dataclass(slots=True)
class JobOutcome:
    """The claims that failed in a run, and those that ran."""

    notices: list[Notice] = field(default_factory=list)
    asked: tuple[str, ...] = ()  # the test functions, without their parameters
    seconds: float = 0.0
    trouble: str = ""  # why nothing follows from the run: pytest or its process failed
    calls: dict[str, tuple[str, ...]] = field(default_factory=dict)  # by rule, see tools.defect_calls
    held: frozenset[str] = frozenset()  # the test functions with a case that passed, see tools.defect_calls
    assertions: tuple[str, ...] = ()  # those that failed, see tools.defect_assertions

    @property
    def functions(self) -> frozenset[str]:
        """The test functions that did not pass."""
        return frozenset(function_of(name) for name in self.names)

    @property
    def cut_short(self) -> bool:
        """Whether the run was ended before its claims were through: what it says of them is not all."""
        return any("::" not in notice.name for notice in self.notices)

    @property
    def names(self) -> tuple[str, ...]:
        """The claims that did not pass, in the order of the run."""
        return tuple(notice.name for notice in self.notices)


Work = Callable[[Job, Connection], None]


def function_of(nodeid: str) -> str:
    """Return the test function of a case, "module::function"."""
    return nodeid.partition("[")[0]


class FailureListener:
    """Collects failures; stops the run at the first hang, which would repeat in most claims.

    Where the run ends once *enough* test functions have failed, a hang counts as one of them.
    """

    def __init__(self, first: str = "", only: tuple[str, ...] = (), enough: int = 0) -> None:
        self.outcome = JobOutcome()
        self._first = first
        self._order = {function: place for place, function in enumerate(only)}
        self._enough = enough
        self._started_s = time.monotonic()
        self._session: pytest.Session | None = None

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Remember the session, which the first hang stops."""
        self._session = session

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Keep the claims that may run, in their order; put the one that should notice before the others."""
        if self._order:
            items[:] = [item for item in items if function_of(item.nodeid) in self._order]
            items.sort(key=lambda item: self._order[function_of(item.nodeid)])
        items.sort(key=lambda item: function_of(item.nodeid) != self._first)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Note which claims run."""
        self.outcome.asked = tuple(dict.fromkeys(function_of(item.nodeid) for item in session.items))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        """Leave out the other cases of a claim that has failed, where only claims are counted."""
        return True if self._enough and function_of(item.nodeid) in self.outcome.functions else None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a failure of any phase."""
        if not report.failed:
            return
        noted = dict(report.user_properties)
        verdict = str(noted.get("verdict", "fail"))
        after_s = time.monotonic() - self._started_s
        self.outcome.notices.append(Notice(report.nodeid, verdict, str(noted.get("message", "")), after_s))
        if self._session is None:
            return
        if not self._enough and verdict == "timeout":
            self._session.shouldstop = "a guest hangs"
        elif self._enough and len(self.outcome.functions) >= self._enough:
            self._session.shouldstop = "enough claims have failed"


def warm_up(targets: Iterable[str]) -> str:
    """Import pytest's plug-ins and the claims about *targets* once, so that forked processes have them.

    Return "", or the end of pytest's output if it failed.
    """
    with _captured() as said:
        status = pytest.main(["kvmtests", "--collect-only", *_QUIET, *_named(targets)])
    words = said.getvalue().strip().splitlines()
    return "" if status == pytest.ExitCode.OK else "\n".join(words[-20:])


def run_all(
    jobs: Iterable[Job],
    processes: int,
    limit_s: float,
    work: Work | None = None,
    stop: Stop | None = None,
) -> dict[str, JobOutcome]:
    """Return what each job found, by name; one that takes longer than *limit_s* is a timeout.

    *work* is what a forked process does with its job, `run_claims` by default. Once *stop* has seen
    a signal, jobs without an outcome are left out: nothing is known of them.
    """
    waiting = list(jobs)[::-1]
    running: dict[str, _Running] = {}
    outcomes: dict[str, JobOutcome] = {}
    while waiting or running:
        if stop is not None and stop.by:
            for each in running.values():
                each.end()
            break
        while waiting and len(running) < processes:
            job = waiting.pop()
            running[job.name] = _Running(job, limit_s, work or run_claims)
        wait([each.pipe for each in running.values()], timeout=0.5)
        for name, each in list(running.items()):
            outcome = each.finished()
            if outcome is not None:
                outcomes[name] = outcome
                del running[name]
    return outcomes


class _Running:
    """A forked process at work on one job."""

    def __init__(self, job: Job, limit_s: float, work: Work) -> None:
        self.job = job
        self.started_s = time.monotonic()
        self.limit_s = limit_s
        self.pipe, theirs = _FORK.Pipe(duplex=False)
        self.process: BaseProcess = _FORK.Process(target=_work_alone, args=(work, job, theirs))
        self.process.start()
        theirs.close()

    def finished(self) -> JobOutcome | None:
        """Return the outcome once there is one or the time is over, else None."""
        seconds = time.monotonic() - self.started_s
        if self.pipe.poll():
            outcome = self._received()
        elif seconds > self.limit_s:
            self.process.kill()
            outcome = JobOutcome(
                [Notice(" ".join(self.job.paths), "timeout", f"no end after {self.limit_s:g} s", seconds)]
            )
        else:
            return None
        self.process.join()
        self.pipe.close()
        outcome.seconds = seconds
        return outcome

    def end(self) -> None:
        """Kill the process; what it has found so far is lost."""
        self.process.kill()
        self.process.join()
        self.pipe.close()

    def _received(self) -> JobOutcome:
        try:
            outcome = self.pipe.recv()
        except EOFError:
            self.process.join()
            return JobOutcome(trouble=f"the process ended with {self.process.exitcode}")
        assert isinstance(outcome, JobOutcome)
        return outcome


def _work_alone(work: Work, job: Job, pipe: Connection) -> None:
    """Do *work* in this forked process, which only its parent ends.

    A terminal's Ctrl-C also reaches it: half of a run would look like one that noticed nothing.
    """
    for number in SIGNALS:
        signal.signal(number, lambda *_: None)  # Unlike SIG_IGN not inherited by programs.
    streams.end_with_parent(signal.SIGKILL)
    work(job, pipe)


def run_claims(job: Job, pipe: Connection) -> None:
    """Run pytest as *job* describes and send its `JobOutcome`."""
    run_with(FailureListener(job.first, job.only, job.enough), job, pipe)


def run_with(listener: FailureListener, job: Job, pipe: Connection) -> None:
    """Run pytest as *job* describes with the plug-in *listener*, and send its outcome."""
    defect = ("--defect", job.defect) if job.defect else ()
    with _captured() as said:
        words = [*job.paths, *_QUIET, *job.options, *_named(job.targets), *defect]
        status = pytest.main(words, plugins=[listener])
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED):
        last = said.getvalue().strip().splitlines()[-1:] or ["without a word"]
        listener.outcome.trouble = f"pytest {' '.join(job.paths)}: {last[0]}"
    pipe.send(listener.outcome)
    pipe.close()


def _named(targets: Iterable[str]) -> list[str]:
    return [word for target in targets for word in ("--target", target)]


@contextlib.contextmanager
def _captured() -> Iterator[io.StringIO]:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        yield said
