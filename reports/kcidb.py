# SPDX-License-Identifier: GPL-2.0-only
"""KCIDB schema 5.3: a submission of checkouts and builds, one of each a kernel under test, and tests.

Where a kernel comes from, and where logs can be read, a journal does not know: a file says it (`checkout`),
and without one each checkout lists what is missing.

KCIDB has no expected failure and no timeout: xfail is PASS and timeout ERROR, each with the
verdict's own word in misc. Changed behaviour and a known issue that no longer shows are FAIL where
they fail the run, else PASS. A test that did not run is MISS. Every series of a benchmark is
one more test, DONE, with its mean as ``number``: the verdict stays apart from the figure.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import repeat
from typing import Any

from . import lava, names
from .checkout import NOTHING_KNOWN, WANTED, KernelSource, SubmissionFacts
from .model import ReportTarget, Result, Run, Sample, Verdict
from .stats import summarize
from .text import clip

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


class _Ids:
    """The ids of one submission, and what is known of its kernels."""

    def __init__(self, run: Run, facts: SubmissionFacts) -> None:
        self.origin = facts.origin
        self._facts = facts
        self._begin = f"{facts.origin}:{names.identity(run)}"

    def source(self, target: ReportTarget) -> KernelSource | None:
        """Return where the kernel of *target* comes from; nothing for a simulated one."""
        return None if target.simulated else self._facts.source(target.kernel)

    def checkout(self, target: ReportTarget) -> str:
        """Return the id of the checkout of *target*'s kernel."""
        return f"{self._begin}-{names.slug(target.kernel)}" if target.kernel else self._begin

    def build(self, target: ReportTarget) -> str:
        """Return the id of the build of *target*'s kernel, ours or that of who submitted it."""
        source = self.source(target)
        if source is not None and source.build_id:
            return source.build_id
        return f"{self.checkout(target)}-{target.arch or 'unknown'}"

    def test(self, number: int) -> str:
        """Return the id of the test *number*."""
        return f"{self._begin}-{number}"


def submission(run: Run, facts: SubmissionFacts = NOTHING_KNOWN) -> Iterator[str]:
    """Yield *run*, with what else is known of it, as the JSON of one submission, one object a line."""
    ids = _Ids(run, facts)
    used = {result.target for result in run.results}
    targets = [target for target in run.targets if target.name in used]
    ours = [target for target in targets if not _is_submitted(ids.source(target))]
    checkouts = {ids.checkout(target): _checkout(target, ids) for target in ours}
    builds: dict[str, list[ReportTarget]] = {}
    for target in ours:
        builds.setdefault(ids.build(target), []).append(target)
    yield '{"version":{"major":5,"minor":3},\n"checkouts":[\n'
    yield ",\n".join(map(_ENCODE, checkouts.values()))
    yield '],\n"builds":[\n'
    yield ",\n".join(_ENCODE(_build(kernels, ids)) for kernels in builds.values())
    yield '],\n"tests":['
    shared = {target.name: _shared(target, ids) for target in run.targets}
    for number, (target_name, test) in enumerate(_tests(run, facts.logs), 1):
        yield "\n" if number == 1 else ",\n"
        yield _ENCODE({"id": ids.test(number), **shared[target_name], **test})
    yield "]}\n"


def _is_submitted(source: KernelSource | None) -> bool:
    return source is not None and bool(source.build_id)


def status(result: Result) -> str:
    """Return KCIDB's status word for *result*."""
    failed = result.bad and result.verdict in (Verdict.CHANGED, Verdict.XPASS)
    return "FAIL" if failed else _STATUS[result.verdict]


def _checkout(target: ReportTarget, ids: _Ids) -> Object:
    source = ids.source(target)
    known = dict(source.checkout) if source is not None else {}
    checkout: Object = {"id": ids.checkout(target), "origin": ids.origin, "valid": True}
    missing = [name for name in WANTED if name not in known]
    misc: Object = {"missing": missing} if missing else {}
    if target.kernel:
        checkout["comment"] = f"Linux {target.kernel}"
        misc["kernel"] = target.kernel
    return checkout | known | ({"misc": misc} if misc else {})


def _build(targets: Sequence[ReportTarget], ids: _Ids) -> Object:
    """Return the build of the kernel of *targets*, which have the same one."""
    first = targets[0]
    source = ids.source(first)
    build: Object = {
        "id": ids.build(first),
        "origin": ids.origin,
        "checkout_id": ids.checkout(first),
        "comment": f"Linux {first.kernel}" if first.kernel else "unknown kernel",
        "status": "PASS",  # It was built, since it ran.
        "misc": {
            "targets": {target.name: {**_words(target), "facts": dict(target.facts)} for target in targets}
        },
    }
    if first.arch:
        build["architecture"] = first.arch
    return build | (dict(source.build) if source is not None else {})


def _tests(run: Run, logs: str) -> Iterator[tuple[str, Object]]:
    """Yield the target of each result, and of each series it has, with what is its own."""
    host = run.sessions[0].host if run.sessions else ""
    simulated = run.simulated
    files = lava.log_names(run) if logs else repeat("")
    for result, file in zip(run.results, files, strict=False):
        test = _test(result, host)
        if file:
            test["log_url"] = f"{logs.removesuffix('/')}/{file}"
        yield result.target, test
        for sample in result.samples:
            if sample.values:
                yield result.target, _measurement(test, sample, simulated=result.target in simulated)


def _shared(target: ReportTarget, ids: _Ids) -> Object:
    """Return what all tests of *target* have in common."""
    return {"build_id": ids.build(target), "origin": ids.origin, "environment": _environment(target)}


def _test(result: Result, host: str) -> Object:
    test: Object = {
        "path": f"{PATH}.{result.subject}.{result.name}",
        "status": status(result),
        "duration": result.duration_ns / 1e9,
    }
    if result.start_ns:
        test["start_time"] = _rfc3339(result.start_ns)
    if result.verdict is not Verdict.PASS and (excerpt := result.log or result.message or result.reason):
        test["log_excerpt"] = clip(excerpt, EXCERPT_LIMIT)
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
