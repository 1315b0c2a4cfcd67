# SPDX-License-Identifier: GPL-2.0-only
"""Why a claim cannot be exported."""

from __future__ import annotations


class NotExportable(Exception):
    """The claim does what no C program of this kind can repeat; the message is a sentence's second half."""
