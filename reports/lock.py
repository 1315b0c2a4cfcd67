# SPDX-License-Identifier: GPL-2.0-only
"""One session at a time writes into a folder of reports.

The lock is flock(2)'s on a file in the folder, so the kernel releases it however a process ends.
The file's one line says who holds it; it goes with the lock, unless the process is killed.
Standard library only.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self  # `make clean` runs on any python3.

FILE = ".lock"
"""The file's name in the folder."""

_LINE_LIMIT = 200


class Held(Exception):
    """Another process writes there; its text is one sentence for the user, without a full stop."""


class Lock:
    """The right to write reports into one folder, from here until `release`."""

    def __init__(self, folder: Path) -> None:
        """Take the lock, making *folder* if need be; `Held` if another process has it.

        Where the file system refuses the file, or has no locks, nothing is locked and nothing is
        reported: what is written next is refused as well, with a better message.
        """
        self._path = folder / FILE
        self._fd = -1
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            while self._fd < 0:
                self._take(folder)

    def __enter__(self) -> Self:
        """Return this lock."""
        return self

    def __exit__(self, *_: object) -> None:
        """Release it."""
        self.release()

    def release(self) -> None:
        """Let others write; releasing twice is harmless."""
        if self._fd < 0:
            return
        with contextlib.suppress(OSError):
            if self._is_there(self._fd):
                self._path.unlink()
            # By name, not by closing alone: a forked process may also have the descriptor.
            fcntl.flock(self._fd, fcntl.LOCK_UN)
        os.close(self._fd)
        self._fd = -1

    def _take(self, folder: Path) -> None:
        """Try once; nothing is taken where the holder removed the file in the meantime."""
        # Not inherited by programs that this one starts: they may outlive it.
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not self._is_there(fd):
                os.close(fd)
                return
        except OSError as error:
            holder = _line(fd)
            os.close(fd)
            if isinstance(error, BlockingIOError):
                raise Held(
                    f"another run writes into {folder}{holder}; "
                    "wait for its end, or choose another folder with O= or --report-dir"
                ) from None
            raise
        self._fd = fd
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        with contextlib.suppress(OSError):  # A full disk: the lock holds all the same.
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"process {os.getpid()}, since {since}\n".encode(), 0)

    def _is_there(self, fd: int) -> bool:
        with contextlib.suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(fd), self._path.lstat())
        return False


def _line(fd: int) -> str:
    """Return who holds the lock, as a part of a sentence; "" where the file does not say."""
    with contextlib.suppress(OSError):
        text = os.pread(fd, _LINE_LIMIT, 0).decode("ascii", "replace").partition("\n")[0]
        return f" ({text})" if text.isprintable() and text else ""
    return ""
