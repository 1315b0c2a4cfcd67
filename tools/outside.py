# SPDX-License-Identifier: GPL-2.0-only
"""A command started by a Python that lacks what it needs: one sentence in place of a traceback.

Standard library only, and syntax that an older Python still parses.
"""

from __future__ import annotations

import os
import sys
from types import TracebackType

USAGE = 2
OURS = ("fixtures", "kvmtests", "reports", "tools")


def say(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
    """Stand in for sys.excepthook: say where the missing module is to be had, and end with status 2."""
    if not isinstance(error, ImportError) or (error.name or "").partition(".")[0] in OURS:
        sys.__excepthook__(kind, error, where)
        return
    sys.stderr.write(
        f"{sys.executable} has no Python module {error.name}: "
        "take .venv/bin/python, which `make venv` makes, in its place.\n"
    )
    sys.stderr.flush()
    os._exit(USAGE)  # An excepthook cannot choose the status otherwise.
