# SPDX-License-Identifier: GPL-2.0-only
"""The processes of one run, found in /proc by a mark in their environment.

A process group or session does not do: emulators and workers may have their own.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "KVMTESTS_KILLS_RUN"
_WORKER = b"import sys;exec(eval(sys.stdin.readline()))"  # execnet's, of pytest-xdist
_EMULATORS = (b"qemu-system", b"bochs")


@dataclass(frozen=True, slots=True)
class Process:
    """A process as it was seen: its number, its command, and what it is of the run."""

    pid: int
    command: tuple[bytes, ...]

    @property
    def role(self) -> str:
        """One of "make", "main", "worker", "emulator"; "helper" for what these start besides."""
        program = _program(self.command)
        if program == b"make":
            return "make"
        if program.startswith(_EMULATORS):
            return "emulator"
        if _WORKER in self.command:
            return "worker"
        # Whichever of our commands make runs: the name of its module is not this module's matter.
        return "main" if self.command[1:2] == (b"-m",) and self.command[2].startswith(b"tools.") else "helper"

    def __str__(self) -> str:
        return f"{self.pid} ({b' '.join(self.command)[:80].decode(errors='replace')})"


def _program(command: Sequence[bytes]) -> bytes:
    """Return the name of the program; one of another Debian suite is started by its own loader."""
    names = [word.rpartition(b"/")[2] for word in command]
    if names and names[0].startswith(b"ld-linux"):
        names = names[3:]  # --library-path and the path
    return names[0] if names else b""


def of_run(mark: str) -> list[Process]:
    """Return the living processes whose environment holds *mark*, except this one."""
    return [found for found in map(_marked, _numbers(), _repeat(mark)) if found is not None]


def left_after(mark: str, limit_s: float) -> list[Process]:
    """Return the processes of the run that are still there after at most *limit_s*."""
    deadline_s = time.monotonic() + limit_s
    while (left := of_run(mark)) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    return left


def _numbers() -> Iterator[int]:
    own = os.getpid()
    names = (folder.name for folder in Path("/proc").iterdir())
    return (int(name) for name in names if name.isdigit() and int(name) != own)


def _repeat(mark: str) -> Iterator[bytes]:
    while True:
        yield f"{VARIABLE}={mark}".encode()


def _marked(pid: int, mark: bytes) -> Process | None:
    folder = Path("/proc") / str(pid)
    try:
        if mark not in (folder / "environ").read_bytes().split(b"\0"):  # empty for a zombie
            return None
        return Process(pid, tuple((folder / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")))
    except OSError:  # it ended meanwhile, or is another user's
        return None
