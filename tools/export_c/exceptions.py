# SPDX-License-Identifier: GPL-2.0-only
"""Whether a guest can take an exception or an interrupt that a program must have a handler for.

A guest without handlers that takes an exception all the same ends in KVM_EXIT_SHUTDOWN, which fails the
program as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fixtures.guests.program import Program
from fixtures.uapi import kvm
from fixtures.uapi.x86 import kvm as kvm_x86
from tools.export_c.events import CallEvent, Enter, Event, SetMode
from tools.export_c.expressions import Constant
from tools.export_c.thread_events import EnterTogether, ReadOn, Spin

_INTERRUPTING = {
    kvm.KVM_CREATE_IRQCHIP,
    kvm.KVM_CREATE_DEVICE,
    kvm.KVM_ENABLE_CAP,
    kvm.KVM_IRQ_LINE,
    kvm_x86.KVM_SET_SREGS,  # one that is not the harness's own
}
_LEADS_TO_TABLES = ("sti", "hlt", "lidt", "ud2", "iretq", "vm", "stgi")
_TABLES = ("tr.", "gdt.", "idt.")


def runs(events: Sequence[Event]) -> bool:
    """Return whether a guest runs at all."""
    return any(isinstance(event, Enter | EnterTogether | ReadOn | Spin) for event in events)


def possible(events: Sequence[Event], programs: Sequence[Program]) -> bool:
    """Return whether *programs*, run as *events* say, need exception handlers or their tables."""
    for event in events:
        match event:
            case Enter(promised=True) | Enter(faulted=True) | Enter(tolerated=True):
                return True
            case CallEvent() if event.request in _INTERRUPTING:
                return True
            case SetMode(members=members) if dict(members).get("cs.dpl", Constant(0)) != Constant(0):
                return True
    mnemonics = {line.mnemonic.split()[0] for one in programs for line in one.listing}
    return any(one.startswith(_LEADS_TO_TABLES) for one in mnemonics)


def takes_interrupts(program: Program) -> bool:
    """Return whether *program*, one of x86's, lets interrupts in."""
    return any(line.mnemonic == "sti" for line in program.listing)


def without_tables(event: Event) -> Event:
    """Return *event* without the registers that point to tables which only exceptions use."""
    if not isinstance(event, SetMode):
        return event
    return replace(event, members=tuple(pair for pair in event.members if not pair[0].startswith(_TABLES)))
