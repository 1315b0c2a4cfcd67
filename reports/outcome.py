# SPDX-License-Identifier: GPL-2.0-only
"""From pytest's reports on one test to the one result that the journal records."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from . import names
from .model import LOCAL, Verdict
from .text import TEXT_LIMIT, clip

# What pytest-timeout raises in the test, and what pytest says of a strict xfail that passed.
_TIMEOUT = re.compile(r"(?:Failed: )?Timeout \(>?\s*[0-9.]+s\)")
_NAMEABLE = frozenset(Verdict)
_ADDRESS = re.compile(r" at 0x[0-9a-f]{6,16}>")
_XPASS = "[XPASS(strict)]"

LOST_WORKER = "???"
"""The phase in pytest-xdist's report on a test whose worker died."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The journal records of one finished test: samples, a log or none, a result."""

    result: dict[str, Any]
    log: str
    samples: tuple[dict[str, Any], ...]


def judge(reports: Sequence[pytest.TestReport], targets: Sequence[str]) -> Outcome:
    """Return what *reports*, all that pytest made for one test, come to.

    The bench may name verdict, target and more in user_properties (see docs/reports.md); a
    test that names no target has none, whatever words its parameters are called by;
    what the phases themselves say is never better than that: an error in teardown is an
    error whatever was named before.
    """
    last = reports[-1]
    properties = _properties(reports)
    verdict, decisive = _verdict(reports)
    named = properties.get("verdict")
    if named in _NAMEABLE and not (verdict is Verdict.ERROR and not Verdict(named).bad):
        verdict = Verdict(named)
    nodeid = last.nodeid
    # A worker that dies takes along what its test would have told: then the name has to tell.
    lost = last.when == LOST_WORKER
    target = properties.get("target") or (names.target_of(nodeid, targets) if lost else LOCAL)
    reason = _reason(decisive) if verdict in (Verdict.SKIP, Verdict.XFAIL, Verdict.XPASS) else ""
    result: dict[str, Any] = {
        "nodeid": nodeid,
        "target": target,
        "subject": properties.get("subject") or names.subject_of(nodeid),
        "verdict": verdict.value,
        "message": properties.get("message") or (_message(decisive) if _tells(verdict) else ""),
        "reason": properties.get("known_issue_reason") or reason,
        "duration_ns": int(sum(report.duration for report in reports) * 1e9),
        "start_ns": int(reports[0].start * 1e9),
        "file": last.location[0],
        "line": (last.location[1] or 0) + 1,
        "known_issue": properties.get("known_issue", ""),
        "repro": properties.get("repro") or (_command(nodeid) if verdict.bad else ""),
    }
    if lost:
        result["ending"] = "crashed"
    samples = tuple(
        value for name, value in last.user_properties if name == "sample" and isinstance(value, dict)
    )
    return Outcome({key: value for key, value in result.items() if value != ""}, _log(reports), samples)


def collection_failure(report: pytest.CollectReport) -> Outcome:
    """Return the error, or the skip, of a module that could not be collected."""
    skipped = report.outcome == "skipped"
    result = {
        "nodeid": report.nodeid,
        "target": LOCAL,
        "verdict": (Verdict.SKIP if skipped else Verdict.ERROR).value,
        "message": "" if skipped else _message(report),
        "reason": _reason(report) if skipped else "",
        "file": report.nodeid.partition("::")[0],
    }
    log = "" if skipped else clip(_text(report), TEXT_LIMIT)
    return Outcome({key: value for key, value in result.items() if value != ""}, log, ())


def _verdict(reports: Sequence[pytest.TestReport]) -> tuple[Verdict, pytest.TestReport]:
    """Return what the phases say, and the report that decided it."""
    failed = [report for report in reports if report.outcome == "failed"]
    for report in failed:
        if report.when == "call":
            if _text(report).startswith(_XPASS):
                return Verdict.XPASS, report
            return (Verdict.TIMEOUT if _TIMEOUT.match(_message(report)) else Verdict.FAIL), report
    if failed:
        late = _TIMEOUT.match(_message(failed[0])) is not None
        return (Verdict.TIMEOUT if late else Verdict.ERROR), failed[0]
    for report in reports:
        expected = hasattr(report, "wasxfail")
        if report.outcome == "skipped":
            return (Verdict.XFAIL if expected else Verdict.SKIP), report
        if expected and report.when == "call":
            return Verdict.XPASS, report
    return Verdict.PASS, reports[0]


def _tells(verdict: Verdict) -> bool:
    return verdict in (Verdict.FAIL, Verdict.ERROR, Verdict.TIMEOUT, Verdict.XFAIL)


def _text(report: pytest.TestReport | pytest.CollectReport) -> str:
    # Not longreprtext, which names the worker; and no addresses of objects, which differ from
    # process to process: the same tests make the same report with any number of workers.
    return _ADDRESS.sub(" at 0x…>", str(report.longrepr)) if report.longrepr is not None else ""


def _properties(reports: Sequence[pytest.TestReport]) -> dict[str, str]:
    # Each phase's report has its own copy: what the bench says of the call stands in the
    # call's alone. A later phase speaks last.
    return {
        name: value for report in reports for name, value in report.user_properties if isinstance(value, str)
    }


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


def _has_traceback(report: pytest.TestReport) -> bool:
    return report.outcome == "failed" or (report.outcome == "skipped" and hasattr(report, "wasxfail"))


def _command(nodeid: str) -> str:
    return f"python3 -m pytest {shlex.quote(nodeid)}"


def _log(reports: Sequence[pytest.TestReport]) -> str:
    """Return tracebacks and captured output of all phases, each under its heading."""
    parts = [clip(_text(report), TEXT_LIMIT) for report in reports if _has_traceback(report)]
    # Each report carries the sections of the phases before it.
    for title, content in reports[-1].sections:
        if content.strip():
            parts.append(f"--- {title} ---\n{clip(content, TEXT_LIMIT)}")
    return "\n".join(part.rstrip("\n") for part in parts)
