# SPDX-License-Identifier: GPL-2.0-only
"""Operands that a mailbox holds already are left out of a program, and only those."""

from __future__ import annotations

from fixtures.architectures import ARM64
from fixtures.guests import layout
from tools.export_c.events import CopyMemory, Event, MemoryEvent, Store
from tools.export_c.expressions import Constant
from tools.export_c.operands import without_repeated, writes_operands
from tools.export_c.rolling import Loop

OPERAND = layout.mailbox(0) + layout.GuestMailbox.operand.offset
RESULT = layout.mailbox(0) + layout.GuestMailbox.result.offset


def put(memory: MemoryEvent, value: int, at: int = OPERAND) -> Store:
    """Return the write of *value*."""
    return Store(memory, at, 8, Constant(value))


def test_operand_that_is_there_is_not_written_again() -> None:
    """Neither a 0 in new memory nor a value that was written before is a step; another one is."""
    memory = MemoryEvent(0x400000)
    first, second, back = put(memory, 5), put(memory, 6), put(memory, 0)
    steps: list[Event | Loop] = [put(memory, 0), first, put(memory, 5), second, back, put(memory, 0)]

    assert without_repeated(steps, []) == [first, second, back]


def test_memories_are_apart() -> None:
    """An operand in one VM's memory says nothing about another's."""
    one, other = put(MemoryEvent(0x400000), 5), put(MemoryEvent(0x400000), 5)

    assert without_repeated([one, other], []) == [one, other]


def test_other_words_are_written_each_time() -> None:
    """What guests leave may have changed: user space's writes there stay."""
    memory = MemoryEvent(0x400000)
    steps: list[Event | Loop] = [put(memory, 0, RESULT), put(memory, 0, RESULT)]

    assert without_repeated(steps, []) == steps


def test_what_a_loop_or_a_copy_wrote_is_unknown() -> None:
    """After a loop that writes an operand, or a copy of memory, it is written again."""
    memory, other = MemoryEvent(0x400000), MemoryEvent(0x400000)
    first, last = put(memory, 5), put(memory, 5)
    loop = Loop([put(memory, 7)], [put(memory, 7)], 3)

    assert without_repeated([first, loop, last], []) == [first, loop, last]
    copy = CopyMemory(memory, other)
    assert without_repeated([first, copy, last], []) == [first, copy, last]


def test_program_that_writes_operands_is_known() -> None:
    """The guest hypervisor's program leaves a count in its operand; those that read counters leave none."""
    programs = layout.BY_ARCHITECTURE[ARM64.name]

    assert writes_operands(programs["visit_guest"])
    assert not writes_operands(programs["cntvct"])
