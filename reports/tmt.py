# SPDX-License-Identifier: GPL-2.0-only
"""tmt's custom results (results.yaml): one result a target, with a subresult for each test.

tmt knows seven outcomes, and four of them are as here. An expected failure is a pass, as where tmt
itself expects one. What fails a run only by option is a *warn* there, which ends tmt with its status
for failures, and else an *info*, which does not. A test that did not run is *pending*, and its target
an *error*, since tmt would take any pass next to it for the whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from . import unfinished
from .model import Result, Run, Verdict, by_target, counts, unexpected_pass
from .names import DistinctNames, target_slug
from .squad import story
from .text import LINE_LIMIT, clip_line

OUTCOMES = ("error", "fail", "warn", "pass", "info", "skip", "pending")
"""tmt's words, the worst first, as it reduces several to one."""

_WORDS = {
    Verdict.PASS: "pass",
    Verdict.FAIL: "fail",
    Verdict.SKIP: "skip",
    Verdict.XFAIL: "pass",
    Verdict.ERROR: "error",
    Verdict.TIMEOUT: "error",
    Verdict.NOT_RUN: "pending",
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def outcome(result: Result) -> str:
    """Return tmt's word for *result*."""
    return _WORDS.get(result.verdict) or ("warn" if result.bad else "info")


def overall(results: Sequence[Result]) -> str:
    """Return tmt's word for a target with *results*: the worst of theirs, "error" if one is missing."""
    found = {outcome(result) for result in results}
    return "error" if "pending" in found else next(word for word in OUTCOMES if word in found)


def results(run: Run, journal: str = "") -> Iterator[str]:
    """Yield the lines of results.yaml: "/" is the test that ran, or /TARGET where it ran on several.

    *journal* is the file that all comes from, if it lies next to results.yaml.
    """
    files = _log_files(run)
    targets = list(by_target(run))
    for target, found in targets:
        yield f"- name: {_text('/' if len(targets) == 1 else f'/{target_slug(target.name)}')}\n"
        yield f"  result: {overall(found)}\n"
        yield from _list("note", _summary(run, found), "  ")
        yield from _list("log", [journal] if journal else [], "  ")
        yield "  subresult:\n"
        for result, name in zip(found, _names(found), strict=True):
            yield f"  - name: {_text(f'/{name}')}\n"
            yield from _subresult(result, files.get((result.target, result.nodeid), ""))


def nothing(reason: str, word: str) -> Iterator[str]:
    """Yield results.yaml of a test in which nothing ran for *reason*; *word* is its outcome."""
    yield f"- name: {_text('/')}\n  result: {word}\n"
    yield from _list("note", [reason], "  ")


def logs(run: Run) -> Iterator[tuple[str, Iterator[str]]]:
    """Yield (file name, text) of each result that ran and is not a pass: TARGET.SUBJECT.NAME.log."""
    files = _log_files(run)
    for result in run.results:
        if name := files.get((result.target, result.nodeid)):
            yield name, iter([story(result) + "\n"])


def _subresult(result: Result, file: str) -> Iterator[str]:
    yield f"    result: {outcome(result)}\n"
    yield from _list("note", _notes(result), "    ")
    yield from _list("log", [file] if file else [], "    ")
    if result.start_ns:
        start = _EPOCH + timedelta(microseconds=result.start_ns // 1000)
        end = start + timedelta(microseconds=result.duration_ns // 1000)
        yield f"    start-time: {_text(start.isoformat(timespec='microseconds'))}\n"
        yield f"    end-time: {_text(end.isoformat(timespec='microseconds'))}\n"
        yield f"    duration: {_text(_duration(result))}\n"


def _duration(result: Result) -> str:
    minutes, seconds = divmod(round(result.duration_ns / 1e9), 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{seconds:02}"


def _notes(result: Result) -> list[str]:
    """Return what there is to say of *result*: our word for it where tmt has none, and why."""
    why = unexpected_pass(result) if result.verdict is Verdict.XPASS else result.message or result.reason
    if result.verdict is Verdict.XFAIL and result.reason:
        why = result.reason
    word = "" if result.verdict.value == outcome(result) else result.verdict.value
    said = ": ".join(part for part in (word, why) if part)
    return [clip_line(said, LINE_LIMIT)] if said else []


def _summary(run: Run, found: Sequence[Result]) -> list[str]:
    numbers = ", ".join(f"{number} {verdict}" for verdict, number in counts(found).items() if number)
    return [numbers, *filter(None, [unfinished.sentence(run)])]


def _names(found: Sequence[Result]) -> list[str]:
    """Return the names of one target's results *found*, with their subjects where there are several."""
    names, several = DistinctNames(), len({result.subject for result in found}) > 1
    plain = (f"{result.subject}.{result.name}" if several else result.name for result in found)
    return [names.add(name, result.nodeid) for name, result in zip(plain, found, strict=True)]


def _log_files(run: Run) -> dict[tuple[str, str], str]:
    """Return the name of the log of each result that has one, by target and node id."""
    names = DistinctNames()
    files = {}
    for result in run.results:
        if result.verdict not in (Verdict.PASS, Verdict.NOT_RUN):
            place = f"{target_slug(result.target)}.{result.subject}.{result.name}"
            name = names.add(place, f"{result.target} {result.nodeid}")
            files[result.target, result.nodeid] = f"{name}.log"
    return files


def _list(key: str, texts: Iterable[str], indent: str) -> Iterator[str]:
    found = list(texts)
    if found:
        yield f"{indent}{key}:\n"
        yield from (f"{indent}- {_text(text)}\n" for text in found)


def _text(text: str) -> str:
    # A quoted text of JSON is one of YAML.
    return json.dumps(text, ensure_ascii=False)
