# SPDX-License-Identifier: GPL-2.0-only
"""A recorded claim as a program of tools/testing/selftests/kvm: libkvm's VMs, ucall and TEST_ASSERT."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from fixtures.architectures import ARM64, X86_64
from fixtures.uapi import kvm
from fixtures.uapi.arm64 import kvm as kvm_arm64
from fixtures.uapi.x86 import kvm as kvm_x86
from tools.export_c.c_calls import Calls
from tools.export_c.c_guest import entries, program_at
from tools.export_c.c_steps import Index, Steps
from tools.export_c.events import (
    CallEvent,
    ClockEvent,
    CopyMemory,
    Enter,
    Event,
    FinishEvent,
    MemoryEvent,
    Registers,
    SetMode,
    StartProgram,
    Store,
)
from tools.export_c.expressions import StepValue
from tools.export_c.refusal import NotExportable
from tools.export_c.rolling import Loop
from tools.export_c.thread_events import AwaitReadings, EnterTogether, GiveWay, Pin, ReadOn, Spin

Name = Callable[[StepValue], str]

BY_ARCHITECTURE: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    X86_64.name: {
        "tsc": ("GUEST_SYNC1(rdtsc());",),
        "rdmsr": ("GUEST_SYNC1(rdmsr(operand[0]));",),
        "wrmsr": ("before = rdtsc();", "wrmsr(operand[0], operand[1]);", "GUEST_SYNC2(before, rdtsc());"),
    },
    ARM64.name: {
        "cntvct": ("isb();", "GUEST_SYNC1(read_sysreg(cntvct_el0));"),
        "cntpct": ("isb();", "GUEST_SYNC1(read_sysreg(cntpct_el0));"),
        "cntfrq": ("GUEST_SYNC1(read_sysreg(cntfrq_el0));",),
    },
}
"""What a guest program is in C: what it leaves in result[0], … are the arguments of its ucall."""

_BY_LIBKVM = frozenset(
    {
        kvm.KVM_SET_USER_MEMORY_REGION,
        kvm_x86.KVM_GET_SUPPORTED_CPUID,
        kvm_x86.KVM_SET_CPUID2,
        kvm_arm64.KVM_ARM_PREFERRED_TARGET,
        kvm_arm64.KVM_ARM_VCPU_INIT,
    }
)
"""Calls that libkvm makes itself while it makes VMs and vCPUs."""


def reduced(events: Sequence[Event]) -> list[Event]:
    """Return *events* without what libkvm does itself; `NotExportable` where it would do something else."""
    kept = []
    for event in events:
        if isinstance(event, MemoryEvent | FinishEvent | SetMode):
            continue
        if isinstance(event, CallEvent) and event.request in _BY_LIBKVM:
            if event.claim or event.failed() or event.refusal is not None or event.changed_bits:
                raise NotExportable("it makes calls that libkvm makes for every vCPU, in another way")
            continue
        kept.append(event)
    return kept


def guest_code(programs: Sequence[str], arch: str, text: str) -> Iterator[str]:
    """Yield the guest of a program whose body is *text*: one function, which runs one of *programs*."""
    if not programs:
        return
    several = len(programs) > 1
    if several:
        yield f"enum {{ {', '.join(f'GUEST_{name.upper()}' for name in programs)} }};"
        yield "static int guest_program; /* what the guest does next */"
    lines = [line for name in programs for line in BY_ARCHITECTURE[arch][name]]
    if any("operand" in line for line in lines) or "operand" in text:
        yield "static uint64_t operand[2]; /* for what the guest does next */"
    yield ""
    yield "static void guest_code(void)"
    yield "{"
    if any("before" in line for line in lines):
        yield "\tuint64_t before;"
        yield ""
    yield "\tfor (;;) {"
    if several:
        yield "\t\tswitch (READ_ONCE(guest_program)) {"
        for name in programs:
            yield f"\t\tcase GUEST_{name.upper()}:"
            yield from (f"\t\t\t{line}" for line in BY_ARCHITECTURE[arch][name])
            yield "\t\t\tbreak;"
        yield "\t\t}"
    else:
        yield from (f"\t\t{line}" for line in lines)
    yield "\t}"
    yield "}"
    yield ""


def programs_of(events: Sequence[Event], arch: str) -> list[str]:
    """Return the guest programs that *events* start; `NotExportable` where one has no C."""
    names: dict[str, None] = {}
    for event in events:
        if isinstance(event, StartProgram) and event.count != 1:
            raise NotExportable("its guest repeats what libkvm's does once")
        for address in entries(event):
            name = program_at(address, arch)
            if name is not None:
                names[name] = None
    for name in names:
        if name not in BY_ARCHITECTURE[arch]:
            raise NotExportable(f"its guest program {name} has no C for libkvm")
    return list(names)


class LibkvmCalls(Calls):
    """Calls on libkvm's VMs and vCPUs."""

    def descriptor(self, owner: Event | None) -> str:
        """Return the descriptor of a VM, a vCPU, a device, or KVM itself."""
        if not isinstance(owner, CallEvent):
            return "kvm"
        name = self.names.of(owner)
        ways = {kvm.KVM_CREATE_VM: f"{name}->fd", kvm.KVM_CREATE_VCPU: f"{name}.vcpu->fd"}
        return ways.get(owner.request, f"{name}.fd")  # type: ignore[call-overload,no-any-return]

    def call(self, call: CallEvent, name: Name, where: str, used: set[tuple[int, str]]) -> Iterator[str]:
        """Yield the statements of *call*; *where* is "[i]" in a loop."""
        plain = not call.failed() and call.refusal is None
        if call.request == kvm.KVM_CREATE_VM and plain:
            yield f"struct kvm_vm *{self.names.of(call)} = vm_create({max(1, self.vcpu_counts[id(call)])});"
        elif call.request == kvm.KVM_CREATE_VCPU and plain:
            vm = self.names.of(call.owner) if call.owner else ""
            guest = "guest_code" if self.has_guest else "NULL"
            made = f"vm_vcpu_add({vm}, {call.argument}, {guest})"
            yield f"struct guest {self.names.of(call)} = {{ .vcpu = {made} }};"
        else:
            yield from super().call(call, name, where, used)

    vcpu_counts: Mapping[int, int] = {}
    has_guest = False


@dataclass
class LibkvmSteps(Steps):
    """Steps of a libkvm program; *programs* are those of its guest."""

    programs: Sequence[str] = ()
    _loaded: dict[int, str] = field(default_factory=dict)  # by vCPU
    _selected: str = ""

    def loop(self, loop: Loop) -> Iterator[str]:
        """Yield a loop; `NotExportable` where it would have to follow which program each vCPU runs."""
        if len(self.programs) > 1 and any(isinstance(one, StartProgram | Registers) for one in loop.body):
            raise NotExportable("it changes between guest programs in a loop")
        yield from super().loop(loop)

    def event(self, event: Event, index: Index | None = None, *, looped: bool = False) -> Iterator[str]:
        """Yield the statements of one step."""
        match event:
            case StartProgram(vcpu) | Registers(vcpu):
                started = [program_at(address, self.names.arch) for address in entries(event)]
                self._loaded[id(vcpu)] = next((one for one in started if one), "")
            case EnterTogether():
                raise NotExportable("vCPUs of it run at once, which libkvm has no helper for")
            case Spin():
                raise NotExportable("a vCPU of it spins, which libkvm has no helper for")
            case ReadOn() | AwaitReadings():
                raise NotExportable("a guest of it runs next to other work, which libkvm has no helper for")
            case CopyMemory():
                raise NotExportable("it copies guest memory, where libkvm has its own")
            case Pin() | GiveWay():
                raise NotExportable("it chooses CPUs for its threads")
            case ClockEvent("run_delay"):
                raise NotExportable("it watches how long a thread waits for a CPU")
            case _:
                yield from super().event(event, index, looped=looped)

    def _enter(self, event: Enter, where: str) -> Iterator[str]:
        if event.is_check() or event.tolerated or event.reason != self.leaves_by:
            raise NotExportable("its guest leaves in another way than by a ucall")
        wanted = self._loaded.get(id(event.vcpu), "")
        if len(self.programs) > 1 and wanted != self._selected:
            yield f"guest_program = GUEST_{wanted.upper()};"
            yield f"sync_global_to_guest({self._vm(event.vcpu)}, guest_program);"
            self._selected = wanted
        yield from super()._enter(event, where)

    def _store(self, event: Store, name: Name) -> Iterator[str]:
        for line in super()._store(event, name):
            target, _, value = line.partition(" = ")
            vcpu, arrow, place = target.partition(".mailbox->")
            if not arrow or not place.startswith("operand["):
                raise NotExportable("it writes memory or kvm_run, where libkvm has its own")
            yield f"{place} = {value}"
            vm = next(self._vm(one) for one in self.vcpus if self.names.of(one) == vcpu)
            yield f"sync_global_to_guest({vm}, operand);"

    def _load(self, event: Event, where: str) -> Iterator[str]:
        for line in super()._load(event, where):  # type: ignore[arg-type]
            if ".mailbox->result[" not in line:
                raise NotExportable("it reads memory or kvm_run, where libkvm has its own")
            yield line.replace(".mailbox->", ".")

    def _vm(self, vcpu: CallEvent) -> str:
        assert vcpu.owner is not None
        return self.names.of(vcpu.owner)
