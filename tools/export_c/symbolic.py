# SPDX-License-Identifier: GPL-2.0-only
"""Integers and conditions that remember what they were computed from.

They are the numbers of the run that is recorded: a claim computes with them as with any other.
A condition that the claim turns into a bool outside of an assertion decides how the run continues;
the program then has to find the same answer (`assume`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self, SupportsIndex

from tools.export_c.expressions import Binary, Compare, Constant, Expression, Not, Unary

Assume = Callable[[Expression, bool], None]

_assume: list[Assume] = []


_lose: list[Callable[[str], None]] = []


def report_to(assume: Assume, lose: Callable[[str], None]) -> None:
    """Call *assume* with each condition that decides how a run continues, and whether it holds.

    Call *lose* where a number takes part in arithmetic that no expression has.
    """
    _assume[:] = [assume]
    _lose[:] = [lose]


class Condition:
    """A bool with its expression."""

    def __init__(self, expression: Expression, holds: bool) -> None:
        """Be *holds*, which *expression* says in terms of the steps."""
        self.expression = expression
        self.holds = holds

    def __bool__(self) -> bool:
        for assume in _assume:
            assume(self.expression, self.holds)
        return self.holds

    def __eq__(self, other: object) -> Any:
        if isinstance(other, Condition):
            return equal(Number(self.holds, self.expression), Number(other.holds, other.expression))
        return self if other else negated(self)

    __hash__ = None  # type: ignore[assignment]  # it has no value until it is decided

    def __repr__(self) -> str:
        return repr(self.holds)

    def __int__(self) -> int:
        return int(bool(self))

    def __index__(self) -> int:
        return int(bool(self))


def _binary(name: str, operator: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    plain = getattr(int, name)
    plain_reflected = getattr(int, f"__r{name.removeprefix('__')}")

    def forward(self: Number, other: object) -> Any:
        if isinstance(other, Condition):
            other = Number(other.holds, other.expression)
        if not isinstance(other, int):
            return NotImplemented
        return Number(plain(self, other), Binary(operator, self.expression, of(other)))

    def reflected(self: Number, other: object) -> Any:
        if not isinstance(other, int):
            return NotImplemented
        value = plain_reflected(self, other)
        if operator == "+" and type(other) is int and other == 0:  # where sum() begins
            return Number(value, self.expression)
        return Number(value, Binary(operator, of(other), self.expression))

    return forward, reflected


def _loses(name: str) -> Callable[..., Any]:
    plain = getattr(int, name)

    def lose(self: Number, *others: object) -> Any:
        for report in _lose:
            report("it computes with floating point numbers")
        return plain(self, *others)

    return lose


def _comparison(name: str, operator: str) -> Callable[..., Any]:
    plain = getattr(int, name)

    def compare(self: Number, other: object) -> Any:
        if not isinstance(other, int):
            return NotImplemented
        return Condition(Compare(operator, self.expression, of(other)), plain(self, other))

    return compare


class Number(int):
    """An int with its expression."""

    expression: Expression

    def __new__(cls, value: int, expression: Expression) -> Self:
        """Be *value*, which *expression* says in terms of the steps."""
        number = super().__new__(cls, value)
        number.expression = expression
        return number

    __add__, __radd__ = _binary("__add__", "+")
    __sub__, __rsub__ = _binary("__sub__", "-")
    __mul__, __rmul__ = _binary("__mul__", "*")
    __floordiv__, __rfloordiv__ = _binary("__floordiv__", "//")
    __mod__, __rmod__ = _binary("__mod__", "%")
    __and__, __rand__ = _binary("__and__", "&")
    __or__, __ror__ = _binary("__or__", "|")
    __xor__, __rxor__ = _binary("__xor__", "^")
    __lshift__, __rlshift__ = _binary("__lshift__", "<<")
    __rshift__, __rrshift__ = _binary("__rshift__", ">>")
    __eq__ = _comparison("__eq__", "==")
    __ne__ = _comparison("__ne__", "!=")
    __lt__ = _comparison("__lt__", "<")
    __le__ = _comparison("__le__", "<=")
    __gt__ = _comparison("__gt__", ">")
    __ge__ = _comparison("__ge__", ">=")
    __truediv__, __rtruediv__ = _loses("__truediv__"), _loses("__rtruediv__")
    __float__, __pow__, __divmod__ = _loses("__float__"), _loses("__pow__"), _loses("__divmod__")
    __hash__ = int.__hash__

    def __neg__(self) -> Number:
        return Number(-int(self), Unary("-", self.expression))

    def __invert__(self) -> Number:
        return Number(~int(self), Unary("~", self.expression))

    def __abs__(self) -> Number:
        return Number(abs(int(self)), Unary("abs", self.expression))

    def __bool__(self) -> bool:
        return bool(self.is_set())

    def is_set(self) -> Condition:
        """Return the condition that this number is not 0."""
        return Condition(Compare("!=", self.expression, Constant(0)), int(self) != 0)

    def to_bytes(self, length: SupportsIndex = 1, byteorder: Any = "big", *, signed: bool = False) -> Bytes:
        """Return the bytes, which remember the number they are of."""
        return Bytes(super().to_bytes(length, byteorder, signed=signed), self.expression)


class Bytes(bytes):
    """Bytes of a number, or of a piece of guest memory, with their expression."""

    expression: Expression

    def __new__(cls, value: bytes, expression: Expression) -> Self:
        """Be *value*, which *expression* says in terms of the steps."""
        made = super().__new__(cls, value)
        made.expression = expression
        return made


def of(value: object) -> Expression:
    """Return the expression of *value*: a number of a step, a condition, or a number as it stands."""
    if isinstance(value, Number | Condition | Bytes):
        return value.expression
    if isinstance(value, int):
        return Constant(int(value))
    raise TypeError(f"{value!r} is neither a number nor a condition")


def plain(value: int) -> int:
    """Return *value* without what it remembers."""
    return int(value)


def negated(value: object) -> object:
    """Return whether *value* does not hold."""
    if isinstance(value, Number):
        value = value.is_set()
    if isinstance(value, Condition):
        expression = value.expression
        return Condition(expression.of if isinstance(expression, Not) else Not(expression), not value.holds)
    return not value


def equal(left: object, right: object) -> object:
    """Return whether two numbers are equal, as a condition where one of them is of a step."""
    for one, other in ((left, right), (right, left)):
        if isinstance(one, Condition) and isinstance(other, bool):
            return one if other else negated(one)
    if isinstance(left, Number | Condition) or isinstance(right, Number | Condition):
        held = _value(left) == _value(right)
        return Condition(Compare("==", of(left), of(right)), held)
    return left == right


def _value(value: object) -> object:
    if isinstance(value, Condition):
        return value.holds
    return plain(value) if isinstance(value, int) else value
