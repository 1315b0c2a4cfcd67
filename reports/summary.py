# SPDX-License-Identifier: GPL-2.0-only
"""The closing summary on the terminal: a table by target, then every failure by name."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from . import benchmark_tables, earlier, unfinished
from .as_program import as_program, offered
from .model import NOTABLE, Result, ResultEnding, Run, Verdict, by_target, counts, unexpected_pass
from .text import clip_line

MESSAGE_LIMIT = 300


FALLBACK_WIDTH = 132
"""Columns of an output that is not a terminal: three classic tables."""


MISSING_SHOWN = 10
"""Tests named that did not run; results.csv and results.tap name all."""


def lines(run: Run) -> Iterator[str]:
    """Yield the lines of the summary of *run*, plain text; what makes it unfinished comes last."""
    yield from table(run)
    yield from named(run)
    for problem in run.problems:
        yield f"note: {problem}"
    if said := unfinished.sentence(run):
        yield f"NOT FINISHED: {said}"


def benchmarks(run: Run) -> list[str]:
    """Return the benchmark tables of *run* for this terminal; none if it measured nothing."""
    if not any(result.samples for result in run.results):
        return []
    columns = shutil.get_terminal_size((FALLBACK_WIDTH, 24)).columns
    return list(benchmark_tables.lines(run, columns))


def places(written: Sequence[Path], folder: Path) -> str:
    """Return where the reports are, below *folder*; those of which there are many by their number."""
    names = [str(path.relative_to(folder)) for path in written]
    many = Counter(name.partition("/")[0] for name in names if name not in earlier.NAMES)
    single = [name for name in names if name in earlier.NAMES]
    return " ".join([*single, *(f"{inner}/ ({number})" for inner, number in many.items())])


def table(run: Run) -> Iterator[str]:
    """Yield the table of verdicts by target, with a line for all where there are several."""
    groups = list(by_target(run))
    rows = [[target.title, *_numbers(results)] for target, results in groups]
    if len(groups) > 1:
        rows.append(["all", *_numbers(run.results)])
    heads = ["target", *Verdict, "seconds"]
    yield from _aligned([heads, *rows])


def named(run: Run) -> Iterator[str]:
    """Yield one line, or more, for each result that is `NOTABLE`, and for what did not run."""
    program = offered(run.targets)
    for verdict in NOTABLE:
        for result in run.results:
            if result.verdict is verdict:
                yield from _notable(result, program)
    missing = [result for result in run.results if result.verdict is Verdict.NOT_RUN]
    for result in missing[:MISSING_SHOWN]:
        yield f"NOT RUN {result.target} {result.subject} {result.name}"
    if len(missing) > MISSING_SHOWN:
        yield f"NOT RUN and {len(missing) - MISSING_SHOWN} more, see results.csv"
    for target in run.targets:
        if not target.usable:
            yield f"not usable: {target.name}: {target.reason}"


def _aligned(rows: list[list[str]]) -> list[str]:
    try:
        from tabulate import tabulate
    except ImportError:  # A lab host, or one that runs kselftest, has pytest and no more.
        return ["  ".join(f"{cell:>8}" for cell in [*row[1:], row[0]]) for row in rows]
    alignment = ("left", *["right"] * (len(rows[0]) - 1))
    # Texts only: tabulate would reformat what looks like a number.
    return tabulate(rows[1:], rows[0], "simple", disable_numparse=True, colalign=alignment).splitlines()


def _notable(result: Result, program: Callable[[Result], str] = as_program) -> Iterator[str]:
    word = "CRASHED" if result.ending is ResultEnding.CRASHED else result.verdict.upper()
    yield f"{word:<7} {result.target} {result.subject} {result.name}"
    if result.verdict is Verdict.XPASS:
        yield f"        {unexpected_pass(result)}"
    elif result.message:
        yield f"        {clip_line(result.message, MESSAGE_LIMIT)}"
    if result.promise:
        yield f"        promise: {result.promise}"
    if result.repro:
        yield f"        reproduce: {result.repro}"
    if command := program(result):
        yield f"        as C: {command}"


def _numbers(results: Sequence[Result]) -> list[str]:
    seen = counts(results)
    seconds = sum(result.duration_ns for result in results) / 1e9
    nothing = _dot()
    return [*(str(number) if number else nothing for number in seen.values()), f"{seconds:.2f}"]


def _dot() -> str:
    """Return a middle dot, or a full stop where standard output has none."""
    try:
        "·".encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return "."
    return "·"
