# SPDX-License-Identifier: GPL-2.0-only
"""Calls of rewritten code: those that make, copy or convert numbers keep where they come from."""

from __future__ import annotations

import contextlib
import ctypes
import statistics
import struct
from collections.abc import Callable
from enum import EnumMeta
from fractions import Fraction
from pathlib import Path
from types import BuiltinMethodType
from typing import Any

from fixtures.counters import signed
from tools.export_c import distinct, expected, views
from tools.export_c.conditions import Ascending, every, some
from tools.export_c.expressions import Extreme, Signed
from tools.export_c.session import RUN
from tools.export_c.symbolic import Bytes, Condition, Number, of
from tools.export_c.tracking import write_number
from tools.export_c.views import C_TYPES, without

_CONCRETE = {statistics.median, statistics.mean, round}
"""What a claim learns from measurements of this host stays as it was measured."""


_HOST_MODULES = frozenset({"time", "posix", "os", "subprocess"})
_GUESTS = "fixtures.guests"  # whose structures are new ones, and are made out of sight
_HARMLESS = frozenset({"strerror"})


def call(function: Any, *arguments: Any, **keywords: Any) -> Any:
    """Return *function*(*arguments*, *keywords*)."""
    if _queries_the_host(function):
        RUN.current.refuse("it looks at its host in another way than by KVM and clocks")
    special = _special(function, arguments)
    if special is not None:
        return special(function, arguments, keywords)
    result = function(*arguments, **keywords)
    if isinstance(result, ctypes.Structure) and str(getattr(function, "__module__", "")).startswith(_GUESTS):
        RUN.current.places.made(ctypes.addressof(result), ctypes.sizeof(result))
    return result


def _queries_the_host(function: Any) -> bool:
    if isinstance(getattr(function, "__self__", None), Path):
        return True
    module, name = getattr(function, "__module__", None), getattr(function, "__name__", "")
    return module in _HOST_MODULES and name not in _HARMLESS


Special = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]


def _special(function: Any, arguments: tuple[Any, ...]) -> Special | None:
    if isinstance(function, type) and function is not contextlib.suppress:
        return _special_type(function, arguments)
    if isinstance(function, BuiltinMethodType):
        owner = function.__self__
        if isinstance(owner, memoryview) and function.__name__ == "tolist":
            return views.tolist
        if isinstance(owner, struct.Struct) and function.__name__ == "iter_unpack":
            return _iter_unpack
        if isinstance(owner, bytes) and function.__name__ == "join":
            return views.join
        if owner is int and function.__name__ == "from_bytes":
            return views.from_bytes
        if isinstance(owner, type) and issubclass(owner, C_TYPES) and function.__name__ == "from_buffer_copy":
            return views.from_buffer_copy
    found = _FUNCTIONS.get(getattr(function, "__qualname__", None))
    if found is not None and found[0](function):
        return found[1]
    return expected.special(function)


def _special_type(function: type, arguments: tuple[Any, ...]) -> Special | None:
    if issubclass(function, C_TYPES):
        return _construct
    first = arguments[0] if arguments else None
    if isinstance(first, Number | Condition) and (function in {int, bool} or isinstance(function, EnumMeta)):
        return _convert
    if function is bytes and isinstance(first, memoryview | Bytes):
        return views.bytes_of_view
    if function is bytes and isinstance(first, ctypes.Array | ctypes.Structure):
        return views.bytes_of_structure
    if function in {Fraction, float} and any(isinstance(one, Number) for one in arguments):
        return _fraction
    if function in {set, frozenset} and arguments:
        return lambda _, values, __: distinct.made_of(list(values[0]))
    return None


def condition(value: Any) -> Any:
    """Return *value* as a condition if it is a number of a step."""
    return value.is_set() if isinstance(value, Number) else value


def plain_check(held: bool, text: str) -> None:
    """Note a check of what is not a value of a step: the calls before it must do as they did."""
    RUN.current.plain_checks.append((text, held))


def _construct(function: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    plain = {name: without(value) for name, value in keywords.items()}
    made = function(*map(without, arguments), **plain)
    start = ctypes.addressof(made)
    RUN.current.places.made(start, ctypes.sizeof(made))
    if isinstance(made, ctypes._SimpleCData):
        if arguments and isinstance(arguments[0], Number):
            write_number(start, ctypes.sizeof(made), arguments[0])
        return made
    names = [one[0] for one in getattr(function, "_fields_", ())]
    for name, value in [*zip(names, arguments, strict=False), *keywords.items()]:
        if isinstance(value, Number):
            member = getattr(function, name)
            write_number(start + member.offset, member.size, value)
    return made


def _convert(function: Any, arguments: tuple[Any, ...], _: dict[str, Any]) -> Any:
    value = arguments[0]
    if function is bool:
        return value.is_set() if isinstance(value, Number) else value
    return Number(value.holds, value.expression) if isinstance(value, Condition) else value


def _fraction(function: Any, arguments: tuple[Any, ...], _: dict[str, Any]) -> Any:
    RUN.current.refuse("it computes with fractions")
    return function(*map(without, arguments))


def _len(function: Any, arguments: tuple[Any, ...], _: dict[str, Any]) -> int:
    values = arguments[0]
    if isinstance(values, distinct.Distinct):
        return distinct.DistinctCount(values)
    length: int = function(values)
    return length


def _iter_unpack(function: Any, arguments: tuple[Any, ...], _: dict[str, Any]) -> Any:
    if isinstance(arguments[0], memoryview) and RUN.current.places.find(views.address_of(arguments[0])):
        RUN.current.refuse("it goes through as many records as its guest found")
    return function(*arguments)


def _sorted(function: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    origin = arguments[0]
    if keywords or not isinstance(origin, list | tuple) or not any(isinstance(one, Number) for one in origin):
        return function(*arguments, **keywords)
    return Ascending(sorted(origin, key=int), origin)


def _extreme(function: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    values = list(arguments[0]) if len(arguments) == 1 else list(arguments)
    if keywords or not any(isinstance(one, Number) for one in values):
        return function(values, **keywords) if values else function(*arguments, **keywords)
    if not all(isinstance(one, int) for one in values):
        return function(values)
    expression = Extreme(function.__name__, tuple(of(one) for one in values))
    return Number(function(map(int, values)), expression)


def _signed(function: Any, arguments: tuple[Any, ...], _: dict[str, Any]) -> Any:
    value = arguments[0]
    if not isinstance(value, Number):
        return function(value)
    return Number(function(int(value)), Signed(value.expression))


def _concrete(function: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    return function(
        *(without(list(one) if not isinstance(one, int) else one) for one in arguments), **keywords
    )


_FUNCTIONS: dict[str | None, tuple[Callable[[Any], bool], Special]] = {
    "len": (lambda one: one is len, _len),
    "sorted": (lambda one: one is sorted, _sorted),
    "min": (lambda one: one is min, _extreme),
    "max": (lambda one: one is max, _extreme),
    "all": (lambda one: one is all, lambda _, arguments, __: every(list(arguments[0]))),
    "any": (lambda one: one is any, lambda _, arguments, __: some(list(arguments[0]))),
    "signed": (lambda one: one is signed, _signed),
    "median": (_CONCRETE.__contains__, _concrete),
    "mean": (_CONCRETE.__contains__, _concrete),
}
