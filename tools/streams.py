# SPDX-License-Identifier: GPL-2.0-only
"""Keep a command running when its standard streams fail: no reader, a full disk, a closed descriptor.

Standard library only, and syntax that an older Python still parses.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import signal
import sys
from typing import Any

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


PLAIN = {"·": ".", "…": "...", "–": "-", "→": "->", "×": "x", "±": "+-", "µ": "u"}
"""Replacements for characters that an encoding lacks."""


class Steady(io.FileIO):
    """A descriptor that accepts every write, and drops the data if nobody can receive it."""

    def write(self, data: Any, /) -> int:
        """Write *data*; return its length, also if the descriptor refuses it."""
        try:
            return super().write(data) or 0
        except BlockingIOError:
            raise
        except OSError:  # EPIPE, ENOSPC, EIO: the run and its reports matter more than its output.
            return len(memoryview(data).cast("B"))


def hold() -> None:
    """Keep standard output and error usable until this process ends, even if nobody reads them.

    A closed descriptor becomes /dev/null, or else the first file that is opened would get its number
    and everything printed. Characters that an encoding lacks are replaced.
    """
    for number in range(3):
        _fill(number)
    codecs.register_error("kvmtests-plain", _plain)
    sys.stdout = _steady(sys.stdout, 1)
    sys.stderr = _steady(sys.stderr, 2)


def end_with_parent(number: int = signal.SIGTERM) -> None:
    """Let this process get the signal *number* when its parent dies, as make does on KILL."""
    import ctypes

    parent = os.getppid()
    with contextlib.suppress(OSError, AttributeError):  # A C library without prctl.
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


def _fill(number: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        os.open(os.devnull, os.O_RDWR)  # Gets the lowest number that is free: this one.


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(PLAIN.get(character, "?") for character in lacking), error.end


def _steady(stream: Any, number: int) -> io.TextIOWrapper:
    if stream is not None and (_is_steady(stream) or not _writes_to(stream, number)):
        return stream  # type: ignore[no-any-return]  # one of ours, or output is being captured
    raw = Steady(number, "w", closefd=False)
    encoding = getattr(stream, "encoding", None) or "utf-8"
    by_line = number == 2 or raw.isatty()
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, "kvmtests-plain", line_buffering=by_line)


def _is_steady(stream: Any) -> bool:
    return isinstance(getattr(getattr(stream, "buffer", None), "raw", None), Steady)


def _writes_to(stream: Any, number: int) -> bool:
    try:
        return bool(stream.fileno() == number)
    except (OSError, ValueError, AttributeError):
        return False
