# SPDX-License-Identifier: GPL-2.0-only
"""Where numbers lie in this process: in guest memory, in kvm_run, or in what a call filled in."""

from __future__ import annotations

import ctypes
import threading
from collections import deque
from dataclasses import dataclass
from functools import cache
from typing import Any

from fixtures.uapi import kvm
from tools.export_c.events import CallEvent, Load, MemoryEvent
from tools.export_c.expressions import Expression, StepValue
from tools.export_c.own_memory import held_at

VALUE = "@"
"""The member that stands for what a structure's pointer points at."""

_KEPT = 256
"""How many filled-in structures are known at once; the oldest are forgotten."""


@dataclass(frozen=True, slots=True)
class StructureMember:
    """A number in a structure: its name in C, and its type."""

    name: str
    offset: int
    size: int
    signed: bool = False


@cache
def members(layout: type[ctypes.Structure], elements: int = 0) -> tuple[StructureMember, ...]:
    """Return every number in *layout*, with *elements* of an array of length 0 at its end."""
    found: list[StructureMember] = []
    for name, kind, *_ in layout._fields_:
        offset: int = getattr(layout, name).offset
        if issubclass(kind, ctypes.Array) and ctypes.sizeof(kind) == 0:
            kind = vars(kind)["_type_"] * elements  # noqa: PLW2901
        found += _inside(name, offset, kind)
    return tuple(found)


def _inside(name: str, offset: int, kind: Any) -> list[StructureMember]:
    if issubclass(kind, ctypes.Array):
        element, length = vars(kind)["_type_"], vars(kind)["_length_"]
        step = ctypes.sizeof(element)
        return [
            one
            for index in range(length)
            for one in _inside(f"{name}[{index}]", offset + step * index, element)
        ]
    if issubclass(kind, ctypes.Union):
        padding = dict(kind._fields_).get("pad")  # which covers all that Xen's unions hold
        return _inside(f"{name}.pad", offset, padding) if padding is not None else []
    if issubclass(kind, ctypes.Structure):
        return [
            StructureMember(f"{name}.{one.name}", offset + one.offset, one.size, one.signed)
            for one in members(kind)
        ]
    return [StructureMember(name, offset, ctypes.sizeof(kind), signed=is_signed(kind))]


def is_signed(kind: type) -> bool:
    """Return whether the C type *kind* is a signed integer."""
    return bool(kind(-1).value < 0)


@dataclass(frozen=True, slots=True)
class Filled:
    """Bytes of this process that *event* left: a structure of *layout*, or, without one, a value."""

    address: int
    contents: bytes
    event: CallEvent | Load
    layout: type[ctypes.Structure] | None
    elements: int = 0
    base: int = 0  # of the structure, in what the event left

    def covers(self, address: int, size: int) -> bool:
        """Return whether the *size* bytes at *address* are among them, and as the event left them."""
        start = address - self.address
        if not 0 <= start <= len(self.contents) - size:
            return False
        return held_at(address, size) == self.contents[start : start + size]

    def overlaps(self, address: int, size: int) -> bool:
        """Return whether the *size* bytes at *address* are partly these."""
        return self.address < address + size and address < self.address + len(self.contents)


@dataclass(frozen=True, slots=True)
class Place:
    """An address in guest memory, or in a vCPU's kvm_run."""

    owner: MemoryEvent | CallEvent
    offset: int


class Places:
    """What is known about addresses of this process."""

    def __init__(self) -> None:
        """Nothing is known."""
        self._mapped: list[tuple[int, int, MemoryEvent | CallEvent]] = []
        self._filled: deque[Filled] = deque(maxlen=_KEPT)
        self._lock = threading.RLock()  # vCPUs that run at once fill structures at once
        self._sizes: dict[int, int] = {}
        self._written: dict[int, tuple[int, int, Expression]] = {}

    def map(self, address: int, size: int, owner: MemoryEvent | CallEvent) -> None:
        """Know that *owner* is mapped there."""
        self._mapped = [one for one in self._mapped if one[0] + one[1] <= address or address + size <= one[0]]
        self._mapped.append((address, size, owner))

    def find(self, address: int) -> Place | None:
        """Return what is mapped at *address*, None where nothing of the harness's is."""
        for start, size, owner in self._mapped:
            if start <= address < start + size:
                return Place(owner, address - start)
        return None

    def address_of(self, owner: MemoryEvent | CallEvent) -> int:
        """Return where *owner* is mapped."""
        return next(start for start, _, mapped in self._mapped if mapped is owner)

    def fill(self, filled: Filled) -> None:
        """Know what an event left."""
        with self._lock:
            self.forget(filled.address, len(filled.contents))
            self._filled.append(filled)

    def made(self, address: int, size: int) -> None:
        """User space has made an object of *size* bytes there."""
        self.forget(address, size)
        self._sizes[address] = size

    def size_at(self, address: int) -> int | None:
        """Return the size of the object that was last made at *address*."""
        return self._sizes.get(address)

    def forget(self, address: int, size: int) -> None:
        """A new object lies there."""
        with self._lock:
            for one in [one for one in self._filled if one.overlaps(address, size)]:
                self._filled.remove(one)
            for start in [start for start in self._written if address <= start < address + size]:
                del self._written[start]

    def filled(self, address: int, size: int) -> Filled | None:
        """Return what an event left at *address*, None where nothing is known, or it has changed since."""
        with self._lock:
            return next((one for one in reversed(self._filled) if one.covers(address, size)), None)

    def write(self, address: int, size: int, value: int, expression: Expression) -> None:
        """Know that user space wrote a value of a step there."""
        self._written[address] = (size, value % (1 << 8 * size), expression)

    def written(self, address: int, size: int) -> Expression | None:
        """Return what was written at *address*, None where that was a plain number."""
        known = self._written.get(address)
        if known is None or known[0] != size:
            return None
        held = held_at(address, size)
        if held is None or int.from_bytes(held, "little") != known[1]:
            del self._written[address]
            return None
        return known[2]

    def leaf(self, address: int, size: int) -> StepValue | None:
        """Return the value that an event left at *address*."""
        filled = self.filled(address, size)
        if filled is None:
            return None
        if filled.layout is None:
            return StepValue(filled.event, VALUE, 8 * size) if address == filled.address else None
        offset = address - filled.address + filled.base
        for member in members(filled.layout, filled.elements):
            if (member.offset, member.size) == (offset, size):
                return StepValue(filled.event, member.name, 8 * size, member.signed)
        return None


_PLAIN_RUN_FIELDS = kvm.kvm_run.s.offset
"""Up to there kvm_run says why the guest left, which each entry checks."""


def is_shared_state(place: Place) -> bool:
    """Return whether reading *place* is a step: guest memory, or the registers in kvm_run."""
    return isinstance(place.owner, MemoryEvent) or place.offset >= _PLAIN_RUN_FIELDS
