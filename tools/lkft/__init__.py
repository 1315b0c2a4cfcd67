# SPDX-License-Identifier: GPL-2.0-only
"""LKFT's job for the emulated arm64 board, run here as its client renders it: `python -m tools.lkft`."""
