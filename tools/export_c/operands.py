# SPDX-License-Identifier: GPL-2.0-only
"""Operands that a guest's mailbox already has are not written again: its memory is empty at first."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from fixtures.guests import layout
from fixtures.guests.program import Program
from tools.export_c.events import CopyMemory, Event, MemoryEvent, Store
from tools.export_c.expressions import Constant
from tools.export_c.rolling import Loop

_FIRST = layout.GuestMailbox.operand.offset
_LAST = _FIRST + layout.GuestMailbox.operand.size - 1
_MAILBOXES = range(layout.mailbox(0), layout.mailbox(layout.MAX_VCPUS - 1) + layout.PAGE_SIZE)
_WORD = 8

_WRITTEN = re.compile(r"^st\w* .*\[x19, #0x[89ab]|^\w+ (\w+ ptr )?\[rdi \+ 0x[89ab]")
"""A store of arm64's or x86's to the operands, whose offsets in the mailbox are 0x80 to 0xb8."""

Held = dict[tuple[int, int], int | None]


def without_repeated(parts: Sequence[Event | Loop], programs: Sequence[Program]) -> list[Event | Loop]:
    """Return *parts* without writes of what an operand holds, unless one of *programs* writes some."""
    return list(parts) if any(map(writes_operands, programs)) else list(_kept(parts, {}))


def writes_operands(program: Program) -> bool:
    """Return whether *program* leaves something in the operands, which most only read."""
    return any(_WRITTEN.search(line.mnemonic) for line in program.listing)


def _kept(parts: Sequence[Event | Loop], held: Held) -> Iterator[Event | Loop]:
    for part in parts:
        if isinstance(part, Loop):
            for event in part.body:
                _forget(event, held)
        elif isinstance(part, Store) and _is_operand(part) and isinstance(part.value, Constant):
            place = id(part.into), part.offset
            if held.get(place, 0) == part.value.value:
                continue
            held[place] = part.value.value
        else:
            _forget(part, held)
        yield part


def _forget(event: Event, held: Held) -> None:
    """Take *held* for unknown where *event* writes."""
    if isinstance(event, CopyMemory):
        for place in [place for place in held if place[0] in {id(event.into), id(event.source)}]:
            held[id(event.into), place[1]] = None
    elif isinstance(event, Store) and isinstance(event.into, MemoryEvent):
        size = len(event.value) if isinstance(event.value, bytes) else event.size
        for offset in range(event.offset - event.offset % _WORD, event.offset + size, _WORD):
            if offset in _MAILBOXES:
                held[id(event.into), offset] = None


def _is_operand(store: Store) -> bool:
    return (
        isinstance(store.into, MemoryEvent)
        and store.offset in _MAILBOXES
        and store.size == _WORD
        and _FIRST <= store.offset % layout.PAGE_SIZE <= _LAST
    )
