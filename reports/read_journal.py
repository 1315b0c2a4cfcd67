# SPDX-License-Identifier: GPL-2.0-only
"""The reader of journals: it returns the model, however the journal ended.

A journal may be cut anywhere, hold torn or foreign lines, or be several journals one after
the other. What was recorded is kept: a test that had started when the journal broke off is
the crashed one, collected tests whose turn never came are not run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from . import collector, merge, records
from .chapter import Chapter
from .journal import HOST, OLD_HOST
from .model import Run

PROBLEMS_SHOWN = 20
"""Unreadable lines named one by one for each journal; the rest are counted."""

_START = b'{"type":"start",'
_OF_ONE_HOST = re.compile(f'"(?:{HOST}|{OLD_HOST})":'.encode())


def read(paths: Sequence[Path]) -> Run:
    """Return what all journals in *paths* say, merged; OSError if one cannot be opened."""
    with collector.paused():
        runs: list[Run] = []
        for path in paths:
            with path.open("rb") as lines:
                runs.extend(parse(lines, str(path)))
        return merge.merge(runs)


def parse(lines: Iterable[bytes], name: str = "journal") -> list[Run]:
    """Return one run for each session in *lines*, texts cleaned. Raises nothing."""
    chapters: list[Chapter] = []
    problems: list[str] = []
    for number, line in enumerate(lines, 1):
        if line.startswith(_START) and line.endswith(b"}\n") and chapters and not _OF_ONE_HOST.search(line):
            chapters[-1].start_lines.append(line)
            continue
        record = records.decoded(line)
        if record is None:
            if line.strip():
                problems.append(f"{name}:{number}: not a complete record, left out")
            continue
        if record["type"] == "session" or not chapters:
            chapters.append(Chapter())
        complaint = chapters[-1].of_host(record).take(record)
        if complaint:
            problems.append(f"{name}:{number}: {complaint}")
    if not chapters:
        problems.append(f"{name}: holds no journal record")
    if len(problems) > PROBLEMS_SHOWN:
        problems[PROBLEMS_SHOWN:] = [f"{name}: {len(problems) - PROBLEMS_SHOWN} more lines left out"]
    runs = [run for chapter in chapters for run in chapter.runs()] or [Run()]
    return [*runs[:-1], Run(runs[-1].sessions, runs[-1].targets, runs[-1].results, tuple(problems))]
