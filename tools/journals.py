# SPDX-License-Identifier: GPL-2.0-only
"""Read journals that a user names, or refuse them in one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from reports import read_journal, records
from reports.model import Run


class NotAJournal(Exception):
    """A file holds no record of a journal; the text is one sentence for the user."""


def read(paths: Sequence[Path]) -> Run:
    """Return what the journals in *paths* say, merged.

    A damaged journal is read as far as it goes. `NotAJournal` for a file without a single record,
    OSError for one that cannot be opened.
    """
    for path in paths:
        with path.open("rb") as lines:
            if not any(records.decoded(line) for line in lines):
                raise NotAJournal(f"{path} is not a journal: no line of it is a record")
    return read_journal.read(paths)
