# SPDX-License-Identifier: GPL-2.0-only
"""One sentence in place of a traceback if a command is started by a Python that lacks packages.

Standard library only, and syntax that an older Python still parses.
"""

from __future__ import annotations

import os
import sys
from types import TracebackType

USAGE = 2
OURS = ("fixtures", "kvmtests", "reports", "tools")


def say(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
    """Replace sys.excepthook: name the Python that has the missing module, and end with status 2."""
    if not isinstance(error, ImportError) or (error.name or "").partition(".")[0] in OURS:
        sys.__excepthook__(kind, error, where)
        return
    sys.stderr.write(
        f"{sys.executable} has no Python module {error.name}: "
        "use .venv/bin/python, which `make venv` makes, instead.\n"
    )
    sys.stderr.flush()
    os._exit(USAGE)  # An excepthook cannot choose the status otherwise.
