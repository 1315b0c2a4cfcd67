# SPDX-License-Identifier: GPL-2.0-only
"""Claims over runs: what passed when, what is flaky, the last good and the first bad kernel."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from .groups import claim_of
from .kernels import Turn, failing, turn
from .matching import family
from .model import ReportTarget, Run, Verdict


@dataclass(frozen=True, slots=True)
class PastRun:
    """One session of the history."""

    started_ns: int
    host: str
    kernels: tuple[str, ...]  # of its targets, each once


@dataclass(frozen=True, slots=True)
class ClaimHistory:
    """Cases of one claim on one target with the same verdicts: one for each run, None where it has none."""

    target: str
    subject: str
    claim: str
    cases: tuple[str, ...]
    verdicts: tuple[Verdict | None, ...]
    turn: Turn

    @property
    def failed(self) -> int:
        """In how many runs the claim failed, known issues included."""
        return sum(verdict is not None and failing(verdict) is True for verdict in self.verdicts)

    @property
    def judged(self) -> int:
        """In how many runs it passed or failed."""
        return sum(verdict is not None and failing(verdict) is not None for verdict in self.verdicts)


@dataclass(frozen=True, slots=True)
class History:
    """Runs, oldest first; the claims that did not do the same in all; and how many cases did."""

    runs: tuple[PastRun, ...]
    claims: tuple[ClaimHistory, ...]
    steady: int

    @property
    def flaky(self) -> list[ClaimHistory]:
        """The claims that passed and failed with one and the same kernel."""
        return [claim for claim in self.claims if claim.turn.flaky]


@dataclass(slots=True)
class _Case:
    claim: str
    seen: dict[int, list[tuple[str, Verdict]]] = field(default_factory=dict)
    """By run: kernels and verdicts, one each unless the run had several kernels of one lab host."""


_Place = tuple[str, str, str]
_Verdicts = tuple[Verdict | None, ...]


def history(runs: Iterable[Run]) -> History:
    """Return the history of *runs*, each of one session, in any order.

    A run is looked at once and not kept, so that an iterable of many takes the memory of one.
    """
    past: list[PastRun] = []
    cases: dict[_Place, _Case] = {}
    for number, run in enumerate(runs):
        past.append(_past(run))
        names = {target.name: _name(target, past[-1].host) for target in run.targets}
        kernels = {target.name: target.release for target in run.targets}
        for result in run.results:
            place = (names[result.target], result.subject, result.name)
            case = cases.get(place)
            if case is None:
                case = cases[place] = _Case(claim_of(result))
            case.seen.setdefault(number, []).append((kernels[result.target], result.verdict))
    order = sorted(range(len(past)), key=lambda number: (past[number].started_ns, number))
    claims, steady = _changing(cases, order)
    claims.sort(key=lambda claim: (not claim.turn.flaky, not claim.turn.first_bad, not claim.turn.first_good))
    return History(tuple(past[number] for number in order), tuple(claims), steady)


def lines(found: History) -> Iterator[str]:
    """Yield the history for the terminal: how many runs, then each claim that is flaky or turned."""
    yield (
        f"history of {len(found.runs)} runs: {found.steady:,} cases did the same in all,"
        f" claims that changed: {len(found.claims)}, flaky: {len(found.flaky)}"
    )
    for claim in found.claims:
        if said := claim.turn.words:
            word = "FLAKY" if claim.turn.flaky else "HISTORY"
            case = claim.cases[0] if len(claim.cases) == 1 else f"{claim.claim} ({len(claim.cases)} cases)"
            yield (
                f"{word:<11} {claim.target} {claim.subject} {case}: failed in {claim.failed} of"
                f" {claim.judged} runs; {said}"
            )


def _past(run: Run) -> PastRun:
    session = run.sessions[0] if run.sessions else None
    used = {result.target for result in run.results}
    kernels = (target.release for target in run.targets if target.release and _counts(target, used))
    return PastRun(
        started_ns=session.started_ns if session else 0,
        host=session.host if session else "",
        kernels=tuple(dict.fromkeys(kernels)),
    )


def _counts(target: ReportTarget, used: Iterable[str]) -> bool:
    return target.name in used and not target.simulated


def _name(target: ReportTarget, host: str) -> str:
    """Return what *target* is called over runs: lab hosts without their kernel, others with their host."""
    if target.kind == "host" and host and "@" not in target.name:
        return f"{target.name}@{host}"
    return family(target.name) if target.kind == "lab" and target.release else target.name


def _changing(cases: dict[_Place, _Case], order: list[int]) -> tuple[list[ClaimHistory], int]:
    """Return what did not do the same in all runs, cases of one claim together, and how many did."""
    kinds: dict[tuple[str, str, str, _Verdicts, Turn], list[str]] = {}
    steady = 0
    for (target, subject, name), case in cases.items():
        verdicts = tuple(_worst(case.seen.get(number, ())) for number in order)
        by_kernel: dict[str, list[Verdict]] = {}
        for kernel, verdict in (each for seen in case.seen.values() for each in seen):
            by_kernel.setdefault(kernel or "an unknown kernel", []).append(verdict)
        turned = turn(by_kernel)
        if len(set(verdicts)) == 1 and not (turned.flaky or turned.last_good or turned.first_good):
            steady += 1
        else:
            kinds.setdefault((target, subject, case.claim, verdicts, turned), []).append(name)
    return [ClaimHistory(*kind[:3], tuple(names), *kind[3:]) for kind, names in kinds.items()], steady


def _worst(seen: Iterable[tuple[str, Verdict]]) -> Verdict | None:
    """Return the verdict that says most against the claim, None for a run that lacks it."""
    verdicts = [verdict for _, verdict in seen]
    return min(verdicts, key=lambda one: (not one.bad, failing(one) is not True), default=None)
