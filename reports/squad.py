# SPDX-License-Identifier: GPL-2.0-only
"""SQUAD's three files: tests, metrics and metadata, as squad-client submits them.

SQUAD has pass, fail and skip, and takes any other word for skip. As in KTAP, an expected
failure is a pass; tests that did not run are left out, and each target that lacks some has one
more test, `COMPLETE`, which fails.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import chain

from . import unfinished
from .kcidb import identity
from .model import Result, Run, Sample, Verdict, by_target, judged
from .names import slug, target_slug
from .stats import summarize
from .text import clip

COMPLETE = "run-complete"
"""The test that fails on a target some of whose tests did not run."""

LOG_LIMIT = 4_000
"""Characters of a log: squad-client takes files of at most 5 MB."""

_ENCODE = json.JSONEncoder(ensure_ascii=True, allow_nan=False).encode


def tests(run: Run) -> Iterator[str]:
    """Yield {"suite/name": {"result": word, "log": text}}; the log only where there is more to say."""
    entries = ((_place(result), _entry(result)) for result in judged(run.results))
    yield from _object(chain(entries, _incomplete(run)))


def metrics(run: Run) -> Iterator[str]:
    """Yield {"suite/name.unit": number}: mean, median and 95th percentile.

    The unit is part of the name: SQUAD would accept it as a field, but squad-client accepts only numbers.
    """
    entries: dict[str, float] = {}
    labelled = run.simulated
    for result in run.results:
        for sample in result.samples:
            if not sample.values:
                continue
            seen = summarize(sample.values)
            name = figure(sample, simulated=result.target in labelled)
            for kind, value in (("mean", seen.mean), ("median", seen.median), ("p95", seen.p95)):
                entries[f"{suite(result)}/{name}.{kind}.{slug(sample.unit)}"] = value
    yield from _object((name, _ENCODE(value)) for name, value in entries.items())


def metadata(run: Run) -> Iterator[str]:
    """Yield what names the job, and which suites' figures are simulated."""
    simulated = sorted(target_slug(name) for name in run.simulated)
    fields: dict[str, object] = {"job_id": identity(run), "simulated_targets": simulated}
    if said := unfinished.sentence(run):
        fields |= {"unfinished": said, "not_run": unfinished.not_run(run)}
    yield _ENCODE(fields) + "\n"


def figure(sample: Sample, *, simulated: bool) -> str:
    """Return the kernel name of a series, labelled if its target is simulated."""
    parts = (sample.metric, sample.variant, "simulated" if simulated else "")
    return slug(".".join(part for part in parts if part))


def word(result: Result) -> str:
    """Return the word of SQUAD and LAVA for *result*."""
    if result.verdict is Verdict.NOT_RUN:
        return "unknown"
    if result.verdict.bad:
        return "fail"
    return "skip" if result.verdict is Verdict.SKIP else "pass"


def suite(result: Result) -> str:
    """Return the suite of *result*: target and subject."""
    return f"{target_slug(result.target)}.{result.subject}"


def incomplete(run: Run) -> Iterator[str]:
    """Yield the name of each target of *run* some of whose tests did not run."""
    for target, results in by_target(run):
        if len(judged(results)) < len(results):
            yield target_slug(target.name)


def _incomplete(run: Run) -> Iterator[tuple[str, str]]:
    said = unfinished.sentence(run)
    for target in incomplete(run):
        yield f"{target}/{COMPLETE}", _ENCODE({"result": "fail", "log": said})


def _place(result: Result) -> str:
    return f"{suite(result)}/{result.name}"


def _entry(result: Result) -> str:
    log = _log(result)
    return _ENCODE({"result": word(result), "log": log} if log else {"result": word(result)})


def _log(result: Result) -> str:
    if result.verdict is Verdict.PASS:
        return ""
    parts = (f"verdict: {result.verdict}", result.message, result.reason, result.log)
    return clip("\n".join(part for part in parts if part), LOG_LIMIT)


def _object(entries: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield an object of names and values, the values JSON already, one a line."""
    separator = "{\n"
    for name, value in entries:
        yield f"{separator}{_ENCODE(name)}: {value}"
        separator = ",\n"
    yield "{}\n" if separator == "{\n" else "\n}\n"
