# SPDX-License-Identifier: GPL-2.0-only
"""The memory of a program's guest: what is in it before the guest runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

from fixtures.guests import layout
from fixtures.guests.program import Program
from tools.export_c.c_guest import BY_ARCHITECTURE, has_handlers
from tools.export_c.c_names import region
from tools.export_c.events import MemoryEvent

_VECTOR_STEP, _VECTORS, _IRQ_VECTOR = 0x80, 16, 5
_IDT_ENTRY = 16
_WORDS = 6  # of tables, in one line
_SHORT_TABLES = 3  # pieces that stand as one call each
_FOR_EXCEPTIONS = {"GDT", "IDT", "TSS"}


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


def _table_copied(at: int, values: Sequence[int]) -> str:
    shown = ", ".join(hex(value) for value in values)
    return f"\tmemcpy(memory + {at:#x}, (uint64_t[]){{ {shown} }}, {8 * len(values)}); /* {region(at)} */"
