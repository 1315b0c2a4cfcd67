# SPDX-License-Identifier: GPL-2.0-only
"""KTAP version 1, nested, and TAP version 13, flat (Documentation/dev-tools/ktap.rst).

Nested is for people and the KUnit parser, flat for every reader of kselftest. Only
result shapes that all of them read alike are written: an expected failure is ``ok``, a skip
is never ``not ok``, and no directive follows a result that it would reverse. A test that did
not run is in the plan and has no result: readers that check plans miss it, and comments name it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from . import unfinished
from .model import (
    ReportTarget,
    Result,
    Run,
    Verdict,
    by_subject,
    by_target,
    counts,
    judged,
    unexpected_pass,
)
from .names import target_slug
from .text import clip_line, defuse, defuse_command

LOG_LINES = 60
"""Lines of a log shown before its result; kselftest's runner filters byte by byte."""

LINE_LIMIT = 400
REASON_LIMIT = 120

INNER_SKIP = "skip"
"""The directive of a skipped test in a program of kselftest, of which others passed.

The netdev CI calls a whole program skipped where " # SKIP" stands anywhere in its output. TAP's
directives have no case: that CI's own list of tests, tap.py (LKFT), prove and tap-parser read this
one as a skip. The KUnit parser does not; it reads whole files, for which `SKIP` stays.
"""

MARKS = {verdict: f"#:verdict: {verdict}" for verdict in (Verdict.CHANGED, Verdict.XPASS)}
"""The line before a result whose verdict is neither its word nor a directive."""

NOT_RUN_MARK = "#:not-run: "
"""Before the name of a test that was planned and did not run: it has no result line."""

_VALUE = re.compile(r"\b(?:0x[0-9a-fA-F]+|\d+(?:[.,]\d+)*)\b")

_DIRECTIVE = {
    Verdict.XFAIL: "XFAIL",
    Verdict.ERROR: "ERROR",
    Verdict.TIMEOUT: "TIMEOUT",
}


def nested(run: Run) -> Iterator[str]:
    """Yield the lines of *run* as KTAP version 1: target, then subject, then test."""
    groups = list(by_target(run))
    yield f"KTAP version 1\n1..{len(groups)}\n"
    yield from _diagnostics(_unfinished(run), "")
    for number, (target, results) in enumerate(groups, 1):
        name = target_slug(target.name)
        subjects = list(by_subject(results))
        yield f"  KTAP version 1\n  # Subtest: {name}\n"
        yield from _diagnostics(_about(target), "  ")
        yield f"  1..{len(subjects)}\n"
        for place, (subject, tests) in enumerate(subjects, 1):
            yield f"    KTAP version 1\n    # Subtest: {subject}\n    1..{len(tests)}\n"
            for position, test in enumerate(judged(tests), 1):
                yield from result_lines(test, position, test.name, "    ")
            yield from not_run_lines(((test, test.name) for test in tests), "    ")
            yield f"  {_parent(tests)} {place} {subject}{_skipped(tests)}\n"
        yield f"{_parent(results)} {number} {name}{_skipped(results)}\n"
    yield totals(run.results)


def flat(run: Run) -> Iterator[str]:
    """Yield the lines of *run* as one TAP version 13 document, as kselftest wants it.

    Names are target, subject and test joined by dots, the target left out if there is only
    one. A run in which nothing ran is the plan 1..0 with the first reason.
    """
    yield "TAP version 13\n"
    results = run.results
    if all(result.verdict is Verdict.SKIP for result in results):
        why = constant(results[0].reason) if results else "no test chosen"
        yield f"1..0 # SKIP {why}\n"
        return
    for target in run.targets:
        yield from _diagnostics([f"target {target.name}", *_about(target)], "")
    yield f"1..{len(results)}\n"
    yield from _diagnostics(_unfinished(run), "")
    named = list(zip(results, flat_names(results), strict=True))
    ran = [(result, name) for result, name in named if result.verdict is not Verdict.NOT_RUN]
    for number, (result, name) in enumerate(ran, 1):
        yield from result_lines(result, number, name)
    yield from not_run_lines(named)
    yield totals(results)


def flat_names(results: Sequence[Result]) -> Iterator[str]:
    """Yield the name of each result in one flat document."""
    several = len({result.target for result in results}) > 1
    for result in results:
        path = f"{result.subject}.{result.name}"
        yield f"{target_slug(result.target)}.{path}" if several else path


def totals(results: Iterable[Result]) -> str:
    """Return the Totals line: six counters in the order of kselftest.h; a timeout is an error.

    Where less ran than was planned, the line that kselftest.h prints then stands before it.
    """
    kept = list(results)
    seen = counts(kept)
    planned = seen.total()
    lacking = seen[Verdict.NOT_RUN]
    failing = sum(result.bad for result in kept if result.verdict is Verdict.CHANGED)
    passing = seen[Verdict.CHANGED] - failing
    return (
        (f"# Planned tests != run tests ({planned} != {planned - lacking})\n" if lacking else "")
        + f"# Totals: pass:{seen[Verdict.PASS] + passing} fail:{seen[Verdict.FAIL] + failing}"
        f" xfail:{seen[Verdict.XFAIL]}"
        f" xpass:{seen[Verdict.XPASS]} skip:{seen[Verdict.SKIP]}"
        f" error:{seen[Verdict.ERROR] + seen[Verdict.TIMEOUT]}\n"
    )


def constant(reason: str) -> str:
    """Return *reason* fit to follow a directive: one short text on every host.

    LKFT makes it part of the published name, so values become N.
    """
    text = _VALUE.sub("N", defuse(reason)).replace("#", "(hash)")
    return clip_line(text, REASON_LIMIT) or "no reason given"


def result_lines(
    result: Result, number: int, name: str, indent: str = "", skip: str = "SKIP"
) -> Iterator[str]:
    """Yield the diagnostics of *result* and its line, as result *number* under *name*.

    *skip* is the directive of a skip: `SKIP`, or `INNER_SKIP`.
    """
    word = "not ok" if result.bad else "ok"
    directive = skip if result.verdict is Verdict.SKIP else _DIRECTIVE.get(result.verdict)
    if result.verdict in MARKS:
        # Metadata as KTAP version 2 drafts it: a comment to every reader, no diagnostic
        # text can look like it, and read_ktap recognizes the verdict by it.
        yield f"{indent}{MARKS[result.verdict]}\n"
    if result.verdict is not Verdict.PASS:
        yield from _diagnostics(_said(result), indent)
        if result.repro:
            yield f"{indent}# reproduce: {defuse_command(result.repro)}\n"  # whole, since it is to be run
        yield from _diagnostics(_log(result), indent)
    if directive is None:
        yield f"{indent}{word} {number} {name}\n"
    elif result.bad:
        yield f"{indent}{word} {number} {name} # {directive}\n"
    else:
        why = constant(result.known_issue or result.reason)
        yield f"{indent}{word} {number} {name} # {directive} {why}\n"


def not_run_lines(named: Iterable[tuple[Result, str]], indent: str = "") -> Iterator[str]:
    """Yield a comment for each of the results, with their names, that did not run."""
    for result, name in named:
        if result.verdict is Verdict.NOT_RUN:
            yield f"{indent}{NOT_RUN_MARK}{name}\n"


def _unfinished(run: Run) -> list[str]:
    said = unfinished.sentence(run)
    return [said] if said else []


def _said(result: Result) -> Iterator[str]:
    """Yield what people want to know first of a result that is not a pass."""
    said = unexpected_pass(result) if result.verdict is Verdict.XPASS else result.message
    if said:
        yield said
    if result.promise and result.verdict is not Verdict.SKIP:
        yield f"promise: {result.promise}"
    if (
        result.reason
        and result.reason not in said
        and (result.known_issue or result.reason != constant(result.reason))
    ):
        yield f"reason: {result.reason}"


def _log(result: Result) -> list[str]:
    lines = [line for line in result.log.splitlines() if line != result.message]
    if len(lines) > LOG_LINES:
        half = LOG_LINES // 2
        lines[half:-half] = [f"… {len(lines) - LOG_LINES} lines left out …"]
    return lines


def _about(target: ReportTarget) -> Iterator[str]:
    words = [target.kind, target.arch, target.mode, target.generation]
    yield ("simulated: " if target.simulated else "") + " ".join(word for word in words if word)
    if target.reason:
        yield target.reason
    for name, value in target.facts:
        yield f"{name}: {value}"


def _diagnostics(lines: Iterable[str], indent: str) -> Iterator[str]:
    for line in lines:
        text = defuse(clip_line(line.replace("\t", "    "), LINE_LIMIT))
        yield f"{indent}# {text}\n" if text else f"{indent}#\n"


def _parent(results: Iterable[Result]) -> str:
    incomplete = any(result.bad or result.verdict is Verdict.NOT_RUN for result in results)
    return "not ok" if incomplete else "ok"


def _skipped(results: Iterable[Result]) -> str:
    return " # SKIP all skipped" if all(result.verdict is Verdict.SKIP for result in results) else ""
