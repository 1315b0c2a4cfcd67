# SPDX-License-Identifier: GPL-2.0-only
"""The kernels of one host against each other: only what differs, and since which kernel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .groups import claim_of
from .kernels import Turn, in_order, turn
from .matching import family
from .model import ReportTarget, Result, Run, Verdict


@dataclass(frozen=True, slots=True)
class ClaimAcross:
    """Cases of one claim with the same verdicts: one for each kernel, None where it has no result."""

    subject: str
    claim: str
    verdicts: tuple[Verdict | None, ...]
    cases: tuple[str, ...]
    turn: Turn


@dataclass(frozen=True, slots=True)
class KernelFamily:
    """The targets of one host that differ in their kernel, oldest first, and the claims that differ."""

    name: str
    targets: tuple[ReportTarget, ...]
    claims: tuple[ClaimAcross, ...]
    equal: int  # cases with the same verdict everywhere

    def failing(self) -> list[ClaimAcross]:
        """Return what fails with the newest kernel and passed before."""
        return [claim for claim in self.claims if claim.turn.first_bad and claim.turn.last_good]

    def repaired(self) -> list[ClaimAcross]:
        """Return what failed and passes with the newest kernel."""
        return [claim for claim in self.claims if claim.turn.first_good]


def families(run: Run) -> list[KernelFamily]:
    """Return the hosts of which *run* has several kernels, in the run's order."""
    used = {result.target for result in run.results}
    found: dict[tuple[str, ...], list[ReportTarget]] = {}
    for target in run.targets:
        if target.name in used and target.release:
            alike = (family(target.name), target.kind, target.arch, target.mode, str(target.fact("cpu")))
            found.setdefault(alike, []).append(target)
    several = [targets for targets in found.values() if len({target.release for target in targets}) > 1]
    return [_family(run, sorted(targets, key=lambda one: in_order(one.release))) for targets in several]


def _family(run: Run, targets: Sequence[ReportTarget]) -> KernelFamily:
    place = {target.name: index for index, target in enumerate(targets)}
    rows: dict[tuple[str, str], list[Result | None]] = {}
    for result in run.results:
        if result.target in place:
            row = rows.setdefault((result.subject, result.name), [None] * len(targets))
            row[place[result.target]] = result
    kinds: dict[tuple[str, str, tuple[Verdict | None, ...]], list[str]] = {}
    equal = 0
    for (subject, name), row in rows.items():
        verdicts = tuple(None if result is None else result.verdict for result in row)
        if len(set(verdicts)) == 1:
            equal += 1
            continue
        claim = next(claim_of(result) for result in row if result is not None)
        kinds.setdefault((subject, claim, verdicts), []).append(name)
    claims = [
        ClaimAcross(subject, claim, verdicts, tuple(cases), _turn(targets, verdicts))
        for (subject, claim, verdicts), cases in kinds.items()
    ]
    claims.sort(key=_rank)
    return KernelFamily(family(targets[0].name), tuple(targets), tuple(claims), equal)


def _turn(targets: Sequence[ReportTarget], verdicts: Sequence[Verdict | None]) -> Turn:
    seen: dict[str, list[Verdict]] = {}
    for target, verdict in zip(targets, verdicts, strict=True):
        if verdict is not None:
            seen.setdefault(target.release, []).append(verdict)
    return turn(seen)


def _rank(claim: ClaimAcross) -> int:
    """Return where a claim stands: what broke first, then what was repaired, then skips and absences."""
    if claim.turn.first_bad:
        return 0
    return 1 if claim.turn.first_good or claim.turn.flaky else 2
