# SPDX-License-Identifier: GPL-2.0-only
"""Reports of an earlier run, which never stay next to a newer journal.

A run that dies leaves a journal and no reports: what lay there from the run before would be
taken for its own. Only files that our writers write are removed, and only by their names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

NAMES = (
    "results.ktap",
    "results.tap",
    "results.csv",
    "junit.xml",
    "junit-located.xml",
    "kcidb.json",
    "lava/results.txt",
    "report.html",
    "lab-matrix.md",
    "lab-knobs.md",
    "moves.md",
    "moves.json",
)
"""Every report of fixed name; the last four: tools/lab_matrix.py, tools/lab_knobs.py, tools/moves."""

FORMER_NAMES = ("squad/tests.json", "squad/metrics.json", "squad/metadata.json")
"""Reports that the last release wrote."""

FOLDERS = {"bench": ".csv", "lava": ".log", "squad": ".json"}
"""Folders whose files are named after targets, tests and metrics, and how these names end."""

LIST = ".written"
"""Names, in each of `FOLDERS`, the files that were written there, one a line."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_OURS = b'{"type":"session"'


class EarlierError(Exception):
    """A report cannot be removed; its text is one sentence for the user."""


def found(folder: Path) -> Iterator[Path]:
    """Yield the reports that lie in *folder*."""
    names = [*NAMES, *FORMER_NAMES]
    for inner in FOLDERS:
        names += [f"{inner}/{name}" for name in _listed(folder, inner)]
    for name in dict.fromkeys(names):
        path = folder / name
        if path.is_file():
            yield path


def _listed(folder: Path, inner: str) -> Iterator[str]:
    """Yield the names of the reports that the list in *folder*/*inner* names, and the list's own."""
    with suppress(OSError, UnicodeDecodeError):
        for name in (folder / inner / LIST).read_text(encoding="utf-8").splitlines():
            if _NAME.fullmatch(name) and name.endswith(FOLDERS[inner]):
                yield name
    yield LIST


def clear(report_dir: Path | None, journal: Path | None) -> None:
    """Remove what would lie next to a new *journal*: in *report_dir*, and where *journal* has a predecessor.

    `EarlierError` if a report stays.
    """
    folders = [report_dir] if report_dir is not None else []
    if journal is not None and _is_journal(journal):
        folders.append(journal.parent)
    try:
        for folder in dict.fromkeys(folders):
            _remove(folder)
    except OSError as error:
        raise EarlierError(
            f"cannot remove {error.filename}, a report of an earlier run: {error.strerror};"
            " choose another place with O="
        ) from error


def _remove(folder: Path) -> None:
    """Remove the reports that lie in *folder*, and folders that this empties."""
    for path in found(folder):
        path.unlink(missing_ok=True)
        if path.parent != folder:
            with suppress(OSError):
                path.parent.rmdir()


def _is_journal(path: Path) -> bool:
    with suppress(OSError):
        if path.is_file():
            with path.open("rb") as lines:
                return lines.read(len(_OURS)) == _OURS
    return False
