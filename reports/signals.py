# SPDX-License-Identifier: GPL-2.0-only
"""Ctrl-C, SIGTERM and SIGHUP end a session in order: its journal gets an end, its reports are written."""

from __future__ import annotations

import errno
import os
import signal
import termios
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType

_Handler = Callable[[int, FrameType | None], None]

_DEFAULTS: dict[signal.Signals, _Handler | signal.Handlers] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
}


class EndedBySignal(KeyboardInterrupt):
    """Raised where a signal finds the session: pytest ends it as it does at Ctrl-C."""


class Signals:
    """What ends the session of this process, in place of Python's own handlers."""

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self.deaf = False
        """Whether the session is ending, so that no signal interrupts its end."""
        self._stop: Callable[[str], None] | None = None
        self._installed: list[signal.Signals] = []

    @property
    def words(self) -> str:
        """What ended the session, in words; empty if no signal did."""
        if self.received is None:
            return ""
        return f"interrupted by {'Ctrl-C' if self.received is signal.SIGINT else self.received.name}"

    @property
    def status(self) -> int | None:
        """The exit status that a signal makes: 128 + its number; None for Ctrl-C, where pytest has one."""
        if self.received is None or self.received is signal.SIGINT:
            return None
        return 128 + self.received

    def install(self, stop: Callable[[str], None]) -> None:
        """Take the signals that are neither ignored (nohup) nor handled already.

        *stop* is called with `words` before `EndedBySignal` is raised: where that is swallowed, as in a
        callback from C, the session ends after the test.
        """
        self._stop = stop
        self._installed = _take(self._end, tuple(_DEFAULTS))

    def ending(self) -> None:
        """Ignore further signals, and write no more to a terminal that went away."""
        self.deaf = True
        if self.received is signal.SIGHUP:
            _leave_dead_terminals()

    def restore(self) -> None:
        """Restore the handlers of signals."""
        for number in self._installed:
            signal.signal(number, _DEFAULTS[number])
        self._installed = []

    def _end(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self.deaf:
            return
        if self.received is None:
            self.received = signal.Signals(number)
        if self._stop is not None:
            self._stop(self.words)
        raise EndedBySignal(self.words)


def leave_to_controller() -> None:
    """Let a worker survive what its whole group gets: the controller, which also gets it, ends it.

    The handler does nothing; SIG_IGN would be inherited by the programs that a test starts.
    """
    _take(lambda number, frame: None, (signal.SIGTERM, signal.SIGHUP))  # noqa: ARG005


def _leave_dead_terminals() -> None:
    """Put /dev/null in place of each open terminal that was hung up: writing there fails (EIO)."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        for name in Path("/proc/self/fd").iterdir():
            number = int(name.name)
            try:
                termios.tcgetattr(number)
            except termios.error as error:
                if error.args[0] == errno.EIO:
                    os.dup2(null, number, inheritable=number <= 2)
    finally:
        os.close(null)


def _take(handler: _Handler, numbers: tuple[signal.Signals, ...]) -> list[signal.Signals]:
    if threading.current_thread() is not threading.main_thread():
        return []
    taken = [number for number in numbers if signal.getsignal(number) is _DEFAULTS[number]]
    for number in taken:
        signal.signal(number, handler)
    return taken
