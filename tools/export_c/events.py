# SPDX-License-Identifier: GPL-2.0-only
"""What a run did, step by step: the calls, what user space wrote and read, and what the claim checked."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass, field

from fixtures.uapi.x86 import kvm as kvm_x86
from tools.export_c.expressions import Expression


@dataclass(eq=False, slots=True, kw_only=True)
class Event:
    """One step; *claim* is False while the claim's fixtures prepare it."""

    claim: bool = True

    def is_check(self) -> bool:
        """Return whether the claim promises something here."""
        return False


@dataclass(eq=False, slots=True)
class MemoryEvent(Event):
    """mmap(2) of *size* bytes for guest memory; *contents* is what they hold before the first step."""

    size: int
    contents: Mapping[int, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PointerArgument:
    """An address in the program: in *memory* at *offset*, at the program's own *value*, or a bad one."""

    memory: MemoryEvent | None = None
    offset: int = 0
    value: Expression | None = None  # what a variable of its own holds
    size: int = 8  # of that variable


StructureMember = Expression | PointerArgument | bytes
"""What a member of a structure holds."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A call is to fail with *errno*; 0 is an MSR that KVM does not handle. *promised*: a check says so."""

    errno: int
    promised: bool


@dataclass(eq=False, slots=True)
class CallEvent(Event):
    """ioctl(2): *members* is what is in the structure, by C name, on top of what *base* left there."""

    owner: Event | None  # whose descriptor; None: KVM itself
    request: int
    argument: int | PointerArgument | None = None  # a value, an address; None: the structure
    layout: type[ctypes.Structure] | None = None
    members: Mapping[str, StructureMember] = field(default_factory=dict)
    base: CallEvent | None = None
    elements: int = 0  # of an array of length 0 at the structure's end
    result: int = 0  # as recorded; negative errno
    refusal: Refusal | None = None
    tolerated: bool = False  # the claim continues, whether it fails or not
    changed_bits: Mapping[tuple[int, str], tuple[int, int]] | None = None
    """Of a CPUID table: by leaf and register, the bits cleared and set."""
    hyperv: CallEvent | None = None
    """Of a CPUID table: what gave the leaves of Hyper-V, which are in place of KVM's own in *base*."""

    def is_check(self) -> bool:
        """Return whether the claim promises how the call ends."""
        return self.refusal is not None and self.refusal.promised

    def is_msr(self) -> bool:
        """Return whether the result says how many MSRs KVM handled."""
        return self.request in {kvm_x86.KVM_GET_MSRS, kvm_x86.KVM_SET_MSRS}

    def failed(self) -> bool:
        """Return whether KVM refused the call, or its MSR."""
        return self.result < 0 or (self.is_msr() and self.result == 0)


@dataclass(eq=False, slots=True)
class Enter(Event):
    """KVM_RUN of *vcpu* between two readings of the host's counter."""

    vcpu: CallEvent
    reason: int = 0  # as recorded; of a run that ended with EINTR: -1
    faulted: bool = False  # the guest took an exception
    promised: bool = False  # and a check says that it does
    tolerated: bool = False  # the claim continues, whether it does or not
    refusal: int | None = None  # the errno with which a check says that KVM_RUN fails

    def is_check(self) -> bool:
        """Return whether the claim promises how the guest ends, or that it does not run."""
        return self.promised or self.refusal is not None


@dataclass(eq=False, slots=True)
class FinishEvent(Event):
    """KVM_RUN with immediate_exit: completes an access of the guest's, runs nothing."""

    vcpu: CallEvent


@dataclass(eq=False, slots=True)
class Registers(Event):
    """KVM_SET_ONE_REG of several registers of *vcpu*, by id."""

    vcpu: CallEvent
    values: tuple[tuple[int, int], ...]


@dataclass(eq=False, slots=True)
class SetMode(Event):
    """Segments and control registers of *vcpu* become those that guest programs need."""

    vcpu: CallEvent
    members: tuple[tuple[str, StructureMember], ...]  # what changes, by C name; tr.base: the vCPU's own


@dataclass(eq=False, slots=True)
class StartProgram(Event):
    """KVM_SET_REGS of *vcpu*, so that its next KVM_RUN starts the program at *address*."""

    vcpu: CallEvent
    address: int
    count: int
    finishes: bool = False  # completes the access with which the program before has left


@dataclass(eq=False, slots=True)
class Store(Event):
    """User space writes *value*, of *size* bytes, into guest memory, or into a vCPU's kvm_run."""

    into: MemoryEvent | CallEvent
    offset: int
    size: int
    value: Expression | bytes


@dataclass(eq=False, slots=True)
class CopyMemory(Event):
    """User space copies all of *source* into guest memory of the same size."""

    into: MemoryEvent
    source: MemoryEvent


@dataclass(eq=False, slots=True)
class Load(Event):
    """User space reads guest memory or kvm_run: *count* integers of *size* bytes, or as many bytes."""

    source: MemoryEvent | CallEvent
    offset: int
    size: int
    count: int = 0  # 0: one integer
    raw: bool = False
    layout: type[ctypes.Structure] | None = None  # of a structure that is copied whole
    signed: bool = False


@dataclass(eq=False, slots=True)
class ClockEvent(Event):
    """A reading of a clock of the host: "counter", "realtime", "monotonic_raw", "run_delay"."""

    name: str


@dataclass(eq=False, slots=True)
class Sleep(Event):
    """A pause, in ns."""

    duration_ns: Expression


@dataclass(eq=False, slots=True)
class Close(Event):
    """close(2) of a descriptor."""

    owner: Event


@dataclass(eq=False, slots=True)
class Assumption(Event):
    """A condition that decided how the run continued; *missing* is KVM's name for what it looks for."""

    condition: Expression
    holds: bool
    missing: str = ""


@dataclass(eq=False, slots=True)
class CheckEvent(Event):
    """A condition that the claim asserts, as its source says it."""

    condition: Expression
    text: str
    line: int
    held: bool

    def is_check(self) -> bool:
        """It is one."""
        return True
