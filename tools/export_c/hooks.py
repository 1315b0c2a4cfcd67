# SPDX-License-Identifier: GPL-2.0-only
"""What rewritten modules call instead of reading, writing, calling and asserting themselves."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from itertools import pairwise
from typing import Any, cast

from fixtures.counters import Window
from tools.export_c import calls, distinct, views
from tools.export_c import chosen as lists
from tools.export_c.call_bytes import CallBytes
from tools.export_c.conditions import Ascending, every, inside, same_bytes, some
from tools.export_c.events import CheckEvent, Load
from tools.export_c.expressions import Constant, Every, Expression
from tools.export_c.session import RUN
from tools.export_c.symbolic import Bytes, Condition, Number, equal, negated
from tools.export_c.tracking import read_number, write_number

__all__ = ["call", "chosen", "negated", "read_item", "read_member", "set_of"]

call = calls.call
chosen = lists.made_of
set_of = distinct.made_of


def read_member(owner: Any, name: str) -> Any:
    """Return *owner*.*name*."""
    value = getattr(owner, name)
    if type(value) is not int or not isinstance(owner, views.C_TYPES):
        return value
    if isinstance(owner, ctypes._SimpleCData):
        return read_number(ctypes.addressof(owner), ctypes.sizeof(owner), value)
    member = getattr(type(owner), name)
    return read_number(ctypes.addressof(owner) + member.offset, member.size, value)


def read_item(owner: Any, index: Any) -> Any:
    """Return *owner*[*index*]."""
    value = owner[index]
    if isinstance(owner, CallBytes) and isinstance(index, slice):
        return CallBytes(value, owner.expressions[index])
    if isinstance(owner, memoryview) and type(value) is int:
        part = owner[index : index + 1]
        return read_number(views.address_of(part), part.nbytes, value)
    if not isinstance(owner, ctypes.Array):
        return value
    if isinstance(index, slice):
        if value and all(type(one) is int for one in value):
            return [read_item(owner, one) for one in range(len(owner))[index]]
        return value
    if type(value) is not int:
        return value
    address, size = views.element(owner, index)
    return read_number(address, size, value)


def write_member(owner: Any, name: str, value: Any) -> None:
    """Do *owner*.*name* = *value*."""
    setattr(owner, name, views.without(value) if isinstance(owner, views.C_TYPES) else value)
    if isinstance(owner, ctypes._SimpleCData):
        write_number(ctypes.addressof(owner), ctypes.sizeof(owner), value)
    elif isinstance(owner, views.C_TYPES) and isinstance(value, int):
        member = getattr(type(owner), name)
        write_number(ctypes.addressof(owner) + member.offset, member.size, value)
    elif isinstance(owner, views.C_TYPES):
        views.written(owner, name)


def write_item(owner: Any, index: Any, value: Any) -> None:
    """Do *owner*[*index*] = *value*."""
    owner[index] = views.without(value) if isinstance(owner, ctypes.Array | memoryview) else value
    if isinstance(owner, ctypes.Array) and isinstance(value, int):
        write_number(*views.element(owner, index), value)
    elif isinstance(owner, memoryview):
        views.memory_written(owner, index, value)


def compare(operators: tuple[str, ...], *operands: Any) -> Any:
    """Return the value of a comparison, chained or not."""
    found = [
        _one(operator, left, right)
        for operator, left, right in zip(operators, operands, operands[1:], strict=False)
    ]
    return found[0] if len(found) == 1 else every(found)


def every_of(*thunks: Callable[[], Any]) -> object:
    """Return the value of an "and" inside an assertion."""
    return every(_until(thunks, stop_at=False))


def some_of(*thunks: Callable[[], Any]) -> object:
    """Return the value of an "or" inside an assertion."""
    return some(_until(thunks, stop_at=True))


def check(value: Any, text: str, line: int) -> None:
    """Keep what a claim asserts; the run continues whether it holds or not."""
    condition = calls.condition(value)
    if not isinstance(condition, Condition):
        calls.plain_check(bool(condition), text)
        return
    for part in _parts(condition.expression):
        if isinstance(part, Constant):
            calls.plain_check(bool(part.value), text)
        else:
            RUN.current.add(CheckEvent(part, text, line, condition.holds))


def _parts(expression: Expression) -> Iterator[Expression]:
    """Yield the conditions that must all hold where *expression* does."""
    if isinstance(expression, Every):
        for one in expression.of:
            yield from _parts(one)
    else:
        yield expression


def _one(operator: str, left: Any, right: Any) -> Any:
    if distinct.concerns(left, right):
        return distinct.compare(operator, left, right, same)
    match operator:
        case "==":
            return same(left, right)
        case "!=":
            return negated(same(left, right))
        case "in":
            return _within(left, right)
        case "not in":
            return negated(_within(left, right))
        case "<":
            return left < right
        case "<=":
            return left <= right
        case ">":
            return left > right
    return left >= right


def same(left: Any, right: Any) -> object:
    """Return whether *left* equals *right*, as a condition where they hold numbers of steps."""
    if isinstance(left, lists.Chosen) or isinstance(right, lists.Chosen):
        return lists.compare(left, right, same)
    if isinstance(left, Ascending) or isinstance(right, Ascending):
        return _sorted(left, right)
    if isinstance(left, Number | Condition) or isinstance(right, Number | Condition):
        if isinstance(left, int | Condition) and isinstance(right, int | Condition):
            return equal(left, right)
        return cast("object", left == right)
    if isinstance(left, Bytes) or isinstance(right, Bytes):
        return same_bytes(left, right)
    if isinstance(left, list | tuple) and type(left) is type(right) and len(left) == len(right):
        return every([same(one, other) for one, other in zip(left, right, strict=True)])
    if is_dataclass(left) and type(left) is type(right) and not isinstance(left, type):
        return every([same(getattr(left, one.name), getattr(right, one.name)) for one in fields(left)])
    return bool(left == right)


def _sorted(left: Any, right: Any) -> object:
    values, ascending = (right, left) if isinstance(left, Ascending) else (left, right)
    if ascending.origin is not values:
        if any(isinstance(one, Number) for one in values):
            RUN.current.refuse("it sorts other values than it compares")
        return bool(list(left) == list(right))
    return every([_at_most(one, other) for one, other in pairwise(values)])


def _at_most(one: Any, other: Any) -> object:
    return one <= other


def _within(value: Any, among: Any) -> object:
    if isinstance(among, Window):
        return inside(value, among)
    if isinstance(value, Number) and isinstance(among, range) and among.step == 1:
        return every([value >= among.start, value < among.stop])
    if isinstance(among, tuple | list | set | frozenset) and _has_numbers([value, *among]):
        return some([same(value, one) for one in among])
    if isinstance(value, Number) and not isinstance(among, dict | frozenset | set | range):
        RUN.current.refuse("it looks a value up in what is neither a window nor a collection")
    return bool(value in among)


def _has_numbers(values: list[Any]) -> bool:
    return any(isinstance(one, Number | Condition) for one in values)


def _until(thunks: tuple[Callable[[], Any], ...], *, stop_at: bool) -> list[Any]:
    """Return the values of *thunks* up to the one that decides, and those that could decide elsewhere."""
    found: list[Any] = []
    for at, thunk in enumerate(thunks):
        found.append(thunk())
        value = found[-1]
        decided = value.holds if isinstance(value, Condition) else bool(views.without(value))
        if decided is stop_at:
            others = thunks[at + 1 :] if isinstance(value, Condition | Number) else ()
            return [*found, *(_alternative(other) for other in others)]
    return found


def _alternative(thunk: Callable[[], Any]) -> Any:
    """Return the value of what the run that was recorded did not come to, and a program may."""
    events = RUN.current.events
    first = len(events)
    try:
        value = thunk()
    except Exception as error:  # noqa: BLE001 - it makes sense only where the values before are others
        RUN.refuse(f"an alternative of what it checks ends with {type(error).__name__}")
        return False
    if not all(isinstance(one, Load) for one in events[first:]):
        RUN.refuse("an alternative of what it checks does more than compare")
    return value
