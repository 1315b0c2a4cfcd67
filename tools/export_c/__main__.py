# SPDX-License-Identifier: GPL-2.0-only
"""Write a claim as one C program: python -m tools.export_c NODEID --target T >repro.c."""

from __future__ import annotations

import sys

from tools.export_c import rewrite

if __name__ == "__main__":
    rewrite.install()  # before anything that imports the harness
    from tools.export_c.command import main

    sys.exit(main(sys.argv[1:]))
