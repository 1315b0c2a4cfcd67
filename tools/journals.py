# SPDX-License-Identifier: GPL-2.0-only
"""Read journals that a user names, or refuse them in one sentence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from reports import merge, read_journal, records
from reports.model import Run


class NotAJournal(Exception):
    """A file holds no record of a journal; the text is one sentence for the user."""


def read(paths: Sequence[Path]) -> Run:
    """Return what the journals in *paths* say, merged.

    A damaged journal is read as far as it goes. `NotAJournal` for a file without a single record,
    OSError for one that cannot be opened.
    """
    for path in paths:
        _check(path)
    return read_journal.read(paths)


def past(places: Sequence[Path]) -> Iterator[Run]:
    r"""Yield one run for each session of the journals in *places*: files, and folders of them.

    Each journal is read once, however often it is named. In a folder, also in those below it,
    journals are the files \*.jsonl that begin with a record; others are passed over. `NotAJournal`
    and OSError as `read`, for a file that is named.
    """
    seen: set[Path] = set()
    for path in (path for place in places for path in _journals(place)):
        if path.resolve() not in seen:
            seen.add(path.resolve())
            with path.open("rb") as lines:
                sessions = read_journal.parse(lines, str(path))
            yield from (merge.merge([session]) for session in sessions if session.results)


def _journals(place: Path) -> Iterator[Path]:
    if place.is_dir():
        yield from (path for path in sorted(place.rglob("*.jsonl")) if path.is_file() and _begins(path))
    else:
        _check(place)
        yield place


def _begins(path: Path) -> bool:
    with path.open("rb") as lines:
        return records.decoded(next(iter(lines), b"")) is not None


def _check(path: Path) -> None:
    with path.open("rb") as lines:
        if not any(records.decoded(line) for line in lines):
            raise NotAJournal(f"{path} is not a journal: no line of it is a record")
