# SPDX-License-Identifier: GPL-2.0-only
"""`python -m tools.lkft`."""

from __future__ import annotations

import sys

from tools.lkft.command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
