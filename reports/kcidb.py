# SPDX-License-Identifier: GPL-2.0-only
"""KCIDB schema 5.3: a submission of checkouts (one a kernel under test), builds (one a target) and tests.

KCIDB has no expected failure and no timeout: xfail is PASS and timeout ERROR, each with the
verdict's own word in misc. Changed behaviour and a known issue that no longer shows are FAIL where
they fail the run, else PASS. A test that did not run is MISS. Every series of a benchmark is
one more test, DONE, with its mean as ``number``: the verdict stays apart from the figure.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from . import names
from .model import ReportTarget, Result, Run, Sample, Verdict
from .stats import summarize
from .text import clip

ORIGIN = "kvm_counters"
"""Who submits: ``[a-z0-9_]+``."""

PATH = "kselftest.kvm"
"""Where our tests stand in KCIDB's tree of tests."""

EXCERPT_LIMIT = 16_000
"""Characters of a log excerpt: the schema allows 16384, and `clip` adds a few."""

_STATUS = {
    Verdict.PASS: "PASS",
    Verdict.XFAIL: "PASS",
    Verdict.FAIL: "FAIL",
    Verdict.CHANGED: "PASS",
    Verdict.XPASS: "PASS",
    Verdict.SKIP: "SKIP",
    Verdict.ERROR: "ERROR",
    Verdict.TIMEOUT: "ERROR",
    Verdict.NOT_RUN: "MISS",
}

# Our objects hold no cycles; not looking for them saves a tenth of the time.
_ENCODE = json.JSONEncoder(check_circular=False, allow_nan=False, separators=(",", ":")).encode

Object = dict[str, Any]


def submission(run: Run) -> Iterator[str]:
    """Yield *run* as the JSON of one submission, one object a line."""
    session = identity(run)
    used = {result.target for result in run.results}
    targets = [target for target in run.targets if target.name in used]
    kernels = dict.fromkeys(target.kernel for target in targets) or [""]
    yield '{"version":{"major":5,"minor":3},\n"checkouts":[\n'
    yield ",\n".join(_ENCODE(_checkout(kernel, session)) for kernel in kernels)
    yield '],\n"builds":[\n'
    yield ",\n".join(_ENCODE(_build(target, session)) for target in targets)
    yield '],\n"tests":['
    shared = {target.name: _shared(target, session) for target in run.targets}
    for number, (target, test) in enumerate(_tests(run), 1):
        yield "\n" if number == 1 else ",\n"
        yield _ENCODE({"id": f"{ORIGIN}:{session}-{number}", **shared[target], **test})
    yield "]}\n"


def status(result: Result) -> str:
    """Return KCIDB's status word for *result*."""
    failed = result.bad and result.verdict in (Verdict.CHANGED, Verdict.XPASS)
    return "FAIL" if failed else _STATUS[result.verdict]


def identity(run: Run) -> str:
    """Return what names this run among all others: 16 hexadecimal digits."""
    text = "\n".join(f"{session.host} {session.started_ns}" for session in run.sessions)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _checkout(kernel: str, session: str) -> Object:
    checkout: Object = {"id": _checkout_id(kernel, session), "origin": ORIGIN, "valid": True}
    return checkout | ({"comment": f"Linux {kernel}", "misc": {"kernel": kernel}} if kernel else {})


def _checkout_id(kernel: str, session: str) -> str:
    return f"{ORIGIN}:{session}-{names.slug(kernel)}" if kernel else f"{ORIGIN}:{session}"


def _build(target: ReportTarget, session: str) -> Object:
    build: Object = {
        "id": f"{ORIGIN}:{session}-{names.target_slug(target.name)}",
        "origin": ORIGIN,
        "checkout_id": _checkout_id(target.kernel, session),
        "comment": target.title,
        "misc": {**_words(target), "facts": dict(target.facts)},
    }
    if target.arch:
        build["architecture"] = target.arch
    return build


def _tests(run: Run) -> Iterator[tuple[str, Object]]:
    """Yield the target of each result, and of each series it has, with what is its own."""
    host = run.sessions[0].host if run.sessions else ""
    simulated = run.simulated
    for result in run.results:
        test = _test(result, host)
        yield result.target, test
        for sample in result.samples:
            if sample.values:
                yield result.target, _measurement(test, sample, simulated=result.target in simulated)


def _shared(target: ReportTarget, session: str) -> Object:
    """Return what all tests of *target* have in common."""
    return {
        "build_id": f"{ORIGIN}:{session}-{names.target_slug(target.name)}",
        "origin": ORIGIN,
        "environment": _environment(target),
    }


def _test(result: Result, host: str) -> Object:
    test: Object = {
        "path": f"{PATH}.{result.subject}.{result.name}",
        "status": status(result),
        "duration": result.duration_ns / 1e9,
    }
    if result.start_ns:
        test["start_time"] = _rfc3339(result.start_ns)
    if result.log and result.verdict is not Verdict.PASS:
        test["log_excerpt"] = clip(result.log, EXCERPT_LIMIT)
    words = [
        ("message", result.message),
        ("reason", result.reason),
        ("known_issue", result.known_issue),
        ("promise", result.promise),
        ("reproduce", result.repro),
        ("runtime", host),
    ]
    said = {name: text for name, text in words if text}
    test["misc"] = {"verdict": result.verdict, "nodeid": result.nodeid, **said}
    return test


def _rfc3339(time_ns: int) -> str:
    seconds, rest_ns = divmod(time_ns, 1_000_000_000)
    return f"{_second(seconds)}.{rest_ns // 1000:06}+00:00"


@lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _measurement(test: Object, sample: Sample, *, simulated: bool) -> Object:
    seen = summarize(sample.values)
    leaf = names.slug(f"{sample.metric}.{sample.variant}" if sample.variant else sample.metric)
    return {
        "path": f"{test['path']}.{leaf}",
        "status": "DONE",
        "number": {"value": seen.mean, "unit": sample.unit, "prefix": "metric"},
        "misc": {
            "metric": sample.metric,
            "variant": sample.variant,
            "count": sample.count or seen.count,
            "deviation": seen.deviation,
            "median": seen.median,
            "p95": seen.p95,
            "simulated": simulated,
        },
    }


def _environment(target: ReportTarget) -> Object:
    misc: Object = {"platform": target.name, "simulated": target.simulated}
    return {"comment": target.title, "misc": misc | ({"kernel": target.kernel} if target.kernel else {})}


def _words(target: ReportTarget) -> Object:
    return {
        "kind": target.kind,
        "mode": target.mode,
        "generation": target.generation,
        "simulated": target.simulated,
        "kernel": target.kernel,
    }
