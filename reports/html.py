# SPDX-License-Identifier: GPL-2.0-only
"""report.html: one self-contained page, opened from disk, readable without script.

Everything except the matrix is plain markup; the matrix is made by templates/report.js from
the data of `html_data`. Texts are escaped by the template engine, or stand in JSON that
cannot end its element; the page's content security policy allows our own script and style
by their hashes and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from . import html_data, html_frame, unfinished
from .compare import Comparison, Kind
from .html_benchmarks import benchmarks
from .html_plots import number
from .model import (
    ReportTarget,
    Result,
    Run,
    Session,
    Verdict,
    by_subject,
    by_target,
    counts,
    judged,
    unexpected_pass,
)
from .text import clip

BAD_FIRST = 12
BAD_SHOWN = 200
"""Failures in sight, and failures written out as markup; the matrix has the others."""

CHANGES_FIRST = 20
CHANGES_SHOWN = 200
PLAIN_RESULTS = 2_000
"""Results up to which the page holds the whole matrix also for readers without script."""

SHORT_LOG = 4_000


@dataclass(frozen=True, slots=True)
class _Part:
    letter: str
    start: float
    width: float


@dataclass(frozen=True, slots=True)
class _TargetRow:
    target: ReportTarget
    numbers: tuple[int, ...]
    bar: tuple[_Part, ...]
    spoken: str
    words: str


@dataclass(frozen=True, slots=True)
class _Issue:
    name: str
    reason: str
    targets: tuple[str, ...]
    xfail: int
    xpass: int


@dataclass(frozen=True, slots=True)
class _Plain:
    name: str
    rows: tuple[tuple[str, tuple[str, ...]], ...]


def page(run: Run, comparison: Comparison | None = None) -> Iterator[str]:
    """Yield the page of *run* in pieces, with what differs from a baseline if there is one."""
    data, logs = html_data.build(run, comparison)
    bad = [result for result in run.results if result.verdict.bad]
    bad.sort(key=lambda result: result.verdict is not Verdict.FAIL)
    engine = html_frame.environment(
        when=_when,
        took=_took,
        said=_said,
        address=_address,
        figure=number,
        grouped=_grouped,
        short=_short,
    )
    yield from html_frame.rendered(
        engine,
        "report.html.j2",
        "report.js",
        run=run,
        title=f"KVM guest counters: {_headline(run, len(bad))}",
        headline=_headline(run, len(bad)),
        verdicts=list(Verdict),
        targets=[_target_row(target, results) for target, results in by_target(run)],
        bad=bad[:BAD_SHOWN],
        bad_first=BAD_FIRST,
        bad_words={verdict.value for verdict in Verdict if verdict.bad},
        unfinished=unfinished.sentence(run),
        bad_count=len(bad),
        comparison=comparison,
        change_counts=_change_counts(comparison),
        changes_first=CHANGES_FIRST,
        shown_changes=_shown_changes(comparison),
        benchmarks=benchmarks(run),
        known=_known(run),
        plain=_plain(run),
        plain_everything=len(run.results) <= PLAIN_RESULTS,
        data=_json(data),
        logs=_json(logs),
        letter=html_data.letter,
    )


def _json(value: object) -> Markup:
    return Markup("".join(html_data.encode(value)))  # noqa: S704


def _headline(run: Run, bad: int) -> str:
    total = len(run.results)
    if not total:
        return "no results"
    seen = counts(run.results)
    named = ((Verdict.PASS, "passed"), (Verdict.XFAIL, "failed as expected"), (Verdict.SKIP, "skipped"))
    well = ", ".join(f"{seen[verdict]:,} {word}" for verdict, word in named if seen[verdict])
    wrong = f"{bad:,} of {len(judged(run.results)):,} results went wrong" if bad else ""
    said = unfinished.sentence(run)
    return "; ".join(filter(None, (f"{said[0].upper()}{said[1:]}" if said else "", wrong or well)))


def _target_row(target: ReportTarget, results: Sequence[Result]) -> _TargetRow:
    seen = counts(results)
    bar = []
    start = 0.0
    for verdict in Verdict:
        width = 100 * seen[verdict] / len(results)
        if width:
            bar.append(_Part(html_data.VERDICT_LETTERS[verdict], round(start, 2), round(width, 2)))
        start += width
    return _TargetRow(
        target=target,
        numbers=tuple(seen[verdict] for verdict in Verdict),
        bar=tuple(bar),
        spoken=", ".join(f"{number} {verdict}" for verdict, number in seen.items() if number),
        words=" ".join(word for word in (target.kind, target.arch, target.mode, target.generation) if word),
    )


def _known(run: Run) -> list[_Issue]:
    issues: dict[str, list[Result]] = {}
    for result in run.results:
        if result.known_issue:
            issues.setdefault(result.known_issue, []).append(result)
    return [
        _Issue(
            name=name,
            reason=next((result.reason for result in results if result.reason), ""),
            targets=tuple(dict.fromkeys(result.target for result in results)),
            xfail=sum(result.verdict is Verdict.XFAIL for result in results),
            xpass=sum(result.verdict is Verdict.XPASS for result in results),
        )
        for name, results in issues.items()
    ]


def _plain(run: Run) -> list[_Plain]:
    """Return the matrix for readers without script: whole, or counted by subject."""
    targets = [target.name for target, _ in by_target(run)]
    cells: dict[str, dict[str, dict[str, str]]] = {}
    for target, results in by_target(run):
        for subject, tests in by_subject(results):
            rows = cells.setdefault(subject, {})
            if len(run.results) > PLAIN_RESULTS:
                seen = counts(tests)
                words = ", ".join(f"{number} {verdict}" for verdict, number in seen.items() if number)
                rows.setdefault("all tests", {})[target.name] = words
                continue
            for test in tests:
                rows.setdefault(test.name, {})[target.name] = test.verdict
    return [
        _Plain(
            subject,
            tuple((name, tuple(row.get(target, "") for target in targets)) for name, row in rows.items()),
        )
        for subject, rows in cells.items()
    ]


def _change_counts(comparison: Comparison | None) -> list[tuple[str, int]]:
    if comparison is None:
        return []
    found = [(kind.value, len(comparison.of(kind))) for kind in Kind]
    return [(kind, number) for kind, number in [*found, ("gone", len(comparison.gone))] if number]


def _shown_changes(comparison: Comparison | None) -> list[Any]:
    if comparison is None:
        return []
    order = list(Kind)
    return sorted(comparison.changes, key=lambda change: order.index(change.kind))[:CHANGES_SHOWN]


def _when(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _took(session: Session) -> str:
    return f"{(session.ended_ns - session.started_ns) / 1e9:,.1f} s"


def _said(result: Result) -> str:
    if result.verdict is Verdict.XPASS:
        return unexpected_pass(result)
    return result.message


def _grouped(count: int) -> str:
    return f"{count:,}" if count else "·"


def _short(log: str) -> str:
    return clip(log, SHORT_LOG)


def _address(result: Result) -> str:
    return "test=" + quote(f"{result.subject}/{result.name}", safe="")
