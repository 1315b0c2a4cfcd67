# SPDX-License-Identifier: GPL-2.0-only
"""User space's reads and writes of guest memory and kvm_run as C."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fixtures.guests import layout
from fixtures.uapi import kvm
from tools.export_c.c_expressions import word
from tools.export_c.c_literals import literal
from tools.export_c.c_names import Names
from tools.export_c.events import CallEvent, Event, Load, MemoryEvent, Store
from tools.export_c.expressions import Constant, Expression, StepValue
from tools.export_c.refusal import NotExportable

_MAILBOX = layout.GuestMailbox
_WORD = 8
_TAKE_MSR = frozenset({"rdmsr", "wrmsr"})
"""Guest programs whose first operand is an MSR."""


@dataclass
class MemorySteps:
    """Writes steps that touch what a VM's guests see, or what KVM_RUN leaves."""

    names: Names
    memories: dict[int, CallEvent]  # by id of a memory: its VM
    vcpus: list[CallEvent]

    def _new(self, event: Event, kind: str, where: str) -> str:
        name = self.names.of(event)
        return f"{name}{where}" if where else f"{kind} {name}"

    def _store(self, event: Store, name: Callable[[StepValue], str]) -> Iterator[str]:
        value = event.value
        if isinstance(event.into, CallEvent):
            yield f"{self.names.of(event.into)}.run->{_run_member(event)} = {_text(value, name)};"
            return
        if isinstance(value, bytes):
            for at in range(0, len(value), _WORD):
                part = value[at : at + _WORD]
                yield self._put(event, at, len(part), literal(int.from_bytes(part, "little")))
            return
        place = self._mailbox(event.into, event.offset, event.size)
        if place is not None:
            yield f"{place} = {self._operand_name(place, value) or word(value, name)};"
        else:
            yield self._put(event, 0, event.size, word(value, name))

    def _operand_name(self, place: str, value: Expression) -> str | None:
        """Return the name of the MSR that a guest gets as its operand at *place*; None for another number."""
        vcpu, _, operand = place.partition(".mailbox->")
        takes_msr = operand == "operand[0]" and self._program_of(vcpu) in _TAKE_MSR
        return self.names.msr(value.value) if takes_msr and isinstance(value, Constant) else None

    def _program_of(self, vcpu: str) -> str:  # noqa: ARG002 - of those that start none
        """Return the guest program that the vCPU of that name has started last, "" for none."""
        return ""

    def _put(self, event: Store, at: int, size: int, value: str) -> str:
        return f"store({self.names.of(event.into)} + {event.offset + at:#x}, {value}, {size});"

    def _load(self, event: Load, where: str) -> Iterator[str]:
        kind, name = load_type(event), self._new(event, load_type(event), where)
        if isinstance(event.source, CallEvent):
            yield f"{name} = {self.names.of(event.source)}.run->{_run_member(event)};"
            return
        memory = f"{self.names.of(event.source)} + {event.offset:#x}"
        place = self._mailbox(event.source, event.offset, event.size)
        if event.raw or event.count:
            yield f"static {kind} {self.names.of(event)}[{event.count}];"
            yield f"memcpy({self.names.of(event)}, {memory}, sizeof({self.names.of(event)}));"
        elif event.layout is not None:
            if not where:
                yield f"{kind} {self.names.of(event)};"
            target = f"{self.names.of(event)}{where}"
            yield f"memcpy(&{target}, {memory}, sizeof({target}));"
        elif place is not None:
            yield f"{_constant(name, where)} = {place};"
        else:
            yield f"{_constant(name, where)} = load({memory}, {event.size});"

    def _mailbox(self, memory: MemoryEvent, offset: int, size: int) -> str | None:
        for vcpu in self.vcpus:
            if self.memories.get(id(memory)) is not vcpu.owner or size != _WORD:
                continue
            assert isinstance(vcpu.argument, int)
            at = offset - layout.mailbox(vcpu.argument)
            for member in (_MAILBOX.result, _MAILBOX.operand):
                if 0 <= at - member.offset < member.size:
                    stem = "result" if member is _MAILBOX.result else "operand"
                    return f"{self.names.of(vcpu)}.mailbox->{stem}[{(at - member.offset) // _WORD}]"
        return None


def _constant(name: str, where: str) -> str:
    return name if where else f"const {name}"


def load_type(event: Load) -> str:
    """Return the C type of what *event* reads."""
    if event.layout is not None:
        return f"struct {event.layout.__name__}"
    return f"{'' if event.signed else 'u'}int{8 * event.size}_t"


def _run_member(event: Load | Store) -> str:
    for name, *_ in kvm.kvm_run._fields_:
        member = getattr(kvm.kvm_run, name)
        if (member.offset, member.size) == (event.offset, event.size):
            return str(name)
    if event.offset == kvm.kvm_run.s.offset:
        return "s.regs.device_irq_level"
    raise NotExportable("it uses a member of kvm_run that has no name here")


def _text(value: Expression | bytes, name: Callable[[StepValue], str]) -> str:
    if isinstance(value, bytes):
        raise NotExportable("it writes bytes into kvm_run")
    return word(value, name)
