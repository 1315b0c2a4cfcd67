# SPDX-License-Identifier: GPL-2.0-only
"""JUnit XML: one test suite for each target and subject, through the junit-xml library.

What the library builds is put right before it is written: no ``disabled``, times with three
decimals and also when they are 0, and every failure has a message (without one the library
drops the element, and the test looks passed). Suites are built in pieces, so memory does not
grow with the run. Passes and skips without output, which are nearly all that most runs have, are
written as the library would, in a fifth of its time: it writes each reason for a skip once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from html import escape
from itertools import chain
from xml.etree import ElementTree as ET

from junit_xml import TestCase, TestSuite

from . import unfinished
from .model import ReportTarget, Result, Run, Verdict, by_subject, by_target, counts, judged, unexpected_pass
from .text import clip

PIECE = 500
"""Test cases built at a time."""

OUTPUT_LIMIT = 100_000
"""Characters of output a case: Jenkins keeps no more, and libxml2 refuses ten million."""

MISSING = "not-run"
"""Name of the test case that stands for all tests of its suite that did not run."""

_ERRORS = (Verdict.ERROR, Verdict.TIMEOUT, Verdict.NOT_RUN)

Attributes = dict[str, str]


def strict(run: Run) -> Iterator[str]:
    """Yield *run* as JUnit XML that Jenkins' strict schema accepts."""
    yield from _document(run, places=False)


def located(run: Run) -> Iterator[str]:
    """Yield *run* as JUnit XML with the file and line that GitLab and GitHub show."""
    yield from _document(run, places=True)


def _document(run: Run, *, places: bool) -> Iterator[str]:
    yield '<?xml version="1.0" encoding="UTF-8"?>\n'
    why = unfinished.sentence(run)
    suites = [
        (target, subject, _with_missing(tests, why))
        for target, results in by_target(run)
        for subject, tests in by_subject(results)
    ]
    every = chain.from_iterable(tests for _, _, tests in suites)
    yield _tag("testsuites", {"name": "kvm counters", **_sums(every)}) + "\n"
    host = run.sessions[0].host if run.sessions else ""
    for target, subject, tests in suites:
        yield from _suite(target, subject, tests, host, places)
    yield "</testsuites>\n"


def _with_missing(tests: Sequence[Result], why: str) -> Sequence[Result]:
    """Return *tests*, with one in the last place for all that did not run.

    JUnit has no word for those. Left out, they would make a suite green; as errors of their own,
    they would be as many new failures to a CI that compares with the last run.
    """
    ran = judged(tests)
    if len(ran) == len(tests):
        return tests
    names = "\n".join(test.name for test in tests if test.verdict is Verdict.NOT_RUN)
    said = f"{len(tests) - len(ran)} of {len(tests)} tests of this suite did not run: {why}"
    lost = next(test for test in tests if test.verdict is Verdict.NOT_RUN)
    return [*ran, lost._replace(name=MISSING, message=said, reason="", log=names, duration_ns=0, line=0)]


def _suite(
    target: ReportTarget, subject: str, tests: Sequence[Result], host: str, places: bool
) -> Iterator[str]:
    skipped = sum(test.verdict in (Verdict.SKIP, Verdict.XFAIL) for test in tests)
    attributes = {"name": f"{target.name}.{subject}", **_sums(tests), "skipped": str(skipped)}
    started_ns = min(test.start_ns for test in tests)
    if started_ns:
        attributes["timestamp"] = datetime.fromtimestamp(started_ns / 1e9, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    if host:
        attributes["hostname"] = host
    yield _tag("testsuite", attributes) + "\n"
    properties = TestSuite("", properties=_properties(target)).build_xml_doc().find("properties")
    if properties is not None:
        yield ET.tostring(properties, encoding="unicode") + "\n"
    for first in range(0, len(tests), PIECE):
        yield _cases(f"{target.name}.{subject}", tests[first : first + PIECE], places)
    yield "</testsuite>\n"


def _cases(classname: str, tests: Sequence[Result], places: bool) -> str:
    cases = [_case(classname, test, places) for test in tests if not _is_brief(test)]
    elements = iter(TestSuite("", cases).build_xml_doc())
    lines = []
    group = f'classname="{escape(classname)}"'
    for test in tests:
        if _is_brief(test):
            lines.append(_brief_case(group, test, places))
        else:
            element = next(elements)
            element.set("time", _seconds(test.duration_ns))
            lines.append(ET.tostring(element, encoding="unicode"))
    return "\n".join([*lines, ""])


def _is_brief(test: Result) -> bool:
    return test.verdict in (Verdict.PASS, Verdict.SKIP) and not test.log


def _brief_case(group: str, test: Result, places: bool) -> str:
    where = _where(test.file, test.line) if places and test.file else ""
    begin = f'<testcase name="{escape(test.name)}" {group}{where} time="{_seconds(test.duration_ns)}"'
    if test.verdict is Verdict.PASS:
        return f"{begin} />"
    return f"{begin}>{_skip(_message(test))}</testcase>"


@lru_cache
def _skip(message: str) -> str:
    case = TestCase("")
    case.add_skipped_info(message, message)
    [element] = TestSuite("", [case]).build_xml_doc().iterfind("testcase/skipped")
    return ET.tostring(element, encoding="unicode")


@lru_cache
def _where(file: str, line: int) -> str:
    # Parameters of one test stand in one place, one after the other.
    return f' file="{escape(file)}"' + (f' line="{line}"' if line else "")


def _case(classname: str, test: Result, places: bool) -> TestCase:
    case = TestCase(test.name, classname, stdout=_output(test))
    if places and test.file:
        case.file, case.line = test.file, str(test.line) if test.line else None
    if test.verdict in _ERRORS:
        case.add_error_info(_message(test), _detail(test), test.verdict.value)
    elif test.bad:
        case.add_failure_info(_message(test), _detail(test), test.verdict.value)
    elif test.verdict in (Verdict.SKIP, Verdict.XFAIL):
        # The library has no type for a skip; GitLab shows the content, others the message.
        case.add_skipped_info(_message(test), _message(test))
    return case


def _message(test: Result) -> str:
    """Return the one line of a result that is not a pass; never empty."""
    if test.verdict is Verdict.XPASS:
        return unexpected_pass(test)
    if test.verdict is Verdict.XFAIL:
        return f"expected failure: {test.known_issue or test.reason or 'no reason given'}"
    return test.message or test.reason or test.verdict.value


def _detail(test: Result) -> str:
    promise = f"promise: {test.promise}" if test.promise else ""
    repro = f"reproduce: {test.repro}" if test.repro else ""
    parts = (test.message, promise, test.reason, test.log, repro)
    return clip("\n".join(part for part in parts if part), OUTPUT_LIMIT)


def _output(test: Result) -> str | None:
    """Return the log where no failure element holds it, and what a pass in their eyes is in ours."""
    if test.bad or test.verdict is Verdict.NOT_RUN:
        return None
    if test.verdict in (Verdict.CHANGED, Verdict.XPASS):
        return clip(f"{test.verdict}: {_message(test)}\n{_detail(test)}", OUTPUT_LIMIT)
    return clip(test.log, OUTPUT_LIMIT) if test.log else None


def _properties(target: ReportTarget) -> Attributes:
    words = {
        "target": target.name,
        "kind": target.kind,
        "arch": target.arch,
        "mode": target.mode,
        "generation": target.generation,
        "simulated": str(target.simulated).lower(),
    }
    return {name: value for name, value in words.items() if value} | {
        f"fact.{name}": str(value) for name, value in target.facts
    }


def _sums(results: Iterable[Result]) -> Attributes:
    tests = list(results)
    seen = counts(tests)
    return {
        "tests": str(seen.total()),
        "failures": str(sum(test.bad and test.verdict not in _ERRORS for test in tests)),
        "errors": str(sum(seen[verdict] for verdict in _ERRORS)),
        "time": _seconds(sum(test.duration_ns for test in tests)),
    }


def _seconds(duration_ns: int) -> str:
    return f"{duration_ns / 1e9:.3f}"


def _tag(name: str, attributes: Attributes) -> str:
    # Not xml.sax.saxutils, which brings half a web client along. Every text that gets here is one line.
    words = [f'{key}="{escape(value)}"' for key, value in attributes.items()]
    return f"<{name} {' '.join(words)}>"
