# SPDX-License-Identifier: GPL-2.0-only
"""The live line on a terminal: done of total, what runs, how long, failures as they come.

Only a terminal sees it. Elsewhere pytest's own dots and lines stay as they are.
"""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Mapping
from typing import Protocol

from .model import NOTABLE, Verdict
from .text import clip_line, one_line

INTERVAL_S = 0.1
"""Shortest time between two redraws: drawing must not cost more than the tests."""

_CLEAR = "\r\x1b[K"
_COLOURS = {
    Verdict.FAIL: "31",
    Verdict.CHANGED: "33",
    Verdict.ERROR: "33",
    Verdict.TIMEOUT: "35",
    Verdict.XPASS: "35",
}


class Stream(Protocol):
    """Where the line is drawn: a text file, or pytest's terminal writer."""

    def write(self, msg: str, /) -> object:
        """Write *msg*."""
        ...

    def flush(self) -> None:
        """Send it to the terminal."""
        ...


def wanted(environment: Mapping[str, str], *, is_terminal: bool) -> bool:
    """Return whether a line can be redrawn: on a terminal, not a dumb one, not under CI."""
    return is_terminal and environment.get("TERM", "dumb") != "dumb" and "CI" not in environment


class LiveLine:
    """One line at the bottom of the terminal, redrawn in place."""

    def __init__(self, stream: Stream, environment: Mapping[str, str] = os.environ) -> None:
        self._stream = stream
        self._colour = not environment.get("NO_COLOR")
        self._started_s = time.monotonic()
        self._drawn_s = 0.0
        self._running: dict[str, None] = {}
        self._seen: Counter[Verdict] = Counter()
        self._bad = 0
        self.total = 0

    def start(self, nodeid: str) -> None:
        """Show that *nodeid* runs."""
        self._running[nodeid] = None
        self._draw()

    def result(
        self, nodeid: str, where: str, verdict: Verdict, message: str, *, strict: bool = False
    ) -> None:
        """Count a result; one of `NOTABLE` gets a line of its own, which stays.

        *where* is the name of the test for people; *message* its one line; *strict* results count as bad.
        """
        self._running.pop(nodeid, None)
        self._seen[verdict] += 1
        self._bad += verdict.bad or strict
        if verdict in NOTABLE:
            word = self._painted(f"{verdict.upper():<7}", _COLOURS[verdict])
            said = f": {one_line(message)}" if message else ""
            line = clip_line(f"{one_line(where)}{said}", max(20, self._width() - 8))
            self._stream.write(f"{_CLEAR}{word} {line}\n")
            self._drawn_s = 0.0
        self._draw()

    def close(self) -> None:
        """Erase the line."""
        self._stream.write(_CLEAR)
        self._stream.flush()

    def line(self) -> str:
        """Return the line as it would be drawn now, without colour."""
        elapsed_s = int(time.monotonic() - self._started_s)
        done = sum(self._seen.values())
        parts = [f"{done}/{self.total or '?'}", f"{elapsed_s // 60}:{elapsed_s % 60:02}"]
        if self._bad:
            parts.append(f"{self._bad} bad")
        if self._running:
            parts.append(one_line(next(reversed(self._running))))
        return clip_line("  ".join(parts), self._width() - 1)

    def _draw(self) -> None:
        now_s = time.monotonic()
        if now_s - self._drawn_s >= INTERVAL_S:
            self._drawn_s = now_s
            self._stream.write(_CLEAR + self.line())
            self._stream.flush()

    def _painted(self, text: str, colour: str) -> str:
        return f"\x1b[1;{colour}m{text}\x1b[0m" if self._colour else text

    def _width(self) -> int:
        return shutil.get_terminal_size().columns
