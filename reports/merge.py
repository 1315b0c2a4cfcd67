# SPDX-License-Identifier: GPL-2.0-only
"""Several sessions as one run: every host's targets kept apart, nothing counted twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from .model import LOCAL, ReportTarget, Result, ResultEnding, Run, Verdict, is_none
from .names import distinct


def merge(runs: Sequence[Run]) -> Run:
    """Return *runs* as one, in their order; names of tests made distinct.

    A target that several hosts had becomes ``target@host`` for each of them. Where
    one host judged the same test on the same target twice, the later result counts, but
    a test that did not run never replaces one that did. A target that cannot be used and
    has no result becomes one skip with its reason.
    """
    placed = _apart(runs)
    targets: dict[str, ReportTarget] = {}
    for run in placed:
        for target in run.targets:
            if target.name not in targets or target.facts:
                targets[target.name] = target
    targets = dict(sorted(targets.items(), key=lambda pair: is_none(pair[0])))
    results = placed[0].results if len(placed) == 1 else _united(placed)
    judged = {result.target for result in results}
    mute = [
        _unusable(target) for target in targets.values() if not target.usable and target.name not in judged
    ]
    if mute or len(placed) > 1:
        results = ordered([*results, *mute], targets)
    return Run(
        sessions=tuple(session for run in runs for session in run.sessions),
        targets=tuple(targets.values()),
        results=tuple(distinct(results)),
        problems=tuple(problem for run in runs for problem in run.problems),
    )


def _united(runs: Sequence[Run]) -> Sequence[Result]:
    """Return the results of all *runs*, each test of each target once."""
    results: dict[tuple[str, str], Result] = {}
    for run in runs:
        for result in run.results:
            key = result.nodeid, result.target
            if key not in results or result.ending is not ResultEnding.NOT_RUN:
                results[key] = result
    _forget_waiting(results)
    return list(results.values())


def ordered(results: Iterable[Result], targets: Iterable[str]) -> Sequence[Result]:
    """Return *results* by target as *targets* has them, then by subject as first met."""
    place = {name: index for index, name in enumerate(targets)}
    subjects: dict[tuple[str, str], int] = {}
    kept = list(results)
    for result in kept:
        subjects.setdefault((result.target, result.subject), len(subjects))
    kept.sort(key=lambda result: (place[result.target], subjects[result.target, result.subject]))
    return kept


def _forget_waiting(results: dict[tuple[str, str], Result]) -> None:
    """Drop tests that wait under no target in one session and ran under theirs in another."""
    ran = {nodeid for (nodeid, _), result in results.items() if result.ending is not ResultEnding.NOT_RUN}
    waiting = [key for key, result in results.items() if result.ending is ResultEnding.NOT_RUN]
    for nodeid, target in waiting:
        if nodeid in ran and target == LOCAL:
            del results[nodeid, target]


def _apart(runs: Sequence[Run]) -> list[Run]:
    owners: dict[str, set[str]] = defaultdict(set)
    for run in runs:
        for target in run.targets:
            owners[target.name].add(_host(run))
    shared = {name for name, hosts in owners.items() if len(hosts) > 1}
    return [_renamed(run, shared) for run in runs]


def _renamed(run: Run, shared: set[str]) -> Run:
    if not shared:
        return run
    new = {target.name: f"{target.name}@{_host(run)}" for target in run.targets if target.name in shared}
    return replace(
        run,
        targets=tuple(replace(target, name=new.get(target.name, target.name)) for target in run.targets),
        results=tuple(
            result._replace(target=new[result.target]) if result.target in new else result
            for result in run.results
        ),
    )


def _host(run: Run) -> str:
    return (run.sessions[0].host if run.sessions else "") or "unknown"


def _unusable(target: ReportTarget) -> Result:
    return Result(
        nodeid=f"target::{target.name}",
        name="usable",
        target=target.name,
        subject="target",
        verdict=Verdict.SKIP,
        reason=target.reason or "not usable on this host",
    )
