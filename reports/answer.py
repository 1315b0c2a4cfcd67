# SPDX-License-Identifier: GPL-2.0-only
"""The one sentence that answers a reader's question: what fails, where, and what was expected."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from . import across_kernels, unfinished
from .compare import Comparison, Kind
from .groups import by_claim, cause_of, count
from .model import LOCAL, ReportTarget, Result, Run, Verdict, by_target, counts

TARGETS_NAMED = 2
KERNELS_NAMED = 3

_WENT_WELL = (
    (Verdict.PASS, "passed"),
    (Verdict.CHANGED, "changed where no text promises it"),
    (Verdict.XFAIL, "failed as known issues"),
    (Verdict.XPASS, "passed against a known issue"),
    (Verdict.SKIP, "skipped"),
)


def sentence(run: Run) -> str:
    """Return what *run* found; what makes it unfinished comes first."""
    if not run.results:
        return "No results."
    said = unfinished.sentence(run)
    parts = [said, *(_wrong(run) or [_well(run)])]
    return _capital("; ".join(filter(None, parts))) + "."


def since(comparison: Comparison) -> str:
    """Return what changed since the baseline, with both kernels where they differ."""
    if not comparison.matched.pairs:
        return "No target is in both runs, so that nothing was compared."
    kernels = dict.fromkeys((old, new) for _, old, new in comparison.kernels if old and new and old != new)
    between = ", ".join(f"{old} to {new}" for old, new in list(kernels)[:KERNELS_NAMED])
    said = [
        count(kind.value, [change.new for change in comparison.of(kind)])
        for kind in Kind
        if comparison.of(kind) and kind is not Kind.OTHER
    ]
    if comparison.gone:
        said.append(count("gone", comparison.gone))
    found = ", ".join(said) if said else "nothing broke, nothing is repaired, new or gone"
    return f"Since the baseline{f' ({between})' if between else ''}: {found}."


def across(found: across_kernels.KernelFamily) -> str:
    """Return what differs from kernel to kernel on one host."""
    oldest, newest = found.targets[0].release, found.targets[-1].release
    failing, repaired = len(found.failing()), len(found.repaired())
    said = f"{_number(failing, 'claim fails', 'claims fail')} that passed before, {repaired:,} repaired"
    return f"{found.name} with {len(found.targets)} kernels, {oldest} to {newest}: {said}."


def name_of(target: ReportTarget) -> str:
    """Return what *target* is called in sentences, with its kernel; tests outside of targets have none."""
    if target.name == LOCAL:
        return "no target"
    return f"{target.name} ({target.release})" if target.release else target.name


def _wrong(run: Run) -> list[str]:
    """Return what went wrong, by kind; empty if nothing did."""
    said = [
        part
        for verdict in (Verdict.FAIL, Verdict.ERROR, Verdict.TIMEOUT, Verdict.CHANGED, Verdict.XPASS)
        for part in _of(run, verdict)
    ]
    if not said:
        return []
    good = [target for target, results in by_target(run) if not any(result.bad for result in results)]
    if good:
        said.append("nothing fails elsewhere")
    if known := counts(run.results)[Verdict.XFAIL]:
        said.append(_number(known, "failure is a known issue", "failures are known issues"))
    for verdict in (Verdict.CHANGED, Verdict.XPASS):
        reported = [result for result in run.results if result.verdict is verdict and not result.bad]
        if reported:
            said.append(_number(_units(verdict, reported), *_WORDS[verdict]))
    return said


_WORDS = {
    Verdict.FAIL: ("claim fails", "claims fail"),
    Verdict.ERROR: ("test ends in an error of the harness", "tests end in errors of the harness"),
    Verdict.TIMEOUT: ("test runs out of time", "tests run out of time"),
    Verdict.CHANGED: ("claim shows changed behaviour", "claims show changed behaviour"),
    Verdict.XPASS: ("known issue no longer shows", "known issues no longer show"),
}


def _of(run: Run, verdict: Verdict) -> Iterator[str]:
    """Yield the part on the bad results of one *verdict*, with the targets concerned, the worst first."""
    every = [result for result in run.results if result.verdict is verdict and result.bad]
    if not every:
        return
    groups = [
        (target, [one for one in results if one.verdict is verdict and one.bad])
        for target, results in by_target(run)
    ]
    places = [(_units(verdict, found), target) for target, found in groups if found]
    number = _units(verdict, every)
    cases = f" in {len(every):,} cases" if len(every) != number else ""
    causes = len({cause_of(result) for result in every})
    alike = ", all for one reason" if verdict is Verdict.FAIL and causes == 1 and number > 1 else ""
    yield f"{_number(number, *_WORDS[verdict])}{cases} on {_where(places, len(groups))}{alike}"


def _where(places: Sequence[tuple[int, ReportTarget]], targets: int) -> str:
    """Return on which of so many *targets*: each of *places* is how much there is, and where."""
    worst = sorted(places, key=lambda place: -place[0])
    if len(worst) == 1:
        return name_of(worst[0][1])
    if len(worst) <= TARGETS_NAMED:
        return ", ".join(f"{name_of(target)}: {number:,}" for number, target in worst)
    number, target = worst[0]
    return f"{len(worst)} of {targets} targets, most on {name_of(target)}: {number:,}"


def _units(verdict: Verdict, results: Sequence[Result]) -> int:
    if verdict is Verdict.XPASS:
        return len({result.known_issue or result.nodeid for result in results})
    return len(by_claim(results))


def _well(run: Run) -> str:
    """Return what a run without a failure found."""
    seen = counts(run.results)
    well = ", ".join(f"{seen[verdict]:,} {word}" for verdict, word in _WENT_WELL if seen[verdict])
    if not any(seen[verdict] for verdict in Verdict if verdict not in (Verdict.SKIP, Verdict.NOT_RUN)):
        return f"nothing was tested{f': {well}' if well else ''}"
    targets = [target for target, _ in by_target(run)]
    where = name_of(targets[0]) if len(targets) == 1 else f"any of {len(targets)} targets"
    return f"nothing fails on {where}: {well}"


def _number(number: int, one: str, several: str) -> str:
    return f"{number:,} {one if number == 1 else several}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
