# SPDX-License-Identifier: GPL-2.0-only
"""`python -m tools.lkft`."""

from __future__ import annotations

import sys

from tools.lkft.command import main

sys.exit(main(sys.argv[1:]))
