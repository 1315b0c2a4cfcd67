# SPDX-License-Identifier: GPL-2.0-only
"""One small command per module; `.venv/bin/python -m tools.NAME --help` describes each."""

import sys

if sys.argv[:1] == ["-m"]:  # One of them is being started: its module is looked for.
    from tools import outside

    sys.excepthook = outside.say
