# SPDX-License-Identifier: GPL-2.0-only
"""Runs claims on one target under pytest, and keeps what they did."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace

import pytest

from fixtures.facts import Fact
from fixtures.kvm.run_delay import RunDelay
from fixtures.plugins.vms import own_delay
from fixtures.targets import INSIDE, Probe, Target, probe
from tools.export_c.claim import ExportOutcome, claim_of
from tools.export_c.events import ClockEvent
from tools.export_c.expressions import StepValue
from tools.export_c.naming import with_target
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


_FREQUENCY_BITS = 34
"""No counter runs at 17 GHz, so products with its frequency often have 64 bits."""

_INSIDE = ("-p", "no:reports.plugin", "-p", "pytest_timeout")
"""What pytest needs inside a lab host, where reports are not."""


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
        return ExportOutcome(item.nodeid, claim_of(item, RUN.current.events))


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
            return Number(int(value), StepValue(event, "", _FREQUENCY_BITS))
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
