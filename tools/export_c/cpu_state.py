# SPDX-License-Identifier: GPL-2.0-only
"""How a vCPU comes to start a guest program: calls that say it at length become one step each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from fixtures.architectures import ARM64, X86_64
from fixtures.guests import layout
from fixtures.guests.x86 import state
from fixtures.uapi.x86 import kvm as kvm_x86
from tools.export_c import cpu_state_arm64
from tools.export_c.c_members import changes
from tools.export_c.c_names import Names
from tools.export_c.events import CallEvent, Event, Registers, SetMode, StartProgram, StructureMember
from tools.export_c.expressions import Constant
from tools.export_c.places import members
from tools.export_c.refusal import NotExportable
from tools.export_c.rolling import leaves

_RIP, _COUNT = "rip", "rsi"


def folded(events: Sequence[Event], arch: str) -> list[Event]:
    """Return *events* on *arch* with the calls that set segments and general registers as one step each."""
    used = {id(leaf.event) for event in events for leaf in leaves(event)}
    bases = [id(event.base) for event in events if isinstance(event, CallEvent) and event.base is not None]
    kept: list[Event] = []
    for event in events:
        last = kept[-1] if kept else None
        if _sets_mode(last, event) and id(last) not in used and bases.count(id(last)) == 1:
            kept[-1] = _mode(event)
        else:
            kept.append(_start(event) or event)
    return BY_ARCHITECTURE[arch].with_finished_exits(kept)


def mode_function(name: str, held: Mapping[str, StructureMember], names: Names) -> Iterator[str]:
    """Yield the lines of the C function *name*, which changes the members *held* of a vCPU's sregs."""
    yield f"static void {name}(const struct vcpu *vcpu)"
    yield "{"
    yield "\tstruct kvm_sregs sregs = { 0 };"
    yield ""
    yield "\tMUST(vcpu->fd, KVM_GET_SREGS, &sregs);"
    shown = {member: value for member, value in held.items() if member != "tr.base"}
    changed = [f"sregs.{line}" for line in changes(shown, "sregs", _no_name, names)]
    registers = [line for line in changed if "(struct" not in line]
    if registers:
        yield f"\t{', '.join(registers)};"
    yield from (f"\t{line};" for line in changed if "(struct" in line)
    if "tr.base" in held:
        yield f"\tsregs.tr.base = {layout.tss(0):#x} + vcpu->id * {layout.tss(1) - layout.tss(0):#x};"
    yield "\tMUST(vcpu->fd, KVM_SET_SREGS, &sregs);"
    yield "}"
    yield ""


def start_function(arch: str, *, finishes: bool) -> str:
    """Return the C function that makes a vCPU of *arch* start a program, and *finishes* its exit before."""
    return BY_ARCHITECTURE[arch].function(finishes=finishes)


def _start_function_x86(*, finishes: bool) -> str:
    assert not finishes, "no exit is a part of a start"
    first, second = (_general(vcpu=vcpu) for vcpu in (0, 1))
    given = [f".{_RIP} = program", f".{_COUNT} = count"]
    for member, value in first.items():
        step = second[member] - value
        if member not in {_RIP, _COUNT}:
            given.append(f".{member} = {value:#x}" + (f" + vcpu->id * {step:#x}" if step else ""))
    lines = ["static void start(const struct vcpu *vcpu, uint64_t program, uint64_t count)", "{"]
    lines += [
        "\tMUST(vcpu->fd, KVM_SET_REGS, &((struct kvm_regs){",
        f"\t\t{', '.join(given[:3])},",
        f"\t\t{', '.join(given[3:])},",
        "\t}));",
    ]
    return "\n".join([*lines, "}", ""])


class StartForm(NamedTuple):
    """How vCPUs of one architecture start guest programs."""

    with_finished_exits: Callable[[list[Event]], list[Event]]
    function: Callable[..., str]


BY_ARCHITECTURE = {
    X86_64.name: StartForm(lambda events: events, _start_function_x86),  # an exit by OUT is finished at once
    ARM64.name: StartForm(cpu_state_arm64.with_finished_exits, cpu_state_arm64.start_function),
}


def _sets_mode(get: Event | None, put: Event) -> bool:
    if not isinstance(get, CallEvent) or not isinstance(put, CallEvent):
        return False
    if (get.request, put.request) != (kvm_x86.KVM_GET_SREGS, kvm_x86.KVM_SET_SREGS):
        return False
    plain = not any(one.failed() or one.refusal for one in (get, put))
    return plain and put.base is get and put.owner is get.owner and _is_harness_mode(put)


def _is_harness_mode(put: CallEvent) -> bool:
    base = put.members.get("tr.base")
    tss = Constant(layout.tss(_vcpu_id(put)))
    return base in {None, tss} and all(isinstance(value, Constant) for value in put.members.values())


def _mode(put: Event) -> SetMode:
    assert isinstance(put, CallEvent)
    assert isinstance(put.owner, CallEvent)
    kept = tuple((name, value) for name, value in put.members.items() if name != "tr.base")
    has_tss = "tr.base" in put.members
    return SetMode(put.owner, (*kept, ("tr.base", Constant(0))) if has_tss else kept, claim=put.claim)


def _start(event: Event) -> StartProgram | None:
    if isinstance(event, Registers):
        return cpu_state_arm64.start_step(event)
    if not isinstance(event, CallEvent) or event.request != kvm_x86.KVM_SET_REGS or event.failed():
        return None
    if event.refusal is not None or not isinstance(event.owner, CallEvent) or event.base is not None:
        return None
    held = {name: value.value for name, value in event.members.items() if isinstance(value, Constant)}
    if len(held) < len(event.members):
        return None
    wanted = _general(vcpu=_vcpu_id(event)) | {name: held.get(name, 0) for name in (_RIP, _COUNT)}
    if held != wanted:
        return None
    return StartProgram(event.owner, held[_RIP], held[_COUNT], claim=event.claim)


def _general(vcpu: int) -> dict[str, int]:
    regs = state.start(next(iter(layout.BY_ARCHITECTURE[X86_64.name])), vcpu)
    found = {member.name: getattr(regs, member.name) for member in members(kvm_x86.kvm_regs)}
    return {name: value for name, value in found.items() if value}


def _vcpu_id(call: CallEvent) -> int:
    made = call.owner
    return made.argument if isinstance(made, CallEvent) and isinstance(made.argument, int) else 0


def _no_name(_: object) -> str:
    raise NotExportable("it computes segments")
