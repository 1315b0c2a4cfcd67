# SPDX-License-Identifier: GPL-2.0-only
"""Numbers and bytes that leave guest memory and structures, or are written there."""

from __future__ import annotations

import ctypes
from typing import Any

from tools.export_c.call_bytes import CallBytes
from tools.export_c.events import CopyMemory, Load, MemoryEvent
from tools.export_c.expressions import Compare, Constant, StepValue
from tools.export_c.places import Filled
from tools.export_c.session import RUN
from tools.export_c.symbolic import Bytes, Condition, Number
from tools.export_c.tracking import read_number, write_bytes, write_number

C_TYPES = (ctypes.Structure, ctypes.Union, ctypes._SimpleCData, ctypes.Array)


def without(value: Any) -> Any:
    """Return *value* as a plain number where it is one of a step's."""
    if isinstance(value, Condition):
        return value.holds
    if isinstance(value, Number):
        return int(value)
    if isinstance(value, list | tuple):
        return type(value)(without(one) for one in value) if not hasattr(value, "_fields") else value
    return value


def element(array: ctypes.Array[Any], index: int) -> tuple[int, int]:
    """Return address and size of *array*[*index*]."""
    size = ctypes.sizeof(array) // len(array)
    return ctypes.addressof(array) + size * range(len(array))[index], size


def address_of(view: memoryview) -> int:
    """Return where the first byte of *view* lies, 0 for memory that cannot be written."""
    if view.readonly or not view.nbytes:
        return 0
    return ctypes.addressof((ctypes.c_char * view.nbytes).from_buffer(view))


def written(owner: Any, name: str) -> None:
    """Note that a structure was assigned to the member *name* of *owner*."""
    member = getattr(type(owner), name)
    write_bytes(ctypes.addressof(owner) + member.offset, bytes(getattr(owner, name)))


def memory_written(view: memoryview, index: Any, value: Any) -> None:
    """Note that *value* was written to *view*[*index*]."""
    part = view[index] if isinstance(index, slice) else view[index : index + 1]
    start = address_of(part)
    if isinstance(value, memoryview) and _copied(start, part.nbytes, value):
        return
    if isinstance(value, int):
        write_number(start, part.nbytes, value)
    else:
        write_bytes(start, value if isinstance(value, Bytes) else bytes(value))


def _copied(start: int, size: int, source: memoryview) -> bool:
    """Note a copy of a whole guest memory; return whether it is one."""
    places = RUN.current.places
    into, of = places.find(start), places.find(address_of(source))
    if into is None or of is None or into.offset or of.offset:
        return False
    if not isinstance(into.owner, MemoryEvent) or not isinstance(of.owner, MemoryEvent):
        return False
    if not into.owner.size == of.owner.size == size:
        return False
    RUN.current.add(CopyMemory(into.owner, of.owner))
    return True


def bytes_of_view(_: Any, arguments: tuple[Any, ...], __: dict[str, Any]) -> bytes:
    """Return the bytes of a view of guest memory, which remember where they lay."""
    source = arguments[0]
    if isinstance(source, Bytes):
        return source
    held = bytes(source)
    place = RUN.current.places.find(address_of(source)) if held else None
    if place is None:
        return held
    event = Load(place.owner, place.offset, 1, len(held), raw=True)
    RUN.current.add(event)
    return Bytes(held, StepValue(event, "", 8))


def bytes_of_structure(function: Any, arguments: tuple[Any, ...], _: dict[str, Any]) -> bytes:
    """Return the bytes of a structure, which remember the call that filled it."""
    held: bytes = function(arguments[0])
    start, places = ctypes.addressof(arguments[0]), RUN.current.places
    known = [leaf for at in range(len(held)) if (leaf := places.leaf(start + at, 1)) is not None]
    return CallBytes(held, known) if len(known) == len(held) else held


def join(function: Any, arguments: tuple[Any, ...], _: dict[str, Any]) -> bytes:
    """Return bytes that are looked up in what the claim knows: a program has to find the same ones."""
    parts = list(arguments[0])
    for one in parts:
        if isinstance(one, CallBytes) or (isinstance(one, Bytes) and _is_of_memory(one)):
            RUN.current.refuse("it joins pieces of memory")
        elif isinstance(one, Bytes):
            value = int.from_bytes(one, "little")
            bool(Condition(Compare("==", one.expression, Constant(value)), True))
    joined: bytes = function(parts)
    return joined


def _is_of_memory(held: Bytes) -> bool:
    return isinstance(held.expression, StepValue) and getattr(held.expression.event, "raw", False)


def from_bytes(function: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> int:
    """Do int.from_bytes() of bytes that remember where they come from."""
    source = arguments[0]
    value: int = function(*arguments, **keywords)
    if isinstance(source, CallBytes) and arguments[1:] == ("little",) and not keywords:
        return source.number()
    if isinstance(source, Bytes) and isinstance(source.expression, StepValue):
        first = source.expression.event
        assert isinstance(first, Load)
        event = Load(first.source, first.offset, len(source), signed=value < 0)
        RUN.current.add(event)
        return Number(value, StepValue(event, "", 8 * len(source), signed=value < 0))
    if isinstance(source, memoryview):
        return read_number(address_of(source), source.nbytes, value)
    return value


def tolist(function: Any, arguments: tuple[Any, ...], _: dict[str, Any]) -> list[int]:
    """Return the numbers in a view of guest memory."""
    view: memoryview = function.__self__
    values: list[int] = function(*arguments)
    place = RUN.current.places.find(address_of(view)) if values else None
    if place is None:
        return values
    event = Load(place.owner, place.offset, view.itemsize, len(values))
    RUN.current.add(event)
    return [
        Number(value, StepValue(event, "", 8 * view.itemsize, index=index))
        for index, value in enumerate(values)
    ]


def from_buffer_copy(function: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """Return a copy of a structure in guest memory, or of one that a call filled."""
    copy = function(*map(without, arguments), **keywords)
    source = arguments[0]
    size = ctypes.sizeof(copy)
    offset = int(arguments[1]) if len(arguments) > 1 else 0
    places, target = RUN.current.places, ctypes.addressof(copy)
    places.forget(target, size)
    if isinstance(source, memoryview):
        place = places.find(address_of(source) + offset)
        if place is not None:
            event = Load(place.owner, place.offset, size, layout=type(copy))
            RUN.current.add(event)
            places.fill(Filled(target, bytes(copy), event, type(copy)))
    elif isinstance(source, Bytes) and isinstance(source.expression, StepValue):
        first = source.expression.event
        assert isinstance(first, Load)
        event = Load(first.source, first.offset + offset, size, layout=type(copy))
        RUN.current.add(event)
        places.fill(Filled(target, bytes(copy), event, type(copy)))
    elif isinstance(source, C_TYPES):
        known = places.filled(ctypes.addressof(source), size)
        if known is not None:
            places.fill(Filled(target, bytes(copy), known.event, known.layout, known.elements, known.base))
    return copy
