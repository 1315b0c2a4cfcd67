# SPDX-License-Identifier: GPL-2.0-only
"""Sets of numbers of steps: how many different ones there are, and whether they are just these."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Self

from tools.export_c.conditions import every, some
from tools.export_c.session import RUN
from tools.export_c.symbolic import Condition, Number, negated

_MOST = 200
"""Comparisons of which a check of two sets may consist."""


class Distinct(set[Any]):
    """What a set was made of: it is compared, counted and searched, and nothing else."""

    def __init__(self, values: Sequence[Any]) -> None:
        """Hold *values*, some of which are numbers of steps."""
        super().__init__(_plain(value) for value in values)
        self.origin = list(values)

    def __iter__(self) -> Iterator[Any]:
        RUN.refuse("it does more with a set of values than compare or count them")
        return super().__iter__()


class DistinctCount(int):
    """How many different values there are among *origin*."""

    origin: Sequence[Any]

    def __new__(cls, values: Distinct) -> Self:
        """Count *values*."""
        count = super().__new__(cls, len(values))
        count.origin = values.origin
        return count


def made_of(values: Sequence[Any]) -> set[Any]:
    """Return the set of *values*."""
    return Distinct(values) if any(map(_has_numbers, values)) else set(values)


def compare(operator: str, left: Any, right: Any, same: Any) -> Any:
    """Return how a set or a count compares with *right*; *same* compares two values."""
    if isinstance(left, DistinctCount):
        return _counted(operator, left, right, same)
    if isinstance(right, Distinct) and not isinstance(left, set | frozenset):
        found = some([same(left, one) for one in right.origin])
        return {"in": lambda: found, "not in": lambda: negated(found)}[operator]()
    if operator not in {"==", "!="}:
        RUN.refuse("it looks for values in each other's sets")
        return True
    found = _same_sets(_values(left), _values(right), same)
    return found if operator == "==" else negated(found)


def concerns(left: Any, right: Any) -> bool:
    """Return whether `compare` is for these."""
    return isinstance(left, Distinct | DistinctCount) or isinstance(right, Distinct)


def _counted(operator: str, count: DistinctCount, wanted: Any, same: Any) -> Any:
    one_value = every([same(one, other) for one, other in pairwise(count.origin)])
    match operator, wanted:
        case ("==" | "<=", 1):
            return one_value
        case (("!=" | ">"), 1) | (">=", 2):
            return negated(one_value)
    if operator == "==" and wanted == len(count.origin):
        values = count.origin
        pairs = [(one, other) for at, one in enumerate(values) for other in values[at + 1 :]]
        return every([negated(same(one, other)) for one, other in pairs])
    RUN.refuse("it counts how many different values there are")
    return True


def _same_sets(left: Sequence[Any], right: Sequence[Any], same: Any) -> Any:
    if len(left) * len(right) > _MOST:
        RUN.refuse("it compares two large sets of values")
        return True
    parts = [some([same(one, other) for other in right]) for one in left]
    if len(right) > 1 or not left:
        parts += [some([same(one, other) for other in left]) for one in right]
    return every(parts)


def _values(of: Any) -> Sequence[Any]:
    return of.origin if isinstance(of, Distinct) else list(of)


def _has_numbers(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(map(_has_numbers, value))
    return isinstance(value, Number | Condition)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    if isinstance(value, Condition):
        return value.holds
    return int(value) if isinstance(value, Number) else value
