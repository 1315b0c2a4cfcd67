# SPDX-License-Identifier: GPL-2.0-only
"""`python -m tools.lkft`."""

from __future__ import annotations

import sys

from tools.interruption import started
from tools.lkft.command import main

if __name__ == "__main__":
    sys.exit(started(main))
