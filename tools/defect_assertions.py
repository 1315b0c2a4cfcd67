# SPDX-License-Identifier: GPL-2.0-only
"""Assertions that no defect makes fail: facts that a claim states, and that nothing shows it would miss.

A claim ends at its first assertion that fails, so an assertion counts only where all that stand before it
hold: the defect is one that it notices alone in its function. One in a helper that claims share counts as
soon as it fails in any of them. Only claims that call a defect's rule and reach an assertion that no defect
has failed so far run. Results are kept in assertions.json, on which a
later run can build.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType

import pytest

from fixtures.defects.defect import Defect
from fixtures.defects.page import table
from fixtures.kvm.errors import PromiseBroken
from fixtures.sim.targets import TARGETS
from tools.assertion_helpers import CLAIMS
from tools.assertions import Assertion, assertions, at
from tools.defect_calls import callers
from tools.defect_jobs import FailureListener, Job, JobOutcome, function_of, run_all, run_with
from tools.stopping import Stop

_BROKEN = (AssertionError, PromiseBroken, pytest.fail.Exception)
OPTIONS = ("--stress",)  # on a simulated host such claims take no longer than others
_BATCH = 8  # defects that are tried before the claims of the next ones are chosen
_HANGS = 5  # of guests, after which a run ends: each takes as long as a guest is given


@dataclass(slots=True)
class FailedAssertions:
    """Which assertions failed with which defects."""

    failed: dict[str, list[str]] = field(default_factory=dict)  # by assertion, the defects' ids
    tried: list[str] = field(default_factory=list)  # ids of the defects
    held: dict[str, list[str]] = field(default_factory=dict)  # by target, claims that hold without a defect

    def note(self, defect: str, outcome: JobOutcome) -> None:
        """Add what a run with *defect* showed."""
        if defect not in self.tried:
            self.tried.append(defect)
        for name in outcome.assertions:
            ids = self.failed.setdefault(name, [])
            if defect not in ids:
                ids.append(defect)

    def text(self) -> str:
        """Return assertions.json, which `parse` reads."""
        return json.dumps(asdict(self), indent=1) + "\n"


def parse(text: str) -> FailedAssertions:
    """Return what assertions.json holds; ValueError for any other text."""
    try:
        return FailedAssertions(**json.loads(text))
    except TypeError as error:
        raise ValueError("this JSON holds no assertions") from error


class AssertionListener(FailureListener):
    """Notes which assertions fail; leaves out cases of claims all of whose open ones have failed.

    A guest that hangs ends its claim, and not the run: the next claim may fail at an assertion.
    """

    def __init__(self, job: Job, root: Path, open_ones: Mapping[str, set[str]]) -> None:
        super().__init__(only=job.only)
        self._root = root
        self._places = assertions(root)
        self._open = {claim: set(names) for claim, names in open_ones.items() if claim in job.only}
        self._hangs = 0

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        """Leave out a case of which nothing can follow any more."""
        return None if self._open.get(function_of(item.nodeid)) else True

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Note at which assertion a phase failed."""
        if call.excinfo is not None and isinstance(call.excinfo.value, _BROKEN):
            place = self._failed(call.excinfo.tb)
            if place is not None:
                for names in self._open.values():
                    names.discard(place.name)
                self.outcome.assertions = (*self.outcome.assertions, place.name)
        return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Leave out the other cases of a claim whose guest hangs."""
        hangs = report.failed and dict(report.user_properties).get("verdict") == "timeout"
        if hangs:
            self._open.pop(function_of(report.nodeid), None)
            self._hangs += 1
        if not hangs or self._hangs == _HANGS:
            super().pytest_runtest_logreport(report)

    def _failed(self, traceback: TracebackType | None) -> Assertion | None:
        found = None
        while traceback is not None:
            path = Path(traceback.tb_frame.f_code.co_filename)
            if path.is_relative_to(self._root / CLAIMS):
                module = path.relative_to(self._root).as_posix()
                found = at(self._places, module, traceback.tb_lineno) or found
            traceback = traceback.tb_next
        return found


def look(
    wanted: Sequence[Defect],
    recorded: Mapping[str, JobOutcome],
    earlier: FailedAssertions,
    processes: int,
    limit_s: float,
    stop: Stop,
) -> FailedAssertions:
    """Try the defects *wanted* on their `first_targets` until *stop*; return *earlier* with what failed."""
    root = Path.cwd()
    places = assertions(root)
    earlier.held |= {target: sorted(outcome.held) for target, outcome in recorded.items()}
    for start in range(0, len(wanted), _BATCH):
        open_ones = _open_by_claim(places, earlier)

        def work(job: Job, pipe: Connection, open_ones: Mapping[str, set[str]] = open_ones) -> None:
            run_with(AssertionListener(job, root, open_ones), job, pipe)

        jobs = [
            job_for(defect, target, recorded[target], open_ones)
            for defect in wanted[start : start + _BATCH]
            for target in first_targets(defect)
        ]
        outcomes = run_all((one for one in jobs if one.only), processes, limit_s, work, stop)
        if stop.by:
            break
        for one in jobs:
            earlier.note(one.defect, outcomes.get(one.name, JobOutcome()))
    return earlier


def first_targets(defect: Defect) -> list[str]:
    """Return the first target of each architecture that *defect* concerns."""
    first: dict[str, str] = {}
    for target in defect.targets:
        first.setdefault(TARGETS[target].arch, target)
    return list(first.values())


def _open_by_claim(places: Sequence[Assertion], found: FailedAssertions) -> dict[str, set[str]]:
    by_claim: dict[str, set[str]] = defaultdict(set)
    for place in places:
        for claim in place.claims if place.name not in found.failed else ():
            by_claim[claim].add(place.name)
    return by_claim


def job_for(defect: Defect, target: str, outcome: JobOutcome, open_ones: Mapping[str, set[str]]) -> Job:
    """Return the run of the claims that *defect* may make fail on *target* at one of *open_ones*, by claim.

    *outcome* is that of the target without a defect.
    """
    functions = callers(defect, target, outcome.calls) or outcome.asked
    own = f"kvmtests/{defect.noticed_by}"
    module = own.partition("::")[0]

    def place(name: str) -> tuple[bool, bool, str]:  # a guest that hangs ends the run
        return name != own, name.partition("::")[0] != module, name

    only = sorted(set(functions) & outcome.held & open_ones.keys(), key=place)
    paths = dict.fromkeys(function.partition("::")[0] for function in only)
    name = f"{defect.id} on {target}"
    return Job(name, defect.id, (target,), tuple(paths), only=tuple(only), options=OPTIONS)


def still_open(found: FailedAssertions, places: Sequence[Assertion]) -> list[Assertion]:
    """Return those of *places* that a claim which holds on a target reaches, and no defect made fail."""
    return [place for place in _that_ran(found, places) if place.name not in found.failed]


def _that_ran(found: FailedAssertions, places: Sequence[Assertion]) -> list[Assertion]:
    held = {claim for claims in found.held.values() for claim in claims}
    return [place for place in places if place.claims & held]


def page(found: FailedAssertions, places: Sequence[Assertion]) -> str:
    """Return assertions.md: how many assertions a defect fails, by folder, and those that none fails."""
    all_of, open_ones = _that_ran(found, places), still_open(found, places)
    ran, left = Counter(map(_folder, all_of)), Counter(map(_folder, open_ones))
    rows = [(name, str(ran[name] - left[name]), str(left[name])) for name in sorted(ran)]
    rows.append(("all", str(len(all_of) - len(open_ones)), str(len(open_ones))))
    listed = "".join(
        f"- `{place.module}:{place.first}` {place.function}: `{place.text}`\n" for place in open_ones
    )
    head = f"# Assertions\n\n{len(found.tried)} defects on {', '.join(found.held)}.\n"
    counts = table(("folder", "assertions that a defect fails", "that none fails"), rows)
    return "\n".join((head, counts, "## That none fails\n", listed))


def _folder(place: Assertion) -> str:
    return place.module.split("/")[1]
