# SPDX-License-Identifier: GPL-2.0-only
"""Conditions made of several: of all of them, of one, of windows, of bytes, of an order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tools.export_c.expressions import Constant, Every, InWindow, SameBytes, Some, StepValue
from tools.export_c.symbolic import Bytes, Condition, Number, of, plain


class Ascending(list[Any]):
    """What sorted() made of *origin*: equal to it where that never goes back."""

    def __init__(self, values: list[Any], origin: Sequence[Any]) -> None:
        """Hold *values*, which are *origin*'s in order."""
        super().__init__(values)
        self.origin = origin


def every(conditions: Sequence[object]) -> object:
    """Return whether all *conditions* hold, as a condition where one of them is."""
    if not any(isinstance(one, Condition | Number) for one in conditions):
        return all(conditions)
    found = [_decided(one) for one in conditions]
    return Condition(Every(tuple(of(one) for one in found)), all(one.holds for one in found))


def some(conditions: Sequence[object]) -> object:
    """Return whether one of *conditions* holds, as a condition where one of them is."""
    if not any(isinstance(one, Condition | Number) for one in conditions):
        return any(conditions)
    found = [_decided(one) for one in conditions]
    return Condition(Some(tuple(of(one) for one in found)), any(one.holds for one in found))


def inside(value: object, window: Any) -> object:
    """Return whether *value* lies in *window*, a `counters.Window`."""
    numbers = (value, window.first, window.last)
    if not any(isinstance(one, Number) for one in numbers):
        return value in window
    expression = InWindow(*(of(one) for one in numbers))
    first, last = plain(window.first), plain(window.last)
    return Condition(expression, (plain(value) - first) % 2**64 <= (last - first) % 2**64)  # type: ignore[arg-type]


def same_bytes(left: bytes, right: bytes) -> object:
    """Return whether pieces of guest memory hold the same."""
    if not isinstance(left, Bytes):
        left, right = right, left
    if not isinstance(left, Bytes) or not isinstance(left.expression, StepValue):
        return left == right
    other = right.expression if isinstance(right, Bytes) else bytes(right)
    if len(left) != len(right) or not isinstance(other, StepValue | bytes):
        return bytes(left) == bytes(right)
    return Condition(SameBytes(left.expression, other, len(left)), bytes(left) == bytes(right))


def _decided(value: object) -> Condition:
    if isinstance(value, Number):
        return value.is_set()
    if isinstance(value, Condition):
        return value
    return Condition(Constant(int(bool(value))), bool(value))
