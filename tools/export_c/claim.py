# SPDX-License-Identifier: GPL-2.0-only
"""Runs one claim on one target under pytest, and keeps what it did."""

from __future__ import annotations

import ast
import contextlib
import inspect
import io
import os
import textwrap
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace

import pytest

from fixtures.facts import Fact
from fixtures.kvm.run_delay import RunDelay
from fixtures.plugins.targets import subject_of, target_of
from fixtures.plugins.vms import own_delay
from fixtures.targets import INSIDE, Probe, Target, probe
from tools.export_c.events import ClockEvent, Event
from tools.export_c.expressions import StepValue
from tools.export_c.naming import with_target, without_target
from tools.export_c.recorded_time import recorded_delay
from tools.export_c.recorder import Recorder
from tools.export_c.refusal import NotExportable
from tools.export_c.session import RUN
from tools.export_c.symbolic import Number

_OTHER_FIXTURES = {
    "two_hosts": "it moves a guest between two hosts",
    "recorder": "it measures",
}
"""Fixtures whose work is not made of this KVM's system calls."""


_INSIDE = ("-p", "no:reports.plugin", "-p", "pytest_timeout")
"""What pytest needs inside a lab host, where reports are not."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim that ran once: what it says, and its steps."""

    nodeid: str
    subject: str
    name: str
    sentence: str
    sources: tuple[str, ...]
    promise: str
    target: Target
    fixtures: tuple[str, ...]
    source: str
    events: tuple[Event, ...]

    @property
    def code(self) -> str:
        """The claim's source, without the docstring that `sentence` has, and without pytest's marks."""
        function = ast.parse(textwrap.dedent(self.source)).body[0]
        assert isinstance(function, ast.FunctionDef)
        lines = textwrap.dedent(self.source).splitlines()
        if ast.get_docstring(function) is not None:
            said = function.body[0]
            lines[said.lineno - 1 : said.end_lineno] = []
        return "\n".join(lines[function.lineno - 1 :])

    @property
    def case(self) -> str:
        """The node id without the target, which an option names."""
        return without_target(self.nodeid, self.target.name)

    @property
    def title(self) -> str:
        """The case as reports call it."""
        return f"{self.subject} {without_target(self.name, self.target.name)}"


@dataclass
class ExportOutcome:
    """What became of one case: the claim, or why there is no program for it."""

    nodeid: str
    claim: Claim | None = None
    reason: str = ""


@dataclass(eq=False)  # pytest keeps plug-ins in sets
class Collector:
    """A pytest plug-in that records each case."""

    outcomes: list[ExportOutcome] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    _skipped: str = ""

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Register the fixture last, so that it stands for the harness's own."""
        session.config.pluginmanager.register(_Backend(), "export-c-backend")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Keep why a module could not be collected."""
        if report.failed:
            self.problems.append(str(report.longrepr).strip().splitlines()[-1])

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Record one case from its fixtures to its end."""
        RUN.begin()
        self._skipped = ""
        result = yield
        self.outcomes.append(self._outcome(item))
        return result

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_pyfunc_call(self) -> Generator[None, object, object]:
        """Keep what the claim itself raises: how known issues change its verdict is of no concern."""
        try:
            return (yield)
        except pytest.skip.Exception:
            raise
        except BaseException as error:
            self._skipped = self._skipped or _raised(error)
            raise

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Generator[None, object, object]:
        """Distinguish the claim from the preparations of its fixtures."""
        RUN.current.in_claim = True
        try:
            return (yield)
        finally:
            RUN.current.ended = True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep what went wrong with the case, or why it was skipped."""
        if report.skipped and not hasattr(report, "wasxfail"):
            self._skipped = f"it is skipped on this target: {_skip_reason(report)}"
        elif report.failed and report.when == "setup":
            self._skipped = self._skipped or str(report.longrepr).strip().splitlines()[-1]

    def _outcome(self, item: pytest.Item) -> ExportOutcome:
        run = RUN.current
        reason = _does_other_work(item) or self._skipped or _why_not()
        if not reason and run.trouble is not None:
            reason = str(run.trouble)
        if reason:
            return ExportOutcome(item.nodeid, reason=reason)
        return ExportOutcome(item.nodeid, _claim(item))


def _does_other_work(item: pytest.Item) -> str:
    names = getattr(item, "fixturenames", ())
    return next((reason for name, reason in _OTHER_FIXTURES.items() if name in names), "")


def _why_not() -> str:
    run = RUN.current
    if not any(event.is_check() for event in run.events):
        return "what it checks is not a value or a refusal of a system call"
    failed = [text for text, held in run.plain_checks if not held]
    if failed:
        return f"it fails with a check of no value of a call: {failed[0]}"
    return ""


def _claim(item: pytest.Item) -> Claim:
    target = target_of(item)
    assert target is not None
    assert isinstance(item, pytest.Function)
    run = RUN.current
    module = inspect.getdoc(item.module) or ""
    return Claim(
        nodeid=item.nodeid,
        subject=subject_of(item),
        name=item.name,
        sentence=inspect.getdoc(item.function) or "",
        sources=tuple(_sources(module)),
        promise=_promise(item),
        target=target,
        fixtures=tuple(item.fixturenames),
        source=inspect.getsource(item.function),
        events=tuple(run.events),
    )


def _promise(item: pytest.Item) -> str:
    """Return what the claim rests on, and where that is said; "" where no mark says so."""
    mark = item.get_closest_marker("promise")
    said = mark.kwargs.items() if mark is not None else ()
    return "; ".join(f"{kind.replace('_', ' ').capitalize()}: {text}" for kind, text in said)


def _sources(doc: str) -> Iterator[str]:
    found = doc.partition("Source:")[2].partition("\n\n")[0]
    if found:
        yield " ".join(found.split())


def _raised(error: BaseException) -> str:
    if type(error).__name__ == "CapabilityMissing":
        return f"it is skipped on this target: {error}"
    return f"it ends with {type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def _skip_reason(report: pytest.TestReport) -> str:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return reason.removeprefix("Skipped: ")


class _Backend:
    """The fixture `backend` of a run that is recorded."""

    @pytest.fixture
    def backend(self, target: Target) -> Recorder:
        """The system calls of the target, each of them a step."""
        return Recorder(target.make_backend(), target.arch, RUN.current)

    @pytest.fixture
    def stalled(self) -> Callable[[int], AbstractContextManager[None]]:
        """Hold up nothing: the KVM that a program meets reads its clocks as far apart as it does."""
        return lambda _stall_ns: contextlib.nullcontext()

    @pytest.fixture
    def run_delay(self, backend: Recorder, target: Target) -> RunDelay:
        """How long this thread has waited for a CPU, and a way to make it wait: each use is a step."""
        return recorded_delay(own_delay(backend.inner, target), RUN.current)

    @pytest.fixture
    def target_facts(self, target: Target) -> Probe:
        """The probe of the target, whose frequency is that of the host a program runs on."""
        found = probe(target)
        return replace(found, facts=_Facts(found.facts))


class _Facts(Mapping[str, Fact]):
    """Facts of the host: a program measures the frequency, and knows no other."""

    def __init__(self, facts: Mapping[str, Fact]) -> None:
        self._facts = facts

    def __getitem__(self, name: str) -> Fact:
        value = self._facts[name]
        if name == "counter_hz":
            event = ClockEvent("frequency")
            RUN.current.add(event)
            return Number(int(value), StepValue(event, "", 64))
        # What a probe says of the host's CPU holds on the host that runs the program, or its claim skips.
        if name not in {
            "clocksource",
            "tsc_stable",
            "counter_width",
            "guest_tsc_protected",
            "broken_cntvoff",
        }:
            RUN.current.refuse(f"it depends on the host's {name}")
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._facts)

    def __len__(self) -> int:
        return len(self._facts)


def record(nodeids: list[str], target: str) -> list[ExportOutcome]:
    """Run the cases *nodeids* on *target*, and return what they did.

    `NotExportable` where nothing could be run, with pytest's own words.
    """
    collector = Collector()
    said, warned = io.StringIO(), io.StringIO()
    options = ["--target", target, "--assert=plain", "--quiet", "-p", "no:cacheprovider"]
    if INSIDE in os.environ:
        options += _INSIDE
    if any("::" in one for one in nodeids):
        options.append("--stress")  # one that is named is wanted, however long it takes
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(warned):
        pytest.main([*(with_target(one, target) for one in nodeids), *options], plugins=[collector])
    if not collector.outcomes:
        lines = [*collector.problems, *warned.getvalue().strip().splitlines(), "no test matches"]
        raise NotExportable(lines[0].removeprefix("ERROR: "))
    return collector.outcomes
