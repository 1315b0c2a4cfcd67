# SPDX-License-Identifier: GPL-2.0-only
"""One step of a run as statements of C."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from fixtures.uapi import kvm
from fixtures.uapi.arm64.kvm import x_reg
from fixtures.uapi.names import exit_reason_name
from tools.export_c.c_calls import Calls
from tools.export_c.c_checks import assumption, check
from tools.export_c.c_clocks import reading
from tools.export_c.c_expressions import word
from tools.export_c.c_guest import program_at
from tools.export_c.c_literals import literal
from tools.export_c.c_memory import MemorySteps, load_type
from tools.export_c.c_threads import Threads
from tools.export_c.cpu_state import mode_function, start_function
from tools.export_c.events import (
    Assumption,
    CallEvent,
    CheckEvent,
    ClockEvent,
    Close,
    CopyMemory,
    Enter,
    Event,
    FinishEvent,
    Load,
    MemoryEvent,
    Registers,
    SetMode,
    Sleep,
    StartProgram,
    Store,
    StructureMember,
)
from tools.export_c.expressions import Constant, StepValue
from tools.export_c.refusal import NotExportable
from tools.export_c.rolling import Loop, leaves
from tools.export_c.thread_events import ReadOn

_REGISTERS = 4  # in one line
Index = Callable[[StepValue], str]


@dataclass
class Steps(MemorySteps):
    """Writes steps; *used* has the id of each step, and the member, whose value something uses."""

    calls: Calls
    used: set[tuple[int, str]]
    leaves_by: int
    threads: Threads
    has_guest: bool = True
    _modes: dict[tuple[tuple[str, StructureMember], ...], str] = field(default_factory=dict)
    _starts: bool = False
    _started: dict[str, str] = field(default_factory=dict)  # by vCPU, the last guest program
    _finishes: bool = False
    _tables: dict[tuple[tuple[int, int], ...], tuple[str, list[str]]] = field(default_factory=dict)

    def loop(self, loop: Loop) -> Iterator[str]:
        """Yield a loop: the arrays of what its steps leave, then its body."""
        for event in loop.body:
            yield from self._arrays(event, loop.count)
        yield f"for (unsigned int i = 0; i < {loop.count}; i++) {{"
        for event, later in zip(loop.body, loop.later, strict=True):
            index = self._indices(event, later)
            yield from (f"\t{line}" for line in self.event(event, index, looped=True))
        yield "}"

    def event(self, event: Event, index: Index | None = None, *, looped: bool = False) -> Iterator[str]:
        """Yield the statements of one step; *index* is that of the values it uses."""
        where = "[i]" if looped else ""

        def name(leaf: StepValue) -> str:
            own = f"[{leaf.index}]" if leaf.index is not None else ""
            return self.names.leaf(leaf, (index or self._place)(leaf) or own)

        match event:
            case CallEvent():
                yield from self.calls.call(event, name, where, self.used)
            case Enter():
                yield from self._enter(event, where)
            case Store():
                yield from self._store(event, name)
            case Load():
                yield from self._load(event, where)
            case ClockEvent():
                yield f"{self._new(event, 'const uint64_t', where)} = {reading(event, self.names.arch)};"
            case _:
                yield from self._judging(event, name)
                yield from self._simple(event)
                yield from self.threads.step(event, name)
        if isinstance(event, ReadOn) and event.entry is not None:
            yield from self._instants(event.entry, "")

    def _judging(self, event: Event, name: Callable[[StepValue], str]) -> Iterator[str]:
        """Yield the statement of a step that only uses values of other ones."""
        match event:
            case Assumption():
                yield assumption(event, self.calls.missing(event), name)
            case CheckEvent():
                yield check(event, name)
            case Sleep():
                yield f"sleep_ns({word(event.duration_ns, name)});"

    def _simple(self, event: Event) -> Iterator[str]:
        """Yield the statements of a step that uses no value of another one."""
        match event:
            case MemoryEvent():
                yield from self._memory(event)
            case FinishEvent(vcpu):
                yield f"finish_exit(&{self.names.of(vcpu)});"
            case Registers(vcpu):
                table = self._table(event)
                size = f"sizeof({table}) / sizeof({table}[0])"
                yield f"set_regs({self.names.of(vcpu)}.fd, {table}, {size});"
            case SetMode(vcpu):
                yield f"{self._mode(event)}(&{self.names.of(vcpu)});"
            case StartProgram(vcpu, address, count, finishes):
                self._starts, self._finishes = True, finishes
                program = program_at(address, self.names.arch)
                self._started[self.names.of(vcpu)] = program or ""
                yield f"start(&{self.names.of(vcpu)}, {address:#x} /* {program} */, {count});"
            case Close(owner):
                yield f"close({self.calls.descriptor(owner)});"
            case CopyMemory(into, source):
                yield f"memcpy({self.names.of(into)}, {self.names.of(source)}, {into.size:#x});"

    def functions(self) -> Iterator[str]:
        """Yield the functions and tables that set registers for the steps written so far."""
        for members, name in self._modes.items():
            yield from mode_function(name, dict(members), self.names)
        if self._starts:
            yield start_function(self.names.arch, finishes=self._finishes)
        for name, lines in self._tables.values():
            yield f"static const struct reg {name}[] = {{"
            for at in range(0, len(lines), _REGISTERS):
                yield "\t" + " ".join(lines[at : at + _REGISTERS])
            yield "};"
            yield ""

    def _program_of(self, vcpu: str) -> str:
        return self._started.get(vcpu, "")

    def _mode(self, event: SetMode) -> str:
        """Return the name of the function that does *event*: after the privilege level it leads to."""
        if event.members not in self._modes:
            level = dict(event.members).get("cs.dpl", Constant(0))
            stem = "user_mode" if level == Constant(3) else "kernel_mode"
            alike = sum(name.startswith(stem) for name in self._modes.values())
            self._modes[event.members] = f"{stem}_{alike}" if alike else stem
        return self._modes[event.members]

    def _table(self, event: Registers) -> str:
        known = self._tables.get(event.values)
        if known is None:
            lines = [f"{{ {self.names.register(reg)}, {literal(value)} }}," for reg, value in event.values]
            started = {value for reg, value in event.values if reg == x_reg(24)}
            program = program_at(min(started), self.names.arch) if started else None
            taken = [name for name, _ in self._tables.values()]
            name = f"start_{program}" if program else "registers"
            known = (name if name not in taken else f"{name}_{len(taken)}"), lines
            self._tables[event.values] = known
        return known[0]

    def _place(self, leaf: StepValue) -> str:
        """Return the index of a value that a loop left, for a step outside of loops."""
        known = self.names.program.places.get(id(leaf.event))
        return f"[{known[1]}]" if known else ""

    def _indices(self, event: Event, later: Event) -> Index:
        known: dict[int, str] = {}
        for one, other in zip(leaves(event), leaves(later), strict=True):
            program = self.names.program
            first, second = program.coordinate(one), program.coordinate(other)
            in_loop = id(one.event) in program.places or one.index is not None
            step, start = second[1] - first[1], first[1]
            if step:
                at = "i" if step == 1 else f"{step} * i"
                known[id(one)] = f"[{at} + {start}]" if start else f"[{at}]"
            elif in_loop:
                known[id(one)] = f"[{start}]"
        return lambda leaf: known.get(id(leaf), "")

    def _arrays(self, event: Event, count: int) -> Iterator[str]:
        match event:
            case ClockEvent():
                yield f"uint64_t {self.names.of(event)}[{count}];"
            case Enter():
                number = self.names.of(event).rpartition("_")[2]
                for member in ("before", "after"):
                    if (id(event), member) in self.used:
                        yield f"uint64_t {member}_{number}[{count}];"
            case Load() if event.raw or event.count:
                raise NotExportable("it reads arrays in a loop")
            case Load():
                yield f"{load_type(event)} {self.names.of(event)}[{count}];"
            case CallEvent():
                yield from self.calls.arrays(event, count, self.used)

    def _memory(self, event: MemoryEvent) -> Iterator[str]:
        name = self.names.of(event)
        yield f"uint8_t *{name} = map(-1, {event.size:#x});"
        if event.contents and self.has_guest:
            yield f"load_guest({name});"

    def _enter(self, event: Enter, where: str) -> Iterator[str]:
        vcpu = f"&{self.names.of(event.vcpu)}"
        if event.refusal is not None:
            failed = f"call({vcpu[1:]}.fd, KVM_RUN, 0)"
            yield f'must_refuse({failed}, {self.names.errno(event.refusal)}, "KVM_RUN");'
        elif event.promised:
            yield f"run_guest_to_exception({vcpu});"
        elif event.tolerated and event.reason == self.leaves_by:
            yield f"run_guest_alike({vcpu}, {int(event.faulted)});"
        elif event.faulted:
            raise NotExportable("its guest takes an exception that no check expects")
        elif event.reason == self.leaves_by:
            yield f"run_guest({vcpu});"
        elif event.reason == -1:
            yield f"run_nothing({vcpu});"
        elif event.reason < 0:
            raise NotExportable("KVM_RUN fails in it")
        elif event.reason == kvm.KVM_EXIT_HYPERV:
            raise NotExportable("its guest's writes of Hyper-V's interrupt controller leave to user space")
        else:
            yield f"run_to({vcpu}, {exit_reason_name(event.reason)});"
        yield from self._instants(event, where)

    def _instants(self, event: Enter, where: str) -> Iterator[str]:
        """Yield what keeps the counter readings around *event* that later steps use."""
        vcpu = self.names.of(event.vcpu)
        number = self.names.of(event).rpartition("_")[2]
        used = [member for member in ("before", "after") if (id(event), member) in self.used]
        taken = [f"{member}_{number}{where} = {vcpu}.{member}" for member in used]
        if where:
            yield from (f"{one};" for one in taken)
        elif taken:
            yield f"const uint64_t {', '.join(taken)};"
