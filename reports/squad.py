# SPDX-License-Identifier: GPL-2.0-only
"""SQUAD's files, one submission a target: tests, metrics and metadata, as squad-client submits them.

SQUAD shows an environment as a column, and a target is one. It has pass, fail and skip, and takes any
other word for skip. As in KTAP, an expected failure is a pass; tests that did not run are left out,
and each target that lacks some has one more test, `COMPLETE`, which fails.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain

from . import unfinished
from .model import ReportTarget, Result, Run, Sample, Verdict, by_target, judged
from .names import DistinctNames, identity, shortened, slug, target_slug
from .stats import summarize
from .text import clip, defuse_command

COMPLETE = "run-complete"
"""The test that fails on a target some of whose tests did not run."""

LOG_LIMIT = 4_000
"""Characters of a log: squad-client takes files of at most 5 MB."""

NAME_LIMIT = 250
"""Longest suite/name: SQUAD drops 256 characters without a word."""

JOB_LIMIT = 120
"""Longest job_id: SQUAD's database has 128 characters."""

_ENCODE = json.JSONEncoder(ensure_ascii=True, allow_nan=False).encode


def submissions(run: Run) -> Iterator[tuple[str, Iterator[str]]]:
    """Yield (file name, lines) of the three files of each target: TARGET.tests.json and so on."""
    stems = DistinctNames()
    for target, results in by_target(run):
        stem = stems.add(target_slug(target.name), target.name)
        yield f"{stem}.tests.json", tests(run, results)
        yield f"{stem}.metrics.json", metrics(run, results)
        yield f"{stem}.metadata.json", metadata(run, target, results)


def tests(run: Run, results: Sequence[Result]) -> Iterator[str]:
    """Yield {"subject/name": {"result": word, "log": text}} of one target's *results*.

    The log stands only where there is more to say.
    """
    names = DistinctNames(NAME_LIMIT)
    entries = (
        (names.add(f"{result.subject}/{result.name}", result.nodeid), _entry(result))
        for result in judged(results)
    )
    yield from _object(chain(entries, _incomplete(run, results)))


def metrics(run: Run, results: Sequence[Result]) -> Iterator[str]:
    """Yield {"subject/name.unit": number} of one target's *results*: mean, median and 95th percentile.

    The unit is part of the name: SQUAD would accept it as a field, but squad-client accepts only numbers.
    Where two tests of a subject measure the same, the name of the later one says which it is.
    """
    names = DistinctNames(NAME_LIMIT)
    entries: dict[str, float] = {}
    labelled = run.simulated
    for result in results:
        for sample in result.samples:
            if not sample.values:
                continue
            seen = summarize(sample.values)
            name = figure(sample, simulated=result.target in labelled)
            for kind, value in (("mean", seen.mean), ("median", seen.median), ("p95", seen.p95)):
                place = f"{result.subject}/{name}.{kind}.{slug(sample.unit)}"
                entries[names.add(place, f"{result.nodeid} {place}")] = value
    yield from _object((name, _ENCODE(value)) for name, value in entries.items())


def metadata(run: Run, target: ReportTarget, results: Sequence[Result]) -> Iterator[str]:
    """Yield what names the job, when it ran, and on what: SQUAD reads job_id and datetime, people all."""
    job_id = f"{identity(run)}-{target_slug(target.name)}"
    words = {
        "kernel": target.kernel,
        "architecture": target.arch,
        "mode": target.mode,
        "generation": target.generation,
    }
    fields: dict[str, object] = {
        "job_id": shortened(job_id, job_id, JOB_LIMIT),
        "target": target.name,
        "simulated": "yes" if target.simulated else "no",  # squad-client refuses true and false
        **{name: word for name, word in words.items() if word},
    }
    if started_ns := _started_ns(run, results):
        fields["datetime"] = datetime.fromtimestamp(started_ns // 1_000_000_000, UTC).isoformat()
    if missing := len(results) - len(judged(results)):
        fields |= {"unfinished": unfinished.sentence(run), "not_run": missing}
    yield _ENCODE(fields) + "\n"


def figure(sample: Sample, *, simulated: bool) -> str:
    """Return the kernel name of a series, labelled if its target is simulated."""
    parts = (sample.metric, sample.variant, "simulated" if simulated else "")
    return slug(".".join(part for part in parts if part))


def word(result: Result) -> str:
    """Return the word of SQUAD and LAVA for *result*."""
    if result.verdict is Verdict.NOT_RUN:
        return "unknown"
    if result.bad:
        return "fail"
    return "skip" if result.verdict is Verdict.SKIP else "pass"


def story(result: Result) -> str:
    """Return what there is to say of a *result* that is not a pass, its verdict first."""
    parts = (
        f"verdict: {result.verdict}",
        f"known issue: {result.known_issue}" if result.known_issue else "",
        result.message,
        f"promise: {result.promise}" if result.promise else "",
        result.reason,
        f"reproduce: {defuse_command(result.repro)}" if result.repro else "",
        result.log,
    )
    return "\n".join(part for part in parts if part)


def incomplete(run: Run) -> Iterator[str]:
    """Yield the name of each target of *run* some of whose tests did not run."""
    for target, results in by_target(run):
        if len(judged(results)) < len(results):
            yield target_slug(target.name)


def _started_ns(run: Run, results: Sequence[Result]) -> int:
    """Return when the first of *results* ran, or else the run began; 0 if neither is known."""
    starts = [result.start_ns for result in results if result.start_ns > 0]
    return min(starts, default=run.sessions[0].started_ns if run.sessions else 0)


def _incomplete(run: Run, results: Sequence[Result]) -> Iterator[tuple[str, str]]:
    if len(judged(results)) < len(results):
        yield f"kvmtests/{COMPLETE}", _ENCODE({"result": "fail", "log": unfinished.sentence(run)})


def _entry(result: Result) -> str:
    log = "" if result.verdict is Verdict.PASS else clip(story(result), LOG_LIMIT)
    return _ENCODE({"result": word(result), "log": log} if log else {"result": word(result)})


def _object(entries: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield an object of names and values, the values JSON already, one a line."""
    separator = "{\n"
    for name, value in entries:
        yield f"{separator}{_ENCODE(name)}: {value}"
        separator = ",\n"
    yield "{}\n" if separator == "{\n" else "\n}\n"
