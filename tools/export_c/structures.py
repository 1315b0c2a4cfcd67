# SPDX-License-Identifier: GPL-2.0-only
"""What is in the structure of a call, apart from what an earlier call left in it."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping

from fixtures.uapi import kvm
from fixtures.uapi.arm64 import kvm as kvm_arm64
from fixtures.uapi.ctype import sized
from fixtures.uapi.ioctl import IOC_READ, IOC_WRITE, Request
from fixtures.uapi.x86 import kvm as kvm_x86
from tools.export_c import events
from tools.export_c.expressions import Constant
from tools.export_c.own_memory import held_at
from tools.export_c.places import Places, StructureMember, members
from tools.export_c.refusal import NotExportable

CHANGED_COPIES = frozenset(
    {
        kvm_x86.kvm_sregs,
        kvm_x86.kvm_cpuid2,
        kvm_x86.kvm_lapic_state,
        kvm_arm64.kvm_vcpu_init,
    }
)
"""Structures that user space gets from KVM, changes, and passes back."""


_COUNTS: dict[type[ctypes.Structure], str] = {
    kvm_x86.kvm_msrs: "nmsrs",
    kvm_x86.kvm_cpuid2: "nent",
    kvm.kvm_reg_list: "n",
}
"""The member that says how long the array at a structure's end is."""

_U64 = 8
_POINTERS = frozenset({"addr", "userspace_addr"})


def elements(layout: type[ctypes.Structure], address: int) -> int:
    """Return the length of the array at the end of the structure at *address*, 0 where it has none."""
    count = _COUNTS.get(layout)
    if count is None:
        if layout is kvm_x86.kvm_nested_state or members(layout) == ():
            raise NotExportable(f"it passes a struct {layout.__name__}, whose size only KVM knows")
        return 0
    header: ctypes.Structure = layout.from_address(address)
    return int(getattr(header, count))


def whole(layout: type[ctypes.Structure], count: int) -> int:
    """Return the size of *layout* with *count* elements at its end."""
    size = ctypes.sizeof(layout)
    found = members(layout, count)
    return max([size, *(one.offset + one.size for one in found)])


def base_of(
    layout: type[ctypes.Structure], contents: bytes, earlier: list[tuple[events.CallEvent, bytes]]
) -> tuple[events.CallEvent, bytes] | None:
    """Return the call of *earlier* whose result was changed to *contents*, None for a new one."""
    if layout not in CHANGED_COPIES:
        return None
    candidates = [one for one in earlier if one[0].layout is layout and len(one[1]) >= len(contents)]
    return min(reversed(candidates), key=lambda one: _differences(one[1], contents), default=None)


def _differences(one: bytes, other: bytes) -> int:
    return sum(left != right for left, right in zip(one, other, strict=False))


def given(
    call: events.CallEvent, address: int, contents: bytes, base: bytes | None, places: Places
) -> Mapping[str, events.StructureMember]:
    """Return what user space put into the structure of *call* at *address*, by C name."""
    assert call.layout is not None
    before = base if base is not None else bytes(len(contents))
    return dict(_given(call, members(call.layout, call.elements), address, contents, before, places))


def _given(
    call: events.CallEvent,
    found: tuple[StructureMember, ...],
    address: int,
    contents: bytes,
    before: bytes,
    places: Places,
) -> Iterator[tuple[str, events.StructureMember]]:
    changed = {
        member.name.partition(".")[0]
        for member in found
        if contents[member.offset : member.offset + member.size]
        != before[member.offset : member.offset + member.size]
    }
    for member in found:
        span = slice(member.offset, member.offset + member.size)
        number = int.from_bytes(contents[span], "little", signed=member.signed)
        if member.name in _POINTERS:
            yield member.name, pointer(number, places)
            continue
        expression = places.written(address + member.offset, member.size)
        if expression is None:
            leaf = places.leaf(address + member.offset, member.size)
            expression = leaf if leaf is not None and leaf.event is not call.base else None
        if expression is not None:
            yield member.name, expression
        elif contents[span] != before[span] or _in_changed_segment(member, number, changed):
            yield member.name, Constant(number)


def has_unnamed(layout: type[ctypes.Structure], count: int, contents: bytes) -> bool:
    """Return whether *contents* say something in a union, whose members have no one name."""
    rest = bytearray(contents)
    for member in members(layout, count):
        rest[member.offset : member.offset + member.size] = bytes(member.size)
    return any(rest)


def _in_changed_segment(member: StructureMember, number: int, changed: set[str]) -> bool:
    """Return whether *member* says something of a segment that is set as a whole."""
    segment, dot, _ = member.name.partition(".")
    return bool(dot) and segment in changed and number != 0


def changed_bits(contents: bytes, before: bytes) -> Mapping[tuple[int, str], tuple[int, int]] | None:
    """Return bits of a CPUID table that were cleared and set, by leaf and register; None for a new one."""
    table, old = _cpuid(contents), _cpuid(before)
    if table.nent != old.nent:
        return None
    found: dict[tuple[int, str], tuple[int, int]] = {}
    for entry, other in zip(table.entries, old.entries, strict=True):
        if (entry.function, entry.index, entry.flags) != (other.function, other.index, other.flags):
            return None
        for register in ("eax", "ebx", "ecx", "edx"):
            new, was = getattr(entry, register), getattr(other, register)
            if new != was:
                clear, put = found.get((entry.function, register), (0, 0))
                found[entry.function, register] = clear | was & ~new, put | new & ~was
    return found


def _cpuid(contents: bytes) -> ctypes.Structure:
    room = len(contents) - ctypes.sizeof(kvm_x86.kvm_cpuid2)
    return sized(kvm_x86.kvm_cpuid2, room // ctypes.sizeof(kvm_x86.kvm_cpuid_entry2)).from_buffer_copy(
        contents
    )


def pointer(address: int, places: Places) -> events.PointerArgument:
    """Return what *address* points at: guest memory, a value of the program's own, or nothing."""
    size = places.size_at(address) or _U64
    place = places.find(address)
    if place is not None and isinstance(place.owner, events.MemoryEvent):
        return events.PointerArgument(place.owner, place.offset)
    held = held_at(address, size)
    if held is None:
        return events.PointerArgument(offset=address)
    value = places.written(address, size) or places.leaf(address, size)
    return events.PointerArgument(value=value or Constant(int.from_bytes(held, "little")), size=size)


def takes(request: Request) -> bool:
    """Return whether KVM reads the structure of *request*."""
    return bool(request.direction & IOC_WRITE)


def fills(request: Request) -> bool:
    """Return whether KVM writes into the structure of *request*."""
    return bool(request.direction & IOC_READ)
