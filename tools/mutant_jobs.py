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
_QUIET = ("-qq", "--no-header", "--no-summary", "-p", "no:cacheprovider", "-p", "no:xdist", "--tb=native")


@dataclass(frozen=True, slots=True)
class Job:
    """One run: the claims in *paths* on *targets*, with the defect *defect* if that is not ""."""

    name: str
    defect: str
    targets: tuple[str, ...]
    paths: tuple[str, ...]
    first: str = ""  # the test function that goes before all others, "module::function"


@dataclass(frozen=True, slots=True)
class Notice:
    """One claim that did not pass."""

    name: str  # pytest's node id
    verdict: str
    message: str
    after_s: float  # since the start of the run


@dataclass(slots=True)
class Outcome:
    """What a run found."""

    notices: list[Notice] = field(default_factory=list)
    asked: tuple[str, ...] = ()  # the test functions, without their parameters
    seconds: float = 0.0
    trouble: str = ""  # why the run says nothing: pytest or its process failed

    @property
    def names(self) -> tuple[str, ...]:
        """The claims that did not pass, in the order of the run."""
        return tuple(notice.name for notice in self.notices)


Work = Callable[[Job, Connection], None]


class Listener:
    """Collects failures; stops the run at the first hang, which would repeat in most claims."""

    def __init__(self, first: str) -> None:
        self.outcome = Outcome()
        self._first = first
        self._started_s = time.monotonic()
        self._session: pytest.Session | None = None

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Remember whom to stop."""
        self._session = session

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Put the claim that should notice before the others."""
        items.sort(key=lambda item: item.nodeid.partition("[")[0] != self._first)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Note which claims are asked."""
        functions = dict.fromkeys(item.nodeid.partition("[")[0] for item in session.items)
        self.outcome.asked = tuple(functions)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a failure of any phase."""
        if not report.failed:
            return
        noted = dict(report.user_properties)
        verdict = str(noted.get("verdict", "fail"))
        after_s = time.monotonic() - self._started_s
        self.outcome.notices.append(Notice(report.nodeid, verdict, str(noted.get("message", "")), after_s))
        if verdict == "timeout" and self._session is not None:
            self._session.shouldstop = "a guest hangs"


def warm_up(targets: Iterable[str]) -> str:
    """Import pytest's plug-ins and the claims about *targets* once, for forked processes to find there.

    Return "", or pytest's words where it could not.
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
) -> dict[str, Outcome]:
    """Return what each job found, by name; one that takes longer than *limit_s* is a timeout.

    *work* is what a forked process does with its job: `ask`, unless somebody hands in another.
    Once *stop* was told to, jobs without an outcome are left out: nothing is known of them.
    """
    waiting = list(jobs)[::-1]
    running: dict[str, _Running] = {}
    outcomes: dict[str, Outcome] = {}
    while waiting or running:
        if stop is not None and stop.by:
            for each in running.values():
                each.end()
            break
        while waiting and len(running) < processes:
            job = waiting.pop()
            running[job.name] = _Running(job, limit_s, work or ask)
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

    def finished(self) -> Outcome | None:
        """Return the outcome once there is one, or the time is over."""
        seconds = time.monotonic() - self.started_s
        if self.pipe.poll():
            outcome = self._received()
        elif seconds > self.limit_s:
            self.process.kill()
            outcome = Outcome(
                [Notice(" ".join(self.job.paths), "timeout", f"no end after {self.limit_s:g} s", seconds)]
            )
        else:
            return None
        self.process.join()
        self.pipe.close()
        outcome.seconds = seconds
        return outcome

    def end(self) -> None:
        """End the process, whatever it has found so far."""
        self.process.kill()
        self.process.join()
        self.pipe.close()

    def _received(self) -> Outcome:
        try:
            outcome = self.pipe.recv()
        except EOFError:
            self.process.join()
            return Outcome(trouble=f"the process ended with {self.process.exitcode}")
        assert isinstance(outcome, Outcome)
        return outcome


def _work_alone(work: Work, job: Job, pipe: Connection) -> None:
    """Do *work* in this forked process, which its parent alone ends.

    A terminal's Ctrl-C reaches it, too: half of a run would look like one that noticed nothing.
    """
    for number in SIGNALS:
        signal.signal(number, lambda *_: None)  # Unlike SIG_IGN not inherited by programs.
    streams.end_with_parent(signal.SIGKILL)
    work(job, pipe)


def ask(job: Job, pipe: Connection) -> None:
    """Run pytest as *job* says and send its `Outcome`."""
    listener = Listener(job.first)
    defect = ("--defect", job.defect) if job.defect else ()
    with _captured() as said:
        status = pytest.main([*job.paths, *_QUIET, *_named(job.targets), *defect], plugins=[listener])
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
