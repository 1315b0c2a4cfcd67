# SPDX-License-Identifier: GPL-2.0-only
"""What steps, numbers and constants are called in a program."""

from __future__ import annotations

import ctypes
import errno
from dataclasses import dataclass, field

from fixtures.guests import layout
from fixtures.uapi import kvm, series
from fixtures.uapi.arm64 import kvm as kvm_arm64
from fixtures.uapi.ioctl import Request
from fixtures.uapi.names import cap_name, msr_name, reg_name
from fixtures.uapi.x86 import kvm as kvm_x86
from tools.export_c.events import CallEvent, ClockEvent, Enter, Event, Load, MemoryEvent
from tools.export_c.expressions import StepValue
from tools.export_c.places import VALUE
from tools.export_c.rolling import RolledProgram

_CLOCKS = {
    "counter": "host",
    "realtime": "realtime",
    "monotonic_raw": "raw",
    "frequency": "counter_hz",
    "run_delay": "delay",
}
_OBJECTS = {kvm.KVM_CREATE_VM: "vm", kvm.KVM_CREATE_VCPU: "vcpu", kvm.KVM_CREATE_DEVICE: "device"}
_SHORT: dict[type[ctypes.Structure], str] = {
    kvm.kvm_clock_data: "clock",
    kvm_x86.kvm_cpuid2: "cpuid",
    kvm_x86.kvm_sregs: "sregs",
    kvm_x86.kvm_regs: "regs",
    kvm_arm64.kvm_vcpu_init: "init",
    kvm.kvm_userspace_memory_region: "region",
    kvm.kvm_reg_list: "registers",
}
_RESULTS = {kvm.KVM_CHECK_EXTENSION: "capability", kvm.KVM_GET_TSC_KHZ: "tsc_khz"}

_YOUNG = {
    "KVM_ARM_SET_COUNTER_OFFSET": kvm_arm64.KVM_ARM_SET_COUNTER_OFFSET,
    "KVM_CAP_ARM_EL2": kvm.KVM_CAP_ARM_EL2,
    "KVM_CAP_ARM_EL2_E2H0": kvm.KVM_CAP_ARM_EL2_E2H0,
    "KVM_CAP_COUNTER_OFFSET": kvm.KVM_CAP_COUNTER_OFFSET,
    "KVM_CAP_VM_TSC_CONTROL": kvm.KVM_CAP_VM_TSC_CONTROL,
    **{name: value for name, value in vars(series).items() if name.startswith("KVM_") and name.isupper()},
}
"""Constants that <linux/kvm.h> of a distribution may not have yet: they came after Linux 5.16."""

_OLD_REGISTERS = ("KVM_REG_ARM_TIMER_", "KVM_REG_ARM_PTIMER_")
"""Registers of arm64 that its <asm/kvm.h> has had since Linux 4.15."""


@dataclass
class Names:
    """The names of one program, and the constants it uses."""

    program: RolledProgram
    arch: str
    defines: dict[str, int] = field(default_factory=dict)
    _events: dict[int, str] = field(default_factory=dict)
    _next: dict[str, int] = field(default_factory=dict)

    def of(self, event: Event) -> str:
        """Return the name of *event*'s variable: of the first iteration's, in a loop."""
        key, _ = self.program.places.get(id(event), (id(event), 0))
        if key not in self._events:
            stem = _stem(event)
            number = self._next.get(stem, 0)
            self._next[stem] = number + 1
            self._events[key] = f"{stem}_{number}" if _is_object(event) or number else stem
            if not _is_object(event):
                self._events[key] = f"{stem}_{number + 1}"
        return self._events[key]

    def leaf(self, leaf: StepValue, index: str) -> str:
        """Return the variable that holds *leaf*, with *index* ("[i]", or "")."""
        name = f"{self.of(leaf.event)}{index}"
        match leaf.event:
            case Enter():
                return f"{leaf.member}_{self.of(leaf.event).rpartition('_')[2]}{index}"
            case CallEvent() as call if leaf.member == "result":
                return f"{self.result_name(call)}{index}"
            case CallEvent() as call if leaf.member == VALUE or call.is_msr():
                return name
            case CallEvent() as call if call.elements:
                return f"{name}.{leaf.member}"
            case CallEvent() | Load() if leaf.member:
                return f"{name}.{leaf.member}"
        return name

    def result_name(self, call: CallEvent) -> str:
        """Return the name of what ioctl(2) returned."""
        if call.layout is None or call.is_msr():
            return self.of(call) if not call.is_msr() else f"{self.of(call)}_handled"
        return f"{self.of(call)}_result"

    def constant(self, name: str, value: int) -> str:
        """Return *name*, which the program defines where headers may not."""
        if name in _YOUNG or not name.startswith("KVM_"):
            self.defines[name] = value
        return name

    def request(self, request: int) -> str:
        """Return the name of a request, or its number."""
        if isinstance(request, Request) and request.name:
            return self.constant(request.name, int(request))
        return hex(request)

    def capability(self, number: int) -> str:
        """Return the name of a capability."""
        name = cap_name(number)
        return self.constant(name, number) if name.isidentifier() else str(number)

    def msr(self, index: int) -> str:
        """Return the name of an MSR."""
        name = msr_name(index)
        if not name.isidentifier():
            return hex(index)
        self.defines[name] = index
        return name

    def register(self, reg_id: int) -> str:
        """Return the name of a register of arm64, by its id."""
        name = reg_name(reg_id)
        if core := core_register(name):
            return core
        if not name.isidentifier():
            return hex(reg_id)
        if not name.startswith(_OLD_REGISTERS):
            self.defines[name] = reg_id
        return name

    def errno(self, number: int) -> str:
        """Return the name of an errno."""
        return errno.errorcode.get(number, "NOT_HANDLED" if number == 0 else str(number))


def core_register(name: str) -> str:
    """Return what the runtime calls the register *name*, nothing where it is not a core register of arm64."""
    if name.startswith("X") and name[1:].isdigit():
        return f"CORE(regs[{name[1:]}])"
    return f"CORE({name.lower()})" if name in {"PC", "PSTATE"} else ""


def _is_object(event: Event) -> bool:
    return isinstance(event, MemoryEvent) or (isinstance(event, CallEvent) and event.request in _OBJECTS)


def _stem(event: Event) -> str:
    match event:
        case MemoryEvent():
            return "memory"
        case ClockEvent(name):
            return _CLOCKS[name]
        case Enter():
            return "entry"
        case Load():
            return _load_stem(event)
        case CallEvent():
            return _call_stem(event)
    return "step"


def _load_stem(event: Load) -> str:
    if isinstance(event.source, CallEvent):
        return "line"
    if event.layout is not None:
        return {"pvclock_vcpu_time_info": "record", "pvclock_wall_clock": "wall_clock"}.get(
            event.layout.__name__, "held"
        )
    if event.raw:
        return "bytes"
    return "sample" if event.count else "guest"


def _call_stem(call: CallEvent) -> str:
    if call.request in _OBJECTS:
        return _OBJECTS[call.request]  # type: ignore[index]
    if call.is_msr():
        return "msr"
    if call.layout is kvm.kvm_one_reg:
        return "reg"
    if call.layout is kvm.kvm_device_attr:
        return "attribute_value"
    if call.layout is None:
        return _RESULTS.get(call.request, "result")  # type: ignore[call-overload,no-any-return]
    return _SHORT.get(call.layout, call.layout.__name__.removeprefix("kvm_"))


def region(offset: int) -> str:
    """Return what lies at *offset* of guest memory."""
    for end, name in (
        (layout.GDT, "page tables"),
        (layout.IDT, "GDT"),
        (layout.tss(0), "IDT"),
        (layout.VECTORS, "TSS"),
        (layout.CODE, "vectors"),
    ):
        if offset < end:
            return name
    return "memory"
