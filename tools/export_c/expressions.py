# SPDX-License-Identifier: GPL-2.0-only
"""Expressions over what the steps of a run returned: arithmetic of unbounded integers, and conditions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tools.export_c.events import Event

WORD = 1 << 64


@dataclass(frozen=True, slots=True)
class Expression:
    """An integer, or a condition; the classes below are all there are."""

    def parts(self) -> Iterator[Expression]:
        """Yield the expressions that this one is made of."""
        for one in fields(self):
            value = getattr(self, one.name)
            if isinstance(value, Expression):
                yield value
            elif isinstance(value, tuple):
                yield from (part for part in value if isinstance(part, Expression))

    def leaves(self) -> Iterator[StepValue]:
        """Yield every value of a step in this expression, from left to right."""
        if isinstance(self, StepValue):
            yield self
        for part in self.parts():
            yield from part.leaves()


@dataclass(frozen=True, slots=True)
class Constant(Expression):
    """A number that the claim itself says."""

    value: int


@dataclass(frozen=True, slots=True, eq=False)
class StepValue(Expression):
    """A value of the step *event*: its *member* in C, "" for the value itself; *index* in an array."""

    event: Event
    member: str
    bits: int  # 8 ... 64; 31 for what ioctl(2) returns
    signed: bool = False
    index: int | None = None


@dataclass(frozen=True, slots=True)
class Binary(Expression):
    """*left* *operator* *right*, with Python's meaning of // and %."""

    operator: str  # + - * // % & | ^ << >>
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Unary(Expression):
    """-, ~, or abs."""

    operator: str
    of: Expression


@dataclass(frozen=True, slots=True)
class Signed(Expression):
    """`counters.signed`: modulo 2**64 as two's complement."""

    of: Expression


@dataclass(frozen=True, slots=True)
class Kvmclock(Expression):
    """kvmclock in ns, as a guest computes it at its TSC *tsc* from the record that has *record*."""

    tsc: Expression
    record: StepValue


@dataclass(frozen=True, slots=True)
class HowMany(Expression):
    """How many of the first *count* rows of 8 words have *value* where *first* is in the first of them."""

    first: StepValue
    count: Expression
    value: int


@dataclass(frozen=True, slots=True)
class LoadedWord(Expression):
    """The little-endian number in the *size* bytes of an array of which *first* is the first."""

    first: StepValue
    size: int


@dataclass(frozen=True, slots=True)
class Extreme(Expression):
    """The least or the largest of several."""

    name: str  # "min", "max"
    of: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Compare(Expression):
    """A condition: *left* *operator* *right*."""

    operator: str  # == != < <= > >=
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class InWindow(Expression):
    """A condition: *value* lies in the window from *first* to *last*, modulo 2**64."""

    value: Expression
    first: Expression
    last: Expression


@dataclass(frozen=True, slots=True)
class SameBytes(Expression):
    """A condition: the bytes of a step are those of another one, or given ones."""

    left: StepValue
    right: StepValue | bytes
    size: int


@dataclass(frozen=True, slots=True)
class Every(Expression):
    """A condition: all of these hold."""

    of: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Some(Expression):
    """A condition: at least one of these holds."""

    of: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Not(Expression):
    """A condition: this one does not hold."""

    of: Expression


Interval = tuple[int, int]


def interval(expression: Expression) -> Interval:
    """Return the least and the largest value that *expression* can have."""
    match expression:
        case Constant(value):
            return value, value
        case StepValue():
            bits = expression.bits
            return (-(1 << bits - 1), (1 << bits - 1) - 1) if expression.signed else (0, (1 << bits) - 1)
        case Binary(operator, left, right):
            return _BINARY[operator](interval(left), interval(right))
        case Unary(operator, of):
            return _UNARY[operator](*interval(of))
        case Extreme(name, of):
            choose = min if name == "min" else max
            bounds = [interval(one) for one in of]
            return choose(low for low, _ in bounds), choose(high for _, high in bounds)
    return _OF_KIND.get(type(expression), (0, 1))


_OF_KIND: dict[type[Expression], Interval] = {
    Signed: (-(WORD >> 1), (WORD >> 1) - 1),
    Kvmclock: (0, WORD - 1),
    HowMany: (0, 64),
    LoadedWord: (0, WORD - 1),
}
"""The bounds of what has always the same; conditions are 0 or 1."""

_UNARY: dict[str, Callable[[int, int], Interval]] = {
    "-": lambda low, high: (-high, -low),
    "~": lambda low, high: (~high, ~low),
    "abs": lambda low, high: (0, max(abs(low), abs(high))),
}


def _products(left: Interval, right: Interval) -> Interval:
    corners = [one * other for one in left for other in right]
    return min(corners), max(corners)


def _quotients(left: Interval, right: Interval) -> Interval:
    divisors = [one for one in (*right, 1, -1) if one and right[0] <= one <= right[1]]
    corners = [one // other for one in left for other in divisors]
    return min(corners), max(corners)


def _remainders(left: Interval, right: Interval) -> Interval:
    if left[0] >= 0 and right[0] > left[1]:
        return left
    return (0, right[1] - 1) if right[0] > 0 else (right[0], max(right[1], 0))


def _ands(left: Interval, right: Interval) -> Interval:
    masks = [bounds[1] for bounds in (left, right) if bounds[0] >= 0]
    return (0, min(masks)) if masks else (-WORD, WORD)


def _bits(left: Interval, right: Interval) -> Interval:
    if left[0] < 0 or right[0] < 0:
        return -WORD, WORD
    return 0, (1 << max(left[1], right[1]).bit_length()) - 1


def _left_shifts(left: Interval, right: Interval) -> Interval:
    most = min(right[1], 63)
    return min(left[0], left[0] << most), max(left[1], left[1] << most)


def _right_shifts(left: Interval, right: Interval) -> Interval:
    least = max(right[0], 0)
    return min(left[0] >> least, 0), max(left[1] >> least, 0)


_BINARY: dict[str, Callable[[Interval, Interval], Interval]] = {
    "+": lambda left, right: (left[0] + right[0], left[1] + right[1]),
    "-": lambda left, right: (left[0] - right[1], left[1] - right[0]),
    "*": _products,
    "//": _quotients,
    "%": _remainders,
    "&": _ands,
    "|": _bits,
    "^": _bits,
    "<<": _left_shifts,
    ">>": _right_shifts,
}
