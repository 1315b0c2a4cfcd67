# SPDX-License-Identifier: GPL-2.0-only
"""Ctrl-C, TERM and a terminal that hangs up as a question that long work asks itself."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Self

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stop:
    """Notes the first of `SIGNALS` while it is entered; what to do about it is the work's matter."""

    def __init__(self) -> None:
        self.by = ""
        """The signal's name, "" as long as none came."""

        self._before = {number: signal.getsignal(number) for number in SIGNALS}

    def __enter__(self) -> Self:
        """Listen."""
        for number in SIGNALS:
            signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        """Let signals do what they did before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self.by = self.by or signal.Signals(number).name
