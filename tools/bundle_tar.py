# SPDX-License-Identifier: GPL-2.0-only
"""The tar of `make bundle`: the same bytes whenever and by whomever one tree is bundled."""

from __future__ import annotations

import io
import secrets
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

FILE = "kvmtests-bundle.tar"
FOLDER = "kvmtests"
README = "BUNDLE.md"

_WHEN_S = 315_532_800
"""1 January 1980: for files whose time says nothing, such as when a package was downloaded."""


@dataclass(frozen=True, slots=True)
class Content:
    """What one file of the tar holds: bytes, or the file that has them."""

    data: bytes | Path
    time_s: int = _WHEN_S  # since 1970
    executable: bool = False

    @classmethod
    def of(cls, path: Path) -> Content:
        """Return the content of *path* with its own time, by which byte code knows its source."""
        found = path.stat()
        return cls(path, int(found.st_mtime), found.st_mode & 0o100 != 0)

    @classmethod
    def fixed(cls, path: Path) -> Content:
        """Return the content of *path* with a time that is always the same."""
        return cls(path)


def write(path: Path, members: Iterable[tuple[str, Content]]) -> int:
    """Write *members*, by name in one folder, to *path* whole or not at all; return the size in bytes.

    The first stays first, the others are sorted. What belongs to whom is not recorded, so a file is
    whose user unpacks it. OSError if the disk is full.
    """
    first, *others = members
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        # Not compressed: wheels and Debian's packages are, and they are nearly all of it.
        with tarfile.open(temporary, "x:", format=tarfile.GNU_FORMAT) as archive:
            for name, content in [first, *sorted(others, key=lambda member: member[0])]:
                _add(archive, name, content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path.stat().st_size


def is_bundle(path: Path) -> bool:
    """Return whether `write` made *path*."""
    begin = f"{FOLDER}/{README}\0".encode()
    with path.open("rb") as file:
        return file.read(len(begin)) == begin


def _add(archive: tarfile.TarFile, name: str, content: Content) -> None:
    data = content.data if isinstance(content.data, bytes) else content.data.read_bytes()
    entry = tarfile.TarInfo(f"{FOLDER}/{name}")
    entry.size, entry.mtime = len(data), content.time_s
    entry.mode = 0o755 if content.executable else 0o644
    archive.addfile(entry, io.BytesIO(data))
