# SPDX-License-Identifier: GPL-2.0-only
"""The guest of a program: its machine code with the listing, and the tables its CPU needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from fixtures.architectures import ARM64, X86_64
from fixtures.guests import layout
from fixtures.guests.program import ListingLine, Program
from fixtures.guests.x86 import state
from fixtures.uapi.arm64.kvm import x_reg
from fixtures.uapi.x86 import kvm as kvm_x86
from tools.export_c import exceptions
from tools.export_c.c_names import region
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
_VECTOR_STEP, _VECTORS, _IRQ_VECTOR = 0x80, 16, 5
_IDT_ENTRY = 16
_BYTE_WIDTH = 5
_WORDS = 6  # of tables, in one line
_SHORT_TABLES = 3  # pieces that stand as one call each
_GROUP_WIDTH = 125
_FOR_EXCEPTIONS = {"GDT", "IDT", "TSS"}


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


def _table_array(held: Mapping[int, int]) -> list[str]:
    lines = ["\tstatic const struct { uint32_t at; uint64_t value; } tables[] = {"]
    for name, found in groupby(sorted(held.items()), lambda word: region(word[0])):
        words = [f"/* {name} */", *(f"{{ {at:#x}, {value:#x} }}," for at, value in found)]
        lines += ["\t\t" + " ".join(words[at : at + _WORDS]) for at in range(0, len(words), _WORDS)]
    return [*lines, "\t};", ""]


def _runs(held: Mapping[int, int]) -> list[tuple[int, list[int]]]:
    """Return the words of *held* that follow each other, with where the first of them is."""
    runs: list[tuple[int, list[int]]] = []
    for at, value in sorted(held.items()):
        if not runs or at != runs[-1][0] + 8 * len(runs[-1][1]):
            runs.append((at, []))
        runs[-1][1].append(value)
    return runs


def _is_short(runs: Sequence[tuple[int, list[int]]]) -> bool:
    return len(runs) <= _SHORT_TABLES and all(len(values) <= _WORDS for _, values in runs)


def tables(memory: MemoryEvent, vcpus: set[int], programs: Sequence[Program]) -> Mapping[int, int]:
    """Return what else is in *memory* at first, words by offset, without what no vCPU of *vcpus* uses."""
    arch = programs[0].arch
    codes = [(address, address + len(image)) for address, image in layout.code(arch)]
    if BY_ARCHITECTURE[arch].copies_vectors:
        codes.append((layout.VECTORS, layout.VECTORS + _VECTORS * _VECTOR_STEP))
        if not any("vbar_el2" in line.mnemonic for one in programs for line in one.listing):
            first = layout.HYPERVISOR_VECTORS
            codes.append((first, first + _VECTORS * _VECTOR_STEP))
    states = range(layout.tss(0), layout.tss(layout.MAX_VCPUS - 1) + (layout.tss(1) - layout.tss(0)))
    kept = {layout.tss(vcpu) // 0x80 for vcpu in vcpus}
    found = {}
    has_tables = has_handlers(programs, arch) or not BY_ARCHITECTURE[arch].has_idt
    for at, held in memory.contents.items():
        if not has_tables and region(at) in _FOR_EXCEPTIONS:
            continue
        if any(first - 7 <= at < last for first, last in codes):
            continue
        if BY_ARCHITECTURE[arch].has_idt and at in states and at // 0x80 not in kept:
            continue
        if BY_ARCHITECTURE[arch].has_idt and _is_unused_gate(at, memory, programs):
            continue
        found[at] = int.from_bytes(held, "little")
    return found


def _is_unused_gate(at: int, memory: MemoryEvent, programs: Sequence[Program]) -> bool:
    """Return whether *at* is in an IDT entry that leads to a program which is not there."""
    if not layout.IDT <= at < layout.tss(0):
        return False
    first = at - at % _IDT_ENTRY
    gate = int.from_bytes(memory.contents.get(first, bytes(8)), "little")
    handler = (gate & 0xFFFF) | (gate >> 48 << 16)
    starts = [(layout.entry(one.arch, one.name), len(one.image)) for one in programs]
    return not any(start <= handler < start + size for start, size in starts)


def loading(programs: Sequence[Program], tables: Mapping[int, int]) -> str:
    """Return the function that puts the guest into memory, and the words of *tables* by their offset."""
    runs = _runs(tables)
    lines = ["static void load_guest(uint8_t *memory)", "{"]
    if not _is_short(runs):
        lines += _table_array(tables)
    for one in programs:
        if one.name in {"vector", "irq"}:
            continue
        address = layout.entry(one.arch, one.name)
        lines.append(f"\tmemcpy(memory + {address:#x}, program_{one.name}, sizeof(program_{one.name}));")
    if BY_ARCHITECTURE[programs[0].arch].copies_vectors:
        every = f"memory + {layout.VECTORS:#x} + i * {_VECTOR_STEP:#x}"
        irq = f"memory + {layout.VECTORS + _IRQ_VECTOR * _VECTOR_STEP:#x}"
        lines.append(f"\tfor (unsigned int i = 0; i < {_VECTORS}; i++)")
        lines.append(f"\t\tmemcpy({every}, program_vector, sizeof(program_vector));")
        if has_handlers(programs, programs[0].arch):
            lines.append(f"\tmemcpy({irq}, program_irq, sizeof(program_irq));")
    if _is_short(runs):
        lines += [_table_copied(at, values) for at, values in runs]
    else:
        lines.append("\tfor (unsigned int i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)")
        lines.append("\t\tmemcpy(memory + tables[i].at, &tables[i].value, sizeof(tables[i].value));")
    return "\n".join([*lines, "}"])


def _table_copied(at: int, values: Sequence[int]) -> str:
    shown = ", ".join(hex(value) for value in values)
    return f"\tmemcpy(memory + {at:#x}, (uint64_t[]){{ {shown} }}, {8 * len(values)}); /* {region(at)} */"
