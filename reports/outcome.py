# SPDX-License-Identifier: GPL-2.0-only
"""From pytest's reports on one test to the one result that the journal records."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pytest

from . import names
from .command import PytestCommand
from .model import LOCAL, Verdict
from .text import TEXT_LIMIT, clip

# What pytest-timeout raises in the test, and what pytest says of a strict xfail that passed.
_TIMEOUT = re.compile(r"(?:Failed: )?Timeout \(>?\s*[0-9.]+s\)")
_NAMEABLE = frozenset(Verdict) - {Verdict.NOT_RUN}
_BY_OPTION = frozenset((Verdict.CHANGED, Verdict.XPASS))
_ADDRESS = re.compile(r" at 0x[0-9a-f]{6,16}>")
_XPASS = "[XPASS(strict)]"

DEFAULT = PytestCommand()

LOST_WORKER = "???"
"""The phase in pytest-xdist's report on a test whose worker died."""


class OutcomeRecords(NamedTuple):
    """The journal records of one finished test: samples, a log or none, a result."""

    result: dict[str, str | int]
    log: str
    samples: tuple[dict[str, Any], ...]


def judge(
    reports: Sequence[pytest.TestReport], targets: Sequence[str], command: PytestCommand = DEFAULT
) -> OutcomeRecords:
    """Return what *reports*, all that pytest made for one test, come to.

    The command that runs a failed test again is what the harness says, else it comes from *command*.

    The harness may name verdict, target and more in user_properties (see docs/reports.md). A test
    that names no target has none, whatever its parameters are called. What the harness names
    never improves on the phases themselves: an error in teardown is an error.
    """
    last = reports[-1]
    nodeid = last.nodeid
    words, samples = _properties(reports)
    unusual = [report for report in reports if _unusual(report)]
    verdict, decisive = _verdict(unusual) if unusual else (Verdict.PASS, last)
    named = words.get("verdict")
    if named in _NAMEABLE and not (verdict is Verdict.ERROR and not Verdict(named).bad):
        verdict = Verdict(named)
    # What a test would have reported is lost with its worker: its name has to do.
    lost = last.when == LOST_WORKER
    file, line, _ = last.location
    result: dict[str, str | int] = {
        "nodeid": nodeid,
        "target": words.get("target") or (names.target_of(nodeid, targets) if lost else LOCAL),
        "subject": words.get("subject") or names.subject_of(nodeid),
        "verdict": verdict,
        "duration_ns": int(sum([report.duration for report in reports]) * 1e9),
        "start_ns": int(reports[0].start * 1e9),
        "file": file,
        "line": (line or 0) + 1,
    }
    if words or verdict is not Verdict.PASS:
        result |= _why(verdict, decisive, words)
    # What pytest itself counts as failed is to fail the run, whatever the verdict is called.
    if verdict in _BY_OPTION and any(report.outcome == "failed" for report in reports):
        result["strict"] = True
    if (verdict.bad or "strict" in result) and "repro" not in result:
        result["repro"] = command.line(nodeid, str(result["target"]))
    if lost:
        result["ending"] = "crashed"
    return OutcomeRecords(result, _log(unusual, last.sections), samples)


def collection_failure(report: pytest.CollectReport, command: PytestCommand = DEFAULT) -> OutcomeRecords:
    """Return the error, or the skip, of a module that could not be collected."""
    skipped = report.outcome == "skipped"
    result: dict[str, str | int] = {
        "nodeid": report.nodeid,
        "target": LOCAL,
        "verdict": (Verdict.SKIP if skipped else Verdict.ERROR).value,
        "message": "" if skipped else _message(report),
        "reason": _reason(report) if skipped else "",
        "repro": "" if skipped else command.line(report.nodeid, LOCAL),
        "file": report.nodeid.partition("::")[0],
    }
    log = "" if skipped else clip(_text(report), TEXT_LIMIT)
    return OutcomeRecords({key: value for key, value in result.items() if value != ""}, log, ())


def _verdict(unusual: Sequence[pytest.TestReport]) -> tuple[Verdict, pytest.TestReport]:
    """Return what the phases that did not simply pass say, and the report that decided it."""
    failed = [report for report in unusual if report.outcome == "failed"]
    for report in failed:
        if report.when == "call":
            if _text(report).startswith(_XPASS):
                return Verdict.XPASS, report
            return (Verdict.TIMEOUT if _TIMEOUT.match(_message(report)) else Verdict.FAIL), report
    if failed:
        late = _TIMEOUT.match(_message(failed[0])) is not None
        return (Verdict.TIMEOUT if late else Verdict.ERROR), failed[0]
    for report in unusual:
        expected = hasattr(report, "wasxfail")
        if report.outcome == "skipped":
            return (Verdict.XFAIL if expected else Verdict.SKIP), report
        if expected and report.when == "call":
            return Verdict.XPASS, report
    return Verdict.PASS, unusual[0]


def _why(verdict: Verdict, decisive: pytest.TestReport, words: Mapping[str, str]) -> dict[str, str]:
    """Return what there is to say of *verdict*; what the harness says goes before what pytest says."""
    explains = verdict in (Verdict.FAIL, Verdict.CHANGED, Verdict.ERROR, Verdict.TIMEOUT, Verdict.XFAIL)
    excused = verdict in (Verdict.SKIP, Verdict.XFAIL, Verdict.XPASS)
    found = {
        "message": words.get("message") or (_message(decisive) if explains else ""),
        "reason": words.get("known_issue_reason") or (_reason(decisive) if excused else ""),
        "known_issue": words.get("known_issue", ""),
        "repro": words.get("repro", ""),
        "sentence": words.get("sentence", ""),
        "promise": words.get("promise", ""),
    }
    return {name: text for name, text in found.items() if text}


def _text(report: pytest.TestReport | pytest.CollectReport) -> str:
    # Not longreprtext, which names the worker; and without addresses of objects, which differ from
    # process to process: the same tests make the same report with any number of workers.
    return _ADDRESS.sub(" at 0x…>", str(report.longrepr)) if report.longrepr is not None else ""


def _properties(reports: Sequence[pytest.TestReport]) -> tuple[dict[str, str], tuple[dict[str, Any], ...]]:
    """Return the words and the samples in user_properties."""
    # Each phase's report has its own copy: what the harness says of the call stands only in the
    # call's. A later phase overrides it, and has all samples.
    pairs = [pair for report in reports for pair in report.user_properties]
    if not pairs:
        return {}, ()
    words = {name: value for name, value in pairs if isinstance(value, str)}
    last = reports[-1].user_properties
    samples = [value for name, value in last if name == "sample" and isinstance(value, dict)]
    return words, tuple(samples)


def _message(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Return the first line of what was raised; for a report without a traceback its last line."""
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is not None:
        return str(crash.message).partition("\n")[0]
    lines = _text(report).strip().splitlines()
    return lines[-1].removeprefix("E").strip() if lines else "failed without a word"


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    expected = getattr(report, "wasxfail", None)
    if expected is not None:
        return str(expected).removeprefix("reason: ")
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    return _text(report).removeprefix(_XPASS).strip().partition("\n")[0]


def _unusual(report: pytest.TestReport) -> bool:
    # A report that passed and has a traceback is one of behaviour that changed, in a run that stays green.
    return report.outcome != "passed" or hasattr(report, "wasxfail") or report.longrepr is not None


def _has_traceback(report: pytest.TestReport) -> bool:
    return report.outcome != "skipped" or hasattr(report, "wasxfail")


def _log(unusual: Sequence[pytest.TestReport], sections: Sequence[tuple[str, str]]) -> str:
    """Return tracebacks and captured output of all phases, each under its heading.

    *sections* are those of the last report: each carries those of the phases before it.
    """
    if not unusual and not sections:
        return ""
    parts = [clip(_text(report), TEXT_LIMIT) for report in unusual if _has_traceback(report)]
    for title, content in sections:
        if content.strip():
            parts.append(f"--- {title} ---\n{clip(content, TEXT_LIMIT)}")
    return "\n".join(part.rstrip("\n") for part in parts)
