# SPDX-License-Identifier: GPL-2.0-only
"""Numbers as C constants."""

from __future__ import annotations

from tools.export_c.expressions import WORD

SMALL = 1 << 63
"""From here on a constant needs a suffix."""


def literal(value: int) -> str:
    """Return *value* as a C constant: decimal where a reader would write it so."""
    if value < 0:
        return f"-{literal(-value)}" if value > -SMALL else f"-(wide){literal(-value)}"
    if value >= WORD:
        return f"((wide){literal(value >> 64)} << 64 | {literal(value % WORD)})"
    shown = hex(value) if value >= SMALL or (value > 4096 and _is_round(value)) else str(value)
    return f"{shown}ULL" if value >= SMALL else shown


def _is_round(value: int) -> bool:
    """Return whether *value* is an address, a mask or a flag rather than an amount."""
    is_of_page = value >> 16 > 0 and value & 0xFFF == 1  # with a flag in its lowest bit
    return (value & 0xFF in {0, 0xFF} or is_of_page) and value % 1000 != 0
