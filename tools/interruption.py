# SPDX-License-Identifier: GPL-2.0-only
"""End a command at Ctrl-C with one sentence, in place of a traceback.

Standard library only, and syntax that an older Python still parses.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

INTERRUPTED = 2
"""The exit status, as that of a run of the suite which Ctrl-C ends."""


def started(main: Callable[[Sequence[str]], int]) -> int:
    """Return the status of *main* with this process's arguments, `INTERRUPTED` if Ctrl-C ends it."""
    path = Path(sys.argv[0])
    name = path.parent.name if path.stem == "__main__" else path.stem
    return unless_interrupted(name, lambda: main(sys.argv[1:]))


def unless_interrupted(name: str, run: Callable[[], int]) -> int:
    """Return what *run* returns; at Ctrl-C say so in one sentence about *name*, and return `INTERRUPTED`."""
    try:
        return run()
    except KeyboardInterrupt:
        sys.stderr.write(f"{name}: interrupted by Ctrl-C.\n")
        return INTERRUPTED
