#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Start tools/bisection.py from a kernel tree, with this checkout's Python: `git bisect run` calls it.

Standard library only, and syntax that an older Python still parses. Whatever becomes of the child,
the exit status is one of 0, 1, 125 and 128: `git bisect run` takes every other one below 128 for a
bad commit.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STOP = 128
STATUSES = (0, 1, 125, STOP)


def main(argv: "list[str]") -> int:
    """Return the exit status of tools/bisection.py for *argv*, 128 where it has no status of its own."""
    own = ROOT / ".venv" / "bin" / "python"
    python = str(own) if own.exists() else sys.executable
    # Neither the kernel tree's tools/ nor this folder may stand in for our packages.
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1"}
    child = subprocess.Popen([python, "-m", "tools.bisection", *argv], env=environment)
    while True:
        try:
            status = child.wait()
            break
        except KeyboardInterrupt:  # The terminal's signal reaches the child as well, which ends soon.
            continue
    return status if status in STATUSES else STOP


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
