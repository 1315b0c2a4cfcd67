# SPDX-License-Identifier: GPL-2.0-only
"""Careless arithmetic in C, of which shortcuts are made."""

from __future__ import annotations

from fixtures.counters import signed


def towards_zero(value: int, divisor: int) -> int:
    """Return the quotient as C computes it, rounded towards 0."""
    return abs(value) // divisor * (1 if value >= 0 else -1)


def int64_quotient(product: int, divisor: int) -> int:
    """Return *product*, kept in a signed 64-bit variable, divided as C does."""
    return towards_zero(signed(product), divisor)
