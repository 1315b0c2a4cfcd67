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
    "squad/tests.json",
    "squad/metrics.json",
    "squad/metadata.json",
    "lava/results.txt",
    "report.html",
    "lab-matrix.md",
)
"""Every report of fixed name; the last is written by tools/lab_matrix.py."""

RAW_LIST = "bench/.written"
"""Names the raw readings in bench/, whose names come from targets and metrics, one a line."""

_RAW = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*\.csv")
_OURS = b'{"type":"session"'


class EarlierError(Exception):
    """A report cannot be removed; its text is one sentence for the user."""


def found(folder: Path) -> Iterator[Path]:
    """Yield the reports that lie in *folder*."""
    raw = []
    with suppress(OSError, UnicodeDecodeError):
        raw = (folder / RAW_LIST).read_text(encoding="utf-8").splitlines()
    names = [*NAMES, *(f"bench/{name}" for name in raw if _RAW.fullmatch(name)), RAW_LIST]
    for name in names:
        path = folder / name
        if path.is_file():
            yield path


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
