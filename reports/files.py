# SPDX-License-Identifier: GPL-2.0-only
"""All reports of a run into one folder, each file whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from . import benchmark_csv, collector, earlier, html, junit, kcidb, ktap, lava, squad, table
from .checkout import NOTHING_KNOWN, SubmissionFacts
from .compare import Comparison
from .history import History
from .model import Run
from .whole_file import write_file

Writer = Callable[[Run], Iterable[str]]

WRITERS: dict[str, Writer] = {
    "results.ktap": ktap.nested,
    "results.tap": ktap.flat,
    "results.csv": table.rows,
    "junit.xml": junit.strict,
    "junit-located.xml": junit.located,
    "kcidb.json": kcidb.submission,
    "lava/results.txt": lava.lines,
}
"""The reports of fixed name next to report.html: each writer is a pure function of a run."""

FAMILIES: dict[str, Callable[[Run], Iterable[tuple[str, Iterable[str]]]]] = {
    "bench": benchmark_csv.csv_files,
    "lava": lava.logs,
    "squad": squad.submissions,
}
"""The reports of which there are many, by folder: each writer yields names and texts (`earlier.FOLDERS`)."""


def write_reports(
    run: Run,
    folder: Path,
    comparison: Comparison | None = None,
    history: History | None = None,
    facts: SubmissionFacts = NOTHING_KNOWN,
) -> list[Path]:
    """Write every report of *run* into *folder*; return the files, in order.

    What an earlier run left there and this one does not have is removed. The page also shows
    what a baseline *comparison* and a *history* found; KCIDB's submission says the *facts*.
    """
    writers = WRITERS | {"kcidb.json": partial(kcidb.submission, facts=facts)}
    before = set(earlier.found(folder))
    with collector.paused():
        written = [write_file(folder / name, writer(run)) for name, writer in writers.items()]
        written.append(write_file(folder / "report.html", html.page(run, comparison, history)))
        for inner, family in FAMILIES.items():
            written += _write_family(folder / inner, family(run))
    for path in before.difference(written):
        path.unlink(missing_ok=True)
    return [path for path in written if path.name != earlier.LIST]


def _write_family(folder: Path, members: Iterable[tuple[str, Iterable[str]]]) -> list[Path]:
    """Write the list of *members*, if there are any, and each of them; return the files."""
    named = list(members)
    if not named:
        return []
    # The list first: a run that is killed in between leaves no file that nobody knows of.
    written = [write_file(folder / earlier.LIST, [f"{name}\n" for name, _ in named])]
    return [*written, *(write_file(folder / name, lines) for name, lines in named)]
