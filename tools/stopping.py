# SPDX-License-Identifier: GPL-2.0-only
"""Note Ctrl-C, TERM and the end of the terminal, for long work that looks from time to time."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Self

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stop:
    """Notes the first of `SIGNALS` that comes while the context is active; the caller ends its work."""

    def __init__(self) -> None:
        self.by = ""
        """The signal's name, "" as long as none has come."""

        self._before = {number: signal.getsignal(number) for number in SIGNALS}

    def __enter__(self) -> Self:
        """Handle the signals."""
        for number in SIGNALS:
            signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        """Restore the handlers that were there before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self.by = self.by or signal.Signals(number).name
