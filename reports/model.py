# SPDX-License-Identifier: GPL-2.0-only
"""What a run found, as frozen values, which every writer reads.

Readers (`read_journal`, `read_ktap`) build these values and clean every text on the way in
(`text.clean`); writers are pure functions over a `Run`, so they agree on every count.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

Fact = str | int | bool
Number = int | float

LOCAL = "no target"
"""Where tests stand that name no target: next to targets they come last."""

FORMER_LOCAL = "local"
"""What journals of the last release call it."""


class Verdict(enum.StrEnum):
    """What one test says about one target; every result has exactly one."""

    PASS = enum.auto()
    FAIL = enum.auto()
    CHANGED = enum.auto()  # Behaviour that no text promises is not what it was: bad only where it is strict.
    SKIP = enum.auto()
    XFAIL = enum.auto()
    XPASS = enum.auto()  # A known issue no longer shows: bad only where it is strict.
    ERROR = enum.auto()
    TIMEOUT = enum.auto()
    NOT_RUN = "not run"  # The run ended first: neither a skip nor a failure, and never green.

    @property
    def bad(self) -> bool:
        """Whether this verdict makes every run fail; what of a single result does is `Result.bad`."""
        return self in _BAD


NOTABLE = (Verdict.FAIL, Verdict.CHANGED, Verdict.XPASS, Verdict.ERROR, Verdict.TIMEOUT)
"""The verdicts whose results every report for people names one by one, in this order."""

_BAD = frozenset((Verdict.FAIL, Verdict.ERROR, Verdict.TIMEOUT))
_NEVER_GREEN = _BAD | {Verdict.NOT_RUN}
_BY_OPTION = frozenset((Verdict.CHANGED, Verdict.XPASS))


class ResultEnding(enum.StrEnum):
    """How far a collected test came."""

    FINISHED = "finished"
    CRASHED = "crashed"  # It was running when the journal, or its worker, ended: verdict error.
    NOT_RUN = "not-run"  # Its turn never came, or it was interrupted: verdict not run.


@dataclass(frozen=True, slots=True)
class ReportTarget:
    """One thing under test: where KVM's answers come from, architecture, mode, generation."""

    name: str
    kind: str = "host"  # "host", "sim" or "lab"
    arch: str = ""
    mode: str = ""
    generation: str = ""
    simulated: bool = False
    usable: bool = True
    reason: str = ""  # Why it is not usable, with the remedy.
    no_programs: str = ""  # Why no claim about its architecture is written as a C program.
    facts: tuple[tuple[str, Fact], ...] = ()

    @property
    def title(self) -> str:
        """The name for people, with the word "simulated" wherever it applies."""
        return f"{self.name} (simulated)" if self.simulated else self.name

    def fact(self, name: str) -> Fact:
        """Return the fact *name*, an empty text if there is none."""
        return next((value for known, value in self.facts if known == name), "")

    @property
    def kernel(self) -> str:
        """The release of the kernel under test, or ""; that of a simulated host says so."""
        return next((str(value) for name, value in self.facts if name == "kernel"), "")

    @property
    def release(self) -> str:
        """The release of the kernel under test, or that a simulated host stands for; empty if unknown."""
        return self.kernel.removesuffix(" (simulated)")


@dataclass(frozen=True, slots=True)
class ReportFigure:
    """One figure of a series with the ends of its 95 % interval, in ticks of the series' counter."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class SlopeLine:
    """The line y = intercept + slope · x that a benchmark fitted, in the unit of its series.

    The slope's 95 % interval reaches *half_width* each way.
    """

    slope: float
    half_width: float
    intercept: float


@dataclass(frozen=True, slots=True)
class Sample:
    """One series of measurements of one benchmark: one cell of the classic table, and its rows.

    *values* are in *unit*; *count* is how many were measured, where *values* are a selection.
    *columns* and *rows* are the raw readings that they come from, if the benchmark kept any: they go
    into bench/*.csv as they are. A series with a *line* is one of points: the last two columns
    are x and y. *figures* (mean, sd, p50, p95, p99, p99.9, min, max) are those of all that was
    measured, in ticks of a counter of *hz*; *empty_ticks* is an interval with nothing in it.
    """

    metric: str
    variant: str = ""  # "native", "trapped", or whatever else distinguishes the series of a metric
    unit: str = "ns"
    values: tuple[Number, ...] = ()
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[Number | str, ...], ...] = ()
    note: str = ""
    count: int = 0
    hz: Number = 0  # 0: unknown, and then there are no figures
    empty_ticks: Number | None = None
    figures: tuple[tuple[str, ReportFigure], ...] = ()
    line: SlopeLine | None = None

    @property
    def measured(self) -> int:
        """How many values were measured."""
        return self.count or len(self.values)

    def points(self) -> list[tuple[Number, Number]]:
        """Return x and y of each row of a series with a line; rows without two numbers are left out."""
        if self.line is None or len(self.columns) < 2:
            return []
        pairs = ((row[-2], row[-1]) for row in self.rows)
        return [(x, y) for x, y in pairs if not isinstance(x, str) and not isinstance(y, str)]


class Result(NamedTuple):
    """What one test said about one target.

    *nodeid* is pytest's name, *name* the kernel's: stable, unique within target and subject,
    of the characters every kernel CI keeps (`names`). Times are ns, *start_ns* since 1970.
    A named tuple, which is made in half the time of a dataclass: there may be 100,000.
    """

    nodeid: str
    name: str
    target: str
    subject: str
    verdict: Verdict
    ending: ResultEnding = ResultEnding.FINISHED
    message: str = ""  # One line: what failed.
    reason: str = ""  # One line: why skipped or expected to fail.
    log: str = ""
    start_ns: int = 0
    duration_ns: int = 0
    file: str = ""
    line: int = 0  # 1 is the first line, 0 unknown.
    known_issue: str = ""
    repro: str = ""
    promise: str = ""  # One line: what the claim rests on, as in "documented: api.rst, KVM_GET_CLOCK".
    strict: bool = False  # Its session was to fail where behaviour changed or a known issue no longer shows.
    samples: tuple[Sample, ...] = ()
    sentence: str = ""  # What the claim says of KVM, of a result that is not a pass.

    @property
    def bad(self) -> bool:
        """Whether this result makes the run fail."""
        return self.verdict in _BAD or (self.strict and self.verdict in _BY_OPTION)


@dataclass(frozen=True, slots=True)
class Session:
    """One pytest session on one host: what a journal's session and end records say."""

    host: str = ""
    facts: tuple[tuple[str, Fact], ...] = ()
    started_ns: int = 0
    ended_ns: int = 0
    exit_status: int | None = None  # None: the session never came to its end.
    stopped: str = ""  # Why it stopped early, in a few words.
    limited: bool = False  # It stopped because of as many failures as -x or --maxfail allowed.
    missing: int = 0  # Collected tests that did not run.

    @property
    def complete(self) -> bool:
        """Whether the session wrote its end record."""
        return self.exit_status is not None

    @property
    def interrupted(self) -> bool:
        """Whether the session ended before its tests did, and not at a limit of failures."""
        return not self.complete or (self.missing > 0 and not self.limited)


@dataclass(frozen=True, slots=True)
class Run:
    """All that one or more journals say, in the order of targets, subjects and collection."""

    sessions: tuple[Session, ...] = ()
    targets: tuple[ReportTarget, ...] = ()
    results: tuple[Result, ...] = ()
    problems: tuple[str, ...] = ()  # What could not be read, one sentence each.

    def target(self, name: str) -> ReportTarget:
        """Return the target called *name*; KeyError if there is none."""
        for target in self.targets:
            if target.name == name:
                return target
        raise KeyError(name)

    @property
    def simulated(self) -> frozenset[str]:
        """The names of the simulated targets: their figures are labelled so everywhere."""
        return frozenset(target.name for target in self.targets if target.simulated)


def is_none(target: str) -> bool:
    """Return whether *target* holds the tests that are about none: `LOCAL`, or that of one of many hosts."""
    return target == LOCAL or target.startswith(f"{LOCAL}@")


# Every writer reads these of every result.
_TARGET, _SUBJECT, _VERDICT = map(attrgetter, ("target", "subject", "verdict"))


def by_target(run: Run) -> Iterator[tuple[ReportTarget, list[Result]]]:
    """Yield each target that has results, with them, in the run's order."""
    targets = {target.name: target for target in run.targets}
    for name, results in groupby(run.results, key=_TARGET):
        yield targets[name], list(results)


def by_subject(results: Iterable[Result]) -> Iterator[tuple[str, list[Result]]]:
    """Yield each subject of one target's *results*, with its results, in their order."""
    for subject, group in groupby(results, key=_SUBJECT):
        yield subject, list(group)


def counts(results: Iterable[Result]) -> Counter[Verdict]:
    """Return how often each verdict occurs; every verdict has an entry, in order."""
    seen = Counter(map(_VERDICT, results))
    return Counter({verdict: seen[verdict] for verdict in Verdict})


def judged(results: Iterable[Result]) -> list[Result]:
    """Return those of *results* whose test ran, or was skipped: all but those that did not run."""
    return [result for result in results if result.verdict is not Verdict.NOT_RUN]


def unexpected_pass(result: Result) -> str:
    """Return the sentence on a known issue that no longer shows: what every report says of an xpass."""
    if result.message:
        return result.message
    predicted = f"; it was predicted because {result.reason}" if result.reason else ""
    return f"the known issue {result.known_issue or 'that is expected'} no longer shows here{predicted}"


def exit_status(results: Iterable[Result]) -> int:
    """Return 1 if anything failed or did not run, 4 if all was skipped or nothing has a result, else 0."""
    kept = list(results)
    verdicts = set(map(_VERDICT, kept))
    if verdicts & _NEVER_GREEN:
        return 1
    if verdicts & _BY_OPTION and any(result.bad for result in kept):
        return 1
    return 0 if verdicts - {Verdict.SKIP} else 4
