# SPDX-License-Identifier: GPL-2.0-only
"""report.html: one self-contained page, opened from disk, readable without script.

Everything except the matrix is plain markup; the matrix is made by templates/report.js from
the data of `html_data`. Texts are escaped by the template engine, or stand in JSON that
cannot end its element; the page's content security policy allows our own script and style
by their hashes and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

from markupsafe import Markup

from . import across_kernels, answer, html_data, html_frame, html_groups, html_known, html_targets, unfinished
from .as_program import offered
from .compare import Comparison
from .history import History
from .html_benchmarks import benchmarks
from .html_plots import number
from .model import (
    LOCAL,
    NOTABLE,
    Result,
    Run,
    Session,
    Verdict,
    by_subject,
    by_target,
    counts,
    unexpected_pass,
)
from .text import clip, clip_line

PLAIN_RESULTS = 2_000
"""Results up to which the page holds the whole matrix also for readers without script."""

ACROSS_SHOWN = 200
HISTORY_SHOWN = 200
RUNS_SHOWN = 40
SESSIONS_FIRST = 3

SHORT_LOG = 4_000
MESSAGE_LIMIT = 600
CASE_MESSAGE_LIMIT = 200

_PARTS_OF_A_NAME = re.compile(r"(?<=[-_.@/])")


@dataclass(frozen=True, slots=True)
class _Plain:
    name: str
    rows: tuple[tuple[str, tuple[str, ...]], ...]


def page(run: Run, comparison: Comparison | None = None, history: History | None = None) -> Iterator[str]:
    """Yield the page of *run* in pieces, with what a *comparison* and a *history* found."""
    data, logs = html_data.build(run, comparison)
    families = across_kernels.families(run)
    known = html_known.known_issues(run)
    data["known"] = [issue.name for issue in known]
    engine = html_frame.environment(**_FILTERS, as_program=offered(run.targets))
    yield from html_frame.rendered(
        engine,
        "report.html.j2",
        "report.js",
        run=run,
        title=f"KVM guest counters: {answer.sentence(run)}",
        answers=_answers(run, comparison, families),
        mood=_mood(run, comparison),
        table=html_targets.table(run),
        bad=html_groups.bad(run.results),
        noted=html_groups.noted(run.results),
        comparison=comparison,
        changes=html_groups.changes(comparison),
        families=families,
        across_shown=ACROSS_SHOWN,
        history=history,
        history_shown=HISTORY_SHOWN,
        runs_shown=RUNS_SHOWN,
        sessions_first=SESSIONS_FIRST,
        benchmarks=benchmarks(run),
        known=known,
        known_place={issue.name: place for place, issue in enumerate(known, 1)},
        plain=_plain(run),
        plain_targets=[target for target, _ in by_target(run)],
        plain_everything=len(run.results) <= PLAIN_RESULTS,
        bad_words=set(NOTABLE),
        no_target=LOCAL,
        data=_json(data),
        logs=_json(logs),
        letter=html_data.letter,
        letter_of=lambda verdict: html_data.VERDICT_LETTERS[Verdict(verdict)],
    )


def _answers(
    run: Run, comparison: Comparison | None, families: Sequence[across_kernels.KernelFamily]
) -> list[str]:
    """Return the headlines: what changed comes before what is."""
    turned = [found for found in families if found.failing() or found.repaired()]
    since = [answer.since(comparison)] if comparison else []
    return [*since, *map(answer.across, turned), answer.sentence(run)]


def _mood(run: Run, comparison: Comparison | None) -> str:
    """Return how the headline looks: bad, stopped, or good."""
    if any(result.bad for result in run.results):
        return "bad"
    lost = comparison is not None and comparison.status()
    return "stopped" if unfinished.sentence(run) or lost else "good"


def _json(value: object) -> Markup:
    return Markup("".join(html_data.encode(value)))  # noqa: S704


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


def _brief(message: str) -> str:
    return clip_line(message, MESSAGE_LIMIT)


def _briefer(message: str) -> str:
    return clip_line(message, CASE_MESSAGE_LIMIT)


def _short(log: str) -> str:
    return clip(log, SHORT_LOG)


def _breakable(name: str) -> Markup:
    """Return *name* with the places where a narrow page may break it; a copy of it has none of them."""
    return Markup("<wbr>").join(_PARTS_OF_A_NAME.split(name))


def _more(count: int, noun: str) -> str:
    return f"{count:,} more {noun}" if count == 1 else f"{count:,} more {noun}s"


def _address(result: Result) -> str:
    return "test=" + quote(f"{result.subject}/{result.name}", safe="")


_FILTERS = {
    "when": _when,
    "took": _took,
    "said": _said,
    "address": _address,
    "figure": number,
    "breakable": _breakable,
    "grouped": _grouped,
    "more": _more,
    "short": _short,
    "brief": _brief,
    "briefer": _briefer,
}
