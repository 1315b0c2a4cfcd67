# SPDX-License-Identifier: GPL-2.0-only
"""Write a file whole or not at all."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from pathlib import Path


class ReportError(Exception):
    """A report cannot be written; its text is one sentence for the user."""


def write_file(path: Path, pieces: Iterable[str]) -> Path:
    """Write *pieces* as UTF-8 into *path* by way of a temporary file next to it; return *path*."""
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = str(path.with_name(f".{path.name[-100:]}.{secrets.token_hex(4)}"))
        # Not tempfile, which makes files for their owner alone: reports follow the user's umask.
        with open(temporary, "x", encoding="utf-8", newline="\n", buffering=1 << 16) as file:  # noqa: PTH123
            file.writelines(pieces)
        Path(temporary).replace(path)
        temporary = ""
    except OSError as error:
        raise ReportError(f"cannot write the report {path}: {error.strerror}") from error
    finally:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
    return path
