# SPDX-License-Identifier: GPL-2.0-only
"""A system call of a run as statements of C."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from fixtures.uapi import kvm
from fixtures.uapi.arm64 import kvm as kvm_arm64
from fixtures.uapi.ioctl import Request
from fixtures.uapi.x86 import kvm as kvm_x86
from tools.export_c import structures
from tools.export_c.c_expressions import literal, word
from tools.export_c.c_guest import program_at
from tools.export_c.c_names import Names
from tools.export_c.events import Assumption, CallEvent, Event, PointerArgument, StructureMember
from tools.export_c.expressions import Constant, StepValue
from tools.export_c.places import VALUE
from tools.export_c.refusal import NotExportable

Name = Callable[[StepValue], str]
Used = set[tuple[int, str]]

_VALUES = frozenset({kvm.kvm_device_attr, kvm.kvm_one_reg})
_ATTRIBUTES = {
    (kvm_x86.KVM_VCPU_TSC_CTRL, kvm_x86.KVM_VCPU_TSC_OFFSET): ("KVM_VCPU_TSC_CTRL", "KVM_VCPU_TSC_OFFSET"),
}


class CallText(NamedTuple):
    """A call as C: the runtime's function, and its arguments."""

    function: str
    arguments: str

    def __str__(self) -> str:
        return f"{self.function}({self.arguments})"


_INLINE = 110
"""Characters of a structure that stands in its call."""

_MUST = {"one_reg": "must_reg", "get_msr": "must_msr", "set_msr": "must_msr"}
"""By the function that makes a call: what sees to it that it succeeds."""


class _Room(NamedTuple):
    """The runtime's structure that has room for a table, and for how many elements."""

    name: str
    elements: int


_ROOMS: Mapping[type[ctypes.Structure], _Room] = {
    kvm_x86.kvm_cpuid2: _Room("cpuid_room", 256),
    kvm.kvm_reg_list: _Room("list_room", 4096),
}


@dataclass
class Calls:
    """Writes calls of one program."""

    names: Names
    memories: dict[int, str] = field(default_factory=dict)
    """Names of guest memories, by id of the VM."""
    in_place: frozenset[int] = frozenset()
    """Ids of calls that change the structure of their base, which nothing needs as it was."""

    def descriptor(self, owner: Event | None) -> str:
        """Return the descriptor of a VM, a vCPU, a device, or KVM itself."""
        if owner is None:
            return "kvm"
        name = self.names.of(owner)
        has_fd = isinstance(owner, CallEvent) and owner.request in {
            kvm.KVM_CREATE_VCPU,
            kvm.KVM_CREATE_DEVICE,
        }
        return f"{name}.fd" if has_fd else name

    def arrays(self, call: CallEvent, count: int, used: Used) -> Iterator[str]:
        """Yield the arrays that a call in a loop fills."""
        if call.request in {kvm.KVM_CREATE_VM, kvm.KVM_CREATE_VCPU} or call.elements > 1 or call.base:
            raise NotExportable("it makes VMs, vCPUs or tables in a loop")
        name = self.names.of(call)
        if self._uses_value(call, used):
            yield f"uint64_t {name}[{count}];"
        elif (
            call.layout is not None and call.layout not in _VALUES and not call.is_msr() and _any(call, used)
        ):
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
        elif call.layout in _VALUES:
            yield from self._value(call, name, where, used)
        elif call.layout is not None:
            yield from self._structure(call, name, where, used)
        else:
            yield from self._plain(call, name, where, used)

    def memory_of(self, vm: Event | None) -> str:
        """Return the guest memory of *vm*, which `memories` knows."""
        return self.memories.get(id(vm), "NULL")

    def missing(self, event: Assumption) -> str:
        """Return the reason for a skip, where what *event* looks at is a capability."""
        for leaf in event.condition.leaves():
            call = leaf.event
            if isinstance(call, CallEvent) and call.request == kvm.KVM_CHECK_EXTENSION:
                assert isinstance(call.argument, int)
                return f"{self.names.capability(call.argument)} is absent"
            if isinstance(call, CallEvent) and call.request == kvm.KVM_GET_API_VERSION:
                return "KVM has another API version"
        return ""

    def _plain(self, call: CallEvent, name: Name, where: str, used: Used) -> Iterator[str]:
        argument = (
            _pointer(call.argument, name, self.names, as_argument=True)
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

    def _msr(self, call: CallEvent, name: Name, where: str, used: Used) -> Iterator[str]:
        index = call.members.get("entries[0].index", Constant(0))
        shown = self.names.msr(index.value) if isinstance(index, Constant) else _number(index, name)
        fd, own = self.descriptor(call.owner), self.names.of(call)
        if call.request == kvm_x86.KVM_SET_MSRS:
            data = _number(call.members.get("entries[0].data", Constant(0)), name)
            made = CallText("set_msr", f"{fd}, {shown}, {data}")
            yield self._result(call, made, where, used, f"({shown})")
            return
        plain = not call.failed() and call.refusal is None and not call.tolerated
        if plain and (id(call), "result") not in used:
            text = f'read_msr({fd}, {shown}, "KVM_GET_MSRS({shown})")'
            if where:
                yield f"{own}{where} = {text};"
            else:
                yield f"const uint64_t {own} = {text};" if _any(call, used) else f"{text};"
            return
        if not where:
            yield f"uint64_t {own} = 0;"
        made = CallText("get_msr", f"{fd}, {shown}, &{own}{where}")
        yield self._result(call, made, where, used, f"({shown})")

    def _value(self, call: CallEvent, name: Name, where: str, used: Used) -> Iterator[str]:
        pointed = call.members["addr"]
        assert isinstance(pointed, PointerArgument)
        fd, request = self.descriptor(call.owner), self.names.request(call.request)
        value, text = self._pointed(call, pointed, name, where, used)
        if text:
            yield text
        if call.layout is kvm.kvm_one_reg:
            reg = call.members.get("id", Constant(0))
            shown = self.names.register(reg.value) if isinstance(reg, Constant) else _number(reg, name)
            made = CallText("one_reg", f"{fd}, {request}, {shown}, {value}")
            yield self._result(call, made, where, used, f"({shown})")
            return
        group, number = (_constant(call, member) for member in ("group", "attr"))
        if _constant(call, "flags"):
            raise NotExportable("it sets flags of a device attribute")
        first, second = _ATTRIBUTES.get((group, number), (literal(group), literal(number)))
        if first.isidentifier():
            self.names.constant(first, group)
            self.names.constant(second, number)
        made = CallText("attribute", f"{fd}, {request}, {first}, {second}, {value}")
        yield self._result(call, made, where, used, f"({second})")

    def _pointed(
        self, call: CallEvent, pointed: PointerArgument, name: Name, where: str, used: Used
    ) -> tuple[str, str]:
        """Return the address of the value, and the declaration of the variable at that address."""
        if pointed.value is None:
            return _pointer(pointed, name, self.names, cast="(void *)"), ""
        kind = f"uint{8 * pointed.size}_t"
        reads = call.request in {kvm.KVM_GET_DEVICE_ATTR, kvm.KVM_GET_ONE_REG}
        own = self.names.of(call)
        if not reads:
            return f"&({kind}){{ {word(pointed.value, name)} }}", ""
        if where:
            if (id(call), VALUE) not in used:
                return f"&({kind}){{ 0 }}", ""
            return f"&{own}{where}", f"{own}{where} = {word(pointed.value, name)};"
        return f"&{own}", f"{kind} {own} = {word(pointed.value, name)};"

    def _structure(self, call: CallEvent, name: Name, where: str, used: Used) -> Iterator[str]:
        assert call.layout is not None
        own, kind = self.names.of(call), f"struct {call.layout.__name__}"
        if call.elements:
            yield from self._table(call, name, where, used)
            return
        inside = where if _any(call, used) else ""
        members = self._members(call, name)
        given = f"&(({kind}){{ {members} }})"
        if call.base is None and not _any(call, used) and not _is_kept(call) and len(given) <= _INLINE:
            yield self._result(call, self._made(call, given), where, used)
            return
        if call.base is not None:
            if id(call) in self.in_place:
                own = self.names.of(call.base)
            else:
                yield f"{kind} {own} = {self.names.of(call.base)};"
            yield from (f"{own}.{line};" for line in changes(call.members, own, name, self.names))
        elif where and inside:
            yield f"{own}{inside} = ({kind}){{ {members} }};"
        else:
            yield f"{kind} {own} = {{ {members} }};"
        yield self._result(call, self._made(call, f"&{own}{inside}"), where, used)

    def _members(self, call: CallEvent, name: Name) -> str:
        shown = []
        for member, value in call.members.items():
            text = _member(value, name, self.names)
            note = ""
            if call.layout is kvm_x86.kvm_regs and member == "rip" and isinstance(value, Constant):
                program = program_at(value.value, self.names.arch)
                note = f" /* {program} */" if program else ""
            shown.append(f".{member} = {text}{note}")
        return ", ".join(shown) or "0"

    def _table(self, call: CallEvent, name: Name, where: str, used: Used) -> Iterator[str]:
        own, layout = self.names.of(call), call.layout
        assert layout is not None
        if call.request == kvm_x86.KVM_SET_CPUID2 and call.base is not None:
            table = self.names.of(call.base)
            if call.changed_bits or call.changed_bits is None:
                yield f"static struct cpuid_room {own};"
                yield f"{own} = {table};"
                yield from _cpuid_changes(call, own)
                table = own
        elif layout in _ROOMS and call.elements <= _ROOMS[layout].elements:
            if any(member.startswith(("entries", "reg[")) for member in call.members):
                raise NotExportable("it fills a table of its own")
            members = ", ".join(
                f".{member} = {_member(value, name, self.names)}" for member, value in call.members.items()
            )
            yield f"static struct {_ROOMS[layout].name} {own} = {{ {members} }};"
            table = own
        else:
            raise NotExportable(f"it passes several elements in a struct {layout.__name__}")
        yield self._result(call, self._made(call, f"&{table}"), where, used)

    def _made(self, call: CallEvent, argument: str) -> CallText:
        request = self.names.request(call.request)
        return CallText("call", f"{self.descriptor(call.owner)}, {request}, {argument}")

    def _result(self, call: CallEvent, made: CallText, where: str, used: Used, of: str = "") -> str:
        text = self._outcome(call, made, of)
        if (id(call), "result") in used:
            kind = "" if where else "const long "
            return f"{kind}{self.names.result_name(call)}{where} = {text};"
        return f"{text};"

    def _outcome(self, call: CallEvent, made: CallText, of: str = "") -> str:
        what = json.dumps(f"{self.names.request(call.request)}{of}")
        if call.refusal is not None:
            return f"must_refuse({made}, {self.names.errno(call.refusal.errno)}, {what})"
        if call.failed():
            return f"would_refuse({made}, {self.names.errno(-call.result)}, {what})"
        if call.tolerated:
            return f"would_succeed({made}, {what})"
        if made.function == "call":
            return f"MUST({made.arguments})"
        return f"{_MUST.get(made.function, 'must')}({made}, {what})"

    def _uses_value(self, call: CallEvent, used: Used) -> bool:
        if call.request == kvm_x86.KVM_GET_MSRS:
            return True
        return call.layout in _VALUES and (id(call), VALUE) in used


def _is_kept(call: CallEvent) -> bool:
    """Return whether KVM fills the structure of *call*, which later steps may pass on."""
    return not isinstance(call.request, Request) or structures.fills(call.request)


def _any(call: CallEvent, used: Used) -> bool:
    return any(event == id(call) and member != "result" for event, member in used)


def _argument(call: CallEvent) -> str:
    return literal(call.argument) if isinstance(call.argument, int) else "0"


def _constant(call: CallEvent, member: str) -> int:
    value = call.members.get(member, Constant(0))
    if not isinstance(value, Constant):
        raise NotExportable(f"it computes the {member} of a device attribute")
    return value.value


def _number(value: StructureMember, name: Name) -> str:
    if isinstance(value, bytes | PointerArgument):
        raise NotExportable("it passes bytes where a number is wanted")
    return word(value, name)


def _member(value: StructureMember, name: Name, names: Names) -> str:
    return _pointer(value, name, names) if isinstance(value, PointerArgument) else _number(value, name)


def changes(members: Mapping[str, StructureMember], own: str, name: Name, names: Names) -> Iterator[str]:
    """Yield what *members* change in a copy called *own*; segments whole, equal ones together."""
    segments: dict[str, list[str]] = {}
    for member, value in members.items():
        head, dot, tail = member.partition(".")
        if not dot:
            shown = hex(value.value) if isinstance(value, Constant) else _member(value, name, names)
            yield f"{member} = {shown}"
        elif isinstance(value, Constant):
            segments.setdefault(head, []).append(f".{tail} = {literal(value.value)}")
    alike: dict[tuple[str, ...], list[str]] = {}
    for head, found in segments.items():
        alike.setdefault(tuple(found), []).append(head)
    for parts, heads in alike.items():
        kind = "kvm_dtable" if heads[0] in {"gdt", "idt"} else "kvm_segment"
        yield f" = {own}.".join(heads) + f" = (struct {kind}){{ {', '.join(parts)} }}"


def _pointer(
    value: PointerArgument, name: Name, names: Names, cast: str = "", *, as_argument: bool = False
) -> str:
    if value.memory is not None:
        at = f"{names.of(value.memory)} + {value.offset:#x}" if value.offset else names.of(value.memory)
        return at if cast or as_argument else f"(uintptr_t)({at})" if value.offset else f"(uintptr_t){at}"
    if value.value is not None:
        return word(value.value, name)
    return f"{cast}{hex(value.offset)}{'ULL' if value.offset >= 1 << 63 else ''}"


def _cpuid_changes(call: CallEvent, own: str) -> Iterator[str]:
    for (leaf, register), (clear, put) in cpuid_bits(call).items():
        where = f"offsetof(struct kvm_cpuid_entry2, {register})"
        yield f"change_cpuid(&{own}, {leaf:#x}, {where}, {clear:#x}, {put:#x});"


def cpuid_bits(call: CallEvent) -> Mapping[tuple[int, str], tuple[int, int]]:
    """Return which bits of which leaf and register were cleared and set in a CPUID table."""
    if call.changed_bits is None:
        raise NotExportable("it builds a CPUID table of its own")
    return call.changed_bits


def layouts_used(layouts: set[type[ctypes.Structure]]) -> list[type[ctypes.Structure]]:
    """Return the structures that no kernel header gives to user space."""
    known = {name for header in (kvm, kvm_x86, kvm_arm64) for name in vars(header)}
    return sorted((one for one in layouts if one.__name__ not in known), key=lambda one: one.__name__)
