# SPDX-License-Identifier: GPL-2.0-only
"""What the structure of a call holds as C: numbers, addresses, and what changes in a copy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from tools.export_c.c_expressions import word
from tools.export_c.c_flags import value_name
from tools.export_c.c_literals import literal
from tools.export_c.c_names import Names
from tools.export_c.events import CallEvent, PointerArgument, StructureMember
from tools.export_c.expressions import Binary, Constant, StepValue
from tools.export_c.refusal import NotExportable

Name = Callable[[StepValue], str]


def constant_of(call: CallEvent, member: str) -> int:
    """Return the number in *member* of what *call* passes; `NotExportable` if it is computed."""
    value = call.members.get(member, Constant(0))
    if not isinstance(value, Constant):
        raise NotExportable(f"it computes the {member} of a device attribute")
    return value.value


def number_text(value: StructureMember, name: Name) -> str:
    """Return the number *value* as C of type uint64_t; `NotExportable` for bytes and addresses."""
    if isinstance(value, bytes | PointerArgument):
        raise NotExportable("it passes bytes where a number is wanted")
    return word(value, name)


def member_text(value: StructureMember, name: Name, names: Names) -> str:
    """Return what a member of a structure holds, as C."""
    return (
        pointer_text(value, name, names) if isinstance(value, PointerArgument) else number_text(value, name)
    )


def changes(
    members: Mapping[str, StructureMember],
    own: str,
    name: Name,
    names: Names,
    call: CallEvent | None = None,
) -> Iterator[str]:
    """Yield what *members* change in a copy called *own*; segments whole, equal ones together.

    *call* is what passes the copy, for names that its structure has for numbers.
    """
    segments: dict[str, list[str]] = {}
    for member, value in members.items():
        head, dot, tail = member.partition(".")
        if not dot:
            yield _change(member, value, name, names, call)
        else:
            shown = literal(value.value) if isinstance(value, Constant) else member_text(value, name, names)
            segments.setdefault(head, []).append(f".{tail} = {shown}")
    alike: dict[tuple[str, ...], list[str]] = {}
    for head, found in segments.items():
        alike.setdefault(tuple(found), []).append(head)
    for parts, heads in alike.items():
        kind = "kvm_dtable" if heads[0] in {"gdt", "idt"} else "kvm_segment"
        yield f" = {own}.".join(heads) + f" = (struct {kind}){{ {', '.join(parts)} }}"


def _change(member: str, value: StructureMember, name: Name, names: Names, call: CallEvent | None) -> str:
    layout, base = (call.layout, call.base) if call is not None else (None, None)
    match value:
        case Constant(number):
            return f"{member} = {value_name(layout, member, number) or hex(number)}"
        case Binary("|", StepValue(event=event, member=changed), Constant(bits)) if (
            event is base and changed == member
        ):
            return f"{member} |= {value_name(layout, member, bits) or hex(bits)}"
    return f"{member} = {member_text(value, name, names)}"


def pointer_text(
    value: PointerArgument, name: Name, names: Names, cast: str = "", *, as_argument: bool = False
) -> str:
    """Return the address *value* as C: in guest memory, of a value, or a bad one."""
    if value.memory is not None:
        at = f"{names.of(value.memory)} + {value.offset:#x}" if value.offset else names.of(value.memory)
        return at if cast or as_argument else f"(uintptr_t)({at})" if value.offset else f"(uintptr_t){at}"
    if value.value is not None:
        return word(value.value, name)
    if cast and not value.offset:
        return "NULL"
    return f"{cast}{hex(value.offset)}{'ULL' if value.offset >= 1 << 63 else ''}"


def cpuid_changes(call: CallEvent, own: str) -> Iterator[str]:
    """Yield what changes the bits of a CPUID table called *own*."""
    for (leaf, register), (clear, put) in cpuid_bits(call).items():
        where = f"offsetof(struct kvm_cpuid_entry2, {register})"
        yield f"change_cpuid(&{own}, {leaf:#x}, {where}, {clear:#x}, {put:#x});"


def cpuid_bits(call: CallEvent) -> Mapping[tuple[int, str], tuple[int, int]]:
    """Return which bits of which leaf and register were cleared and set in a CPUID table."""
    if call.changed_bits is None:
        raise NotExportable("it builds a CPUID table of its own")
    return call.changed_bits
