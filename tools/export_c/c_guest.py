# SPDX-License-Identifier: GPL-2.0-only
"""The guest of a program: its machine code with the listing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from fixtures.architectures import ARM64, X86_64
from fixtures.guests import layout
from fixtures.guests.program import ListingLine, Program
from fixtures.guests.x86 import state
from fixtures.uapi.arm64.kvm import x_reg
from fixtures.uapi.x86 import kvm as kvm_x86
from tools.export_c import exceptions
from tools.export_c.events import CallEvent, Event, MemoryEvent, Registers, StartProgram
from tools.export_c.expressions import Constant
from tools.export_c.refusal import NotExportable


class GuestForm(NamedTuple):
    """How guests of one architecture stand in a C program."""

    always: tuple[str, ...]  # programs that others cannot do without
    handlers: str  # the one of them that is left out where no exception or interrupt can lead to it
    code_bits: int  # of an element of their code's array
    copies_vectors: bool  # the program copies its exception vectors into place
    has_idt: bool  # and a GDT and a TSS, which only exceptions use
    interrupts_end_in: str = ""  # the program with the handler of other programs' interrupts
    needs_more: tuple[str, ...] = ()  # programs that take more of the CPU's state than C programs set up


BY_ARCHITECTURE = {
    X86_64.name: GuestForm(
        ("faults",),
        "faults",
        8,
        copies_vectors=False,
        has_idt=True,
        interrupts_end_in=state.PROGRAM_OF_TIMER_VECTOR,
        needs_more=("vmlaunch",),
    ),
    ARM64.name: GuestForm(("mmu_on", "vector", "irq"), "irq", 32, copies_vectors=True, has_idt=False),
}
_BYTE_WIDTH = 5
_GROUP_WIDTH = 125


def started(events: Sequence[Event], arch: str) -> list[Program]:
    """Return the guest programs that *events* start, and those they cannot do without; none if none runs.

    `NotExportable` if one of them does not run in a C program.
    """
    if not exceptions.runs(events):
        return []
    found: dict[str, None] = dict.fromkeys(BY_ARCHITECTURE[arch].always)
    names = {layout.entry(arch, name): name for name in layout.BY_ARCHITECTURE[arch]}
    for event in events:
        for address in entries(event):
            if address in names:
                found[names[address]] = None
    programs = layout.BY_ARCHITECTURE[arch]
    for name in BY_ARCHITECTURE[arch].needs_more:
        if name in found:
            raise NotExportable(
                f"its guest program {name} takes an invalid opcode exception when a C program starts it"
            )
    if not any(isinstance(event, MemoryEvent) for event in events):
        return []
    form = BY_ARCHITECTURE[arch]
    if not exceptions.possible(events, [programs[name] for name in found if name != form.handlers]):
        del found[form.handlers]
    elif form.interrupts_end_in and any(exceptions.takes_interrupts(programs[name]) for name in found):
        found[form.interrupts_end_in] = None
    return [programs[name] for name in sorted(found, key=lambda name: layout.entry(arch, name))]


def has_handlers(programs: Sequence[Program], arch: str) -> bool:
    """Return whether the handlers that a program may do without are among *programs*."""
    return any(one.name == BY_ARCHITECTURE[arch].handlers for one in programs)


def has_bare_state(programs: Sequence[Program], arch: str) -> bool:
    """Return whether a guest's CPU needs no registers for the tables that only exceptions use."""
    return BY_ARCHITECTURE[arch].has_idt and not has_handlers(programs, arch)


def program_at(address: int, arch: str) -> str | None:
    """Return the name of the program whose first instruction is at *address*."""
    for name in layout.BY_ARCHITECTURE[arch]:
        if layout.entry(arch, name) == address:
            return name
    return None


def entries(event: Event) -> Iterator[int]:
    """Yield where the guest programs begin that *event* makes a vCPU start."""
    if isinstance(event, StartProgram):
        yield event.address
    if isinstance(event, Registers):
        yield from (value for reg, value in event.values if reg == x_reg(24))
    if not isinstance(event, CallEvent):
        return
    if event.layout is kvm_x86.kvm_regs:
        rip = event.members.get("rip")
        if isinstance(rip, Constant):
            yield rip.value
    reg, pointed = event.members.get("id"), event.members.get("addr")
    if isinstance(reg, Constant) and reg.value == x_reg(24):
        value = getattr(pointed, "value", None)
        if isinstance(value, Constant):
            yield value.value


def code(program: Program) -> str:
    """Return *program* as an array, each instruction with its mnemonic."""
    words = BY_ARCHITECTURE[program.arch].code_bits == 32
    lines = [
        f"static const uint{32 if words else 8}_t program_{program.name}[] = {{ /* {_wrapped(program.doc)} */"
    ]
    for group in _groups(program.listing):
        shown = "; ".join(f"{_label(line)}{line.mnemonic}" for line in group)
        lines.append(f"\t{' '.join(_codes(line, words=words) for line in group)} /* {shown} */")
    return "\n".join([*lines, "};"])


def _groups(listing: Sequence[ListingLine]) -> Iterator[Sequence[ListingLine]]:
    """Yield instructions that stand in one line of C: from a label on, as far as they are short."""
    group: list[ListingLine] = []
    for line in listing:
        long = sum(len(one.code) * _BYTE_WIDTH + len(one.mnemonic) for one in [*group, line]) > _GROUP_WIDTH
        if group and (line.label or long):
            yield group
            group = []
        group.append(line)
    yield group


def _wrapped(text: str) -> str:
    lines: list[str] = [""]
    for one in text.split():
        if len(lines[-1]) + len(one) > 110:
            lines.append("")
        lines[-1] += f" {one}" if lines[-1] else one
    return "\n * ".join(lines)


def _codes(line: ListingLine, *, words: bool) -> str:
    if words:
        return f"0x{int.from_bytes(line.code, 'little'):08x},"
    return "".join(f"0x{byte:02x}, " for byte in line.code).rstrip()


def _label(line: ListingLine) -> str:
    return f"{line.label}: " if line.label else ""
