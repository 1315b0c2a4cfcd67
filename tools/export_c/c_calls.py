# SPDX-License-Identifier: GPL-2.0-only
"""A system call of a run as statements of C."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from fixtures.uapi import kvm
from fixtures.uapi.ioctl import Request
from fixtures.uapi.x86 import kvm as kvm_x86
from tools.export_c import structures
from tools.export_c.c_expressions import word
from tools.export_c.c_flags import value_name
from tools.export_c.c_guest import program_at
from tools.export_c.c_literals import literal
from tools.export_c.c_members import changes, cpuid_changes, member_text, pointer_text
from tools.export_c.c_outcomes import CallText, Name, Used, uses
from tools.export_c.c_values import VALUES, ValueCalls, is_plain_read
from tools.export_c.events import CallEvent, Event, PointerArgument, StructureMember
from tools.export_c.expressions import Constant
from tools.export_c.places import VALUE
from tools.export_c.refusal import NotExportable

_INLINE = 110
"""Characters of a structure that stands in its call."""


class _Room(NamedTuple):
    """The runtime's structure that has room for a table, and for how many elements."""

    name: str
    elements: int


_ROOMS: Mapping[type[ctypes.Structure], _Room] = {
    kvm_x86.kvm_cpuid2: _Room("cpuid_room", 256),
    kvm.kvm_reg_list: _Room("list_room", 4096),
}


@dataclass
class Calls(ValueCalls):
    """Writes calls of one program."""

    memories: dict[int, str] = field(default_factory=dict)
    """Names of guest memories, by id of the VM."""
    in_place: frozenset[int] = frozenset()
    """Ids of calls that change the structure of their base, which nothing needs as it was."""

    def arrays(self, call: CallEvent, count: int, used: Used) -> Iterator[str]:
        """Yield the arrays that a call in a loop fills."""
        if call.request in {kvm.KVM_CREATE_VM, kvm.KVM_CREATE_VCPU} or call.elements > 1 or call.base:
            raise NotExportable("it makes VMs, vCPUs or tables in a loop")
        name = self.names.of(call)
        if self._uses_value(call, used):
            yield f"uint64_t {name}[{count}];"
        elif call.layout is not None and call.layout not in VALUES and not call.is_msr() and uses(call, used):
            yield f"struct {call.layout.__name__} {name}[{count}];"
        if (id(call), "result") in used:
            yield f"long {self.names.result_name(call)}[{count}];"

    def call(self, call: CallEvent, name: Name, where: str, used: Used) -> Iterator[str]:
        """Yield the statements of *call*; *where* is "[i]" in a loop."""
        if call.request == kvm.KVM_CREATE_VM and not call.failed():
            made = CallText("call", f"kvm, KVM_CREATE_VM, {_argument(call)}")
            yield f"int {self.names.of(call)} = {self._outcome(call, made)};"
        elif call.request == kvm.KVM_CREATE_VCPU and not call.failed() and call.refusal is None:
            memory = self.memory_of(call.owner)
            vm = self.names.of(call.owner) if call.owner else "kvm"
            yield f"struct vcpu {self.names.of(call)} = create_vcpu(kvm, {vm}, {_argument(call)}, {memory});"
        elif call.is_msr() and call.elements == 1:
            yield from self._msr(call, name, where, used)
        elif call.layout in VALUES:
            yield from self._value(call, name, where, used)
        elif call.layout is not None:
            yield from self._structure(call, name, where, used)
        else:
            yield from self._plain(call, name, where, used)

    def memory_of(self, vm: Event | None) -> str:
        """Return the guest memory of *vm*, which `memories` knows."""
        return self.memories.get(id(vm), "NULL")

    def _plain(self, call: CallEvent, name: Name, where: str, used: Used) -> Iterator[str]:
        argument = (
            pointer_text(call.argument, name, self.names, as_argument=True)
            if isinstance(call.argument, PointerArgument)
            else None
        )
        if argument is None:
            number = call.argument or 0
            assert isinstance(number, int)
            is_capability = call.request == kvm.KVM_CHECK_EXTENSION
            argument = self.names.capability(number) if is_capability else literal(number)
        if (
            isinstance(call.argument, PointerArgument)
            and call.argument.value is not None
            and call.argument.size
        ):
            variable = f"{self.names.of(call)}_argument"
            yield f"uint{8 * call.argument.size}_t {variable} = {word(call.argument.value, name)};"
            argument = f"&{variable}"
        made = self._made(call, argument)
        yield self._result(call, made, where, used)

    def _structure(self, call: CallEvent, name: Name, where: str, used: Used) -> Iterator[str]:
        assert call.layout is not None
        own, kind = self.names.of(call), f"struct {call.layout.__name__}"
        if call.elements:
            yield from self._table(call, name, where, used)
            return
        inside = where if uses(call, used) else ""
        members = self._members(call, name)
        given = f"&(({kind}){{ {members} }})"
        if call.base is None and not uses(call, used) and not _is_kept(call) and len(given) <= _INLINE:
            yield self._result(call, self._made(call, given), where, used)
            return
        if call.base is not None:
            if id(call) in self.in_place:
                own = self.names.of(call.base)
            else:
                yield f"{kind} {own} = {self.names.of(call.base)};"
            found = changes(call.members, own, name, self.names, call)
            yield from (f"{own}.{line};" for line in found)
        elif where and inside:
            yield f"{own}{inside} = ({kind}){{ {members} }};"
        else:
            yield f"{kind} {own} = {{ {members} }};"
        yield self._result(call, self._made(call, f"&{own}{inside}"), where, used)

    def _members(self, call: CallEvent, name: Name) -> str:
        shown = []
        for member, value in call.members.items():
            text = self._named(call, member, value) or member_text(value, name, self.names)
            note = ""
            if call.layout is kvm_x86.kvm_regs and member == "rip" and isinstance(value, Constant):
                program, text = program_at(value.value, self.names.arch), hex(value.value)
                note = f" /* {program} */" if program else ""
            shown.append(f".{member} = {text}{note}")
        return ", ".join(shown) or "0"

    def _named(self, call: CallEvent, member: str, value: StructureMember) -> str | None:
        if not isinstance(value, Constant):
            return None
        if call.layout is kvm.kvm_enable_cap and member == "cap":
            return self.names.capability(value.value)
        return value_name(call.layout, member, value.value)

    def _table(self, call: CallEvent, name: Name, where: str, used: Used) -> Iterator[str]:
        own, layout = self.names.of(call), call.layout
        assert layout is not None
        if call.request == kvm_x86.KVM_SET_CPUID2 and call.base is not None:
            table = self.names.of(call.base)
            if call.hyperv is not None:
                yield f"static struct cpuid_room {own};"
                yield f"{own} = {table};"
                yield f"use_hyperv_leaves(&{own}, &{self.names.of(call.hyperv)});"
                table = own
            elif call.changed_bits or call.changed_bits is None:
                yield f"static struct cpuid_room {own};"
                yield f"{own} = {table};"
                yield from cpuid_changes(call, own)
                table = own
        elif layout in _ROOMS and call.elements <= _ROOMS[layout].elements:
            if any(member.startswith(("entries", "reg[")) for member in call.members):
                raise NotExportable("it fills a table of its own")
            members = ", ".join(
                f".{member} = {member_text(value, name, self.names)}"
                for member, value in call.members.items()
            )
            yield f"static struct {_ROOMS[layout].name} {own} = {{ {members} }};"
            table = own
        else:
            raise NotExportable(f"it passes several elements in a struct {layout.__name__}")
        yield self._result(call, self._made(call, f"&{table}"), where, used)

    def _uses_value(self, call: CallEvent, used: Used) -> bool:
        if call.request == kvm_x86.KVM_GET_MSRS:
            return uses(call, used) or not is_plain_read(call, used)
        return call.layout in VALUES and (id(call), VALUE) in used


def _is_kept(call: CallEvent) -> bool:
    """Return whether KVM fills the structure of *call*, which later steps may pass on."""
    return not isinstance(call.request, Request) or structures.fills(call.request)


def _argument(call: CallEvent) -> str:
    return literal(call.argument) if isinstance(call.argument, int) else "0"
