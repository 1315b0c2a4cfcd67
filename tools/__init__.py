# SPDX-License-Identifier: GPL-2.0-only
"""One small command per module; `python -m tools.NAME --help` tells each."""
