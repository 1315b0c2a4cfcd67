# SPDX-License-Identifier: GPL-2.0-only
"""Which claims call which rule of the simulator: a claim that never calls a rule cannot notice its defect.

A defect overrides one method. One run without a defect notes the claims during which each such method is
called; a run with the defect then needs no others. Only where the defect also changes what a probe of the
target finds may any claim notice it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from inspect import isfunction
from multiprocessing.connection import Connection
from typing import Any

import pytest

from fixtures.defects.defect import Defect, own_parts
from fixtures.defects.table import ROWS
from fixtures.sim.config import SimConfig, combined
from fixtures.sim.targets import TARGETS
from fixtures.targets import probe, simulated
from tools.defect_jobs import FailureListener, Job, function_of, run_with


class CallRecorder(FailureListener):
    """Runs the claims on a target whose rules note who calls them."""

    def __init__(self, target: str) -> None:
        super().__init__()
        self._target = target
        self._called: dict[str, set[str]] = defaultdict(set)  # by rule, the test functions
        self._seconds: dict[str, float] = defaultdict(float)  # by test function
        self._running = ""

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Put the target whose rules take notes into the selection."""
        from fixtures.plugins.targets import SELECTION  # pytest wants to import its plug-ins first

        target = simulated(self._target, _noting(TARGETS[self._target], self._target, self._note))
        config.stash[SELECTION] = {self._target: (target, probe(target))}

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Remember which claim runs."""
        self._running = function_of(nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Also note how long each claim takes, and whether it passes."""
        super().pytest_runtest_logreport(report)
        function = function_of(report.nodeid)
        self._seconds[function] += report.duration
        if report.when == "call" and report.passed:
            self.outcome.held |= {function}

    def pytest_sessionfinish(self) -> None:
        """Fill the outcome: the callers of each rule, those first that take the least time."""
        seconds = self._seconds
        self.outcome.calls = {
            rule: tuple(sorted(functions, key=lambda name: seconds[name]))
            for rule, functions in self._called.items()
        }

    def _note(self, rule: str) -> None:
        self._called[rule].add(self._running)


def record_calls(job: Job, pipe: Connection) -> None:
    """Run *job*, of one target without a defect, and send an outcome with `calls`."""
    (target,) = job.targets
    run_with(CallRecorder(target), job, pipe)


def callers(defect: Defect, target: str, calls: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Return the test functions that may notice *defect* on *target*, () for all; the quickest first."""
    return (
        () if _shows_in_facts(defect, target) else calls.get(defect.rule, (f"kvmtests/{defect.noticed_by}",))
    )


def _shows_in_facts(defect: Defect, target: str) -> bool:
    own = probe(simulated(target, TARGETS[target]))
    varied = probe(simulated(target, defect.injected(TARGETS[target])))
    return (dict(own.facts), own.reason) != (dict(varied.facts), varied.reason)


def _noting(config: SimConfig, target: str, note: Any) -> SimConfig:
    parts = own_parts(config)
    noted = set()
    for defect in ROWS:
        if target in defect.targets and (defect.part, defect.rule) not in noted:
            noted.add((defect.part, defect.rule))
            varied: dict[str, Any] = {
                defect.part: combined(_noted(defect, note), getattr(parts, defect.part))
            }
            parts = replace(parts, **varied)
    return replace(config, parts=parts)


def _noted(defect: Defect, note: Any) -> type:
    """Return a variation that changes nothing: it calls *note* with the rule and does what is right."""
    (parent,) = defect.variation.__bases__
    name = next(name for name, value in vars(defect.variation).items() if isfunction(value))
    rule = defect.rule

    def noting(self: Any, *arguments: Any, **named: Any) -> Any:
        note(rule)
        return getattr(super(variation, self), name)(*arguments, **named)

    variation = type(f"Noted{parent.__name__}", (parent,), {name: noting})
    return variation
