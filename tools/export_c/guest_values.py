# SPDX-License-Identifier: GPL-2.0-only
"""What claims make of what guests left: kvmclock from a record, and as many interrupts as were counted."""

from __future__ import annotations

import ctypes
from dataclasses import replace
from typing import Any

from fixtures.guests import layout
from fixtures.uapi.x86 import kvm as kvm_x86
from tools.export_c import structures
from tools.export_c.chosen import WIDTH, Candidate, Chosen
from tools.export_c.events import CallEvent
from tools.export_c.expressions import Binary, Constant, Extreme, Kvmclock, StepValue
from tools.export_c.session import RUN
from tools.export_c.symbolic import Number, of
from tools.export_c.views import tolist

_LINE = ("tsc_timestamp", "system_time_ns", "tsc_to_system_mul", "tsc_shift")
_MEMBERS = ["tsc_timestamp", "system_time", "tsc_to_system_mul", "tsc_shift"]


def kvmclock_ns(function: Any, arguments: tuple[Any, ...], _: dict[str, Any]) -> int:
    """Do as `fixtures.kvm.values.Pvclock.kvmclock_ns`: one function of the program, whatever the shift is."""
    record, (tsc,) = function.__self__, arguments
    line = [of(getattr(record, name)) for name in _LINE]
    known = [one for one in line if isinstance(one, StepValue)]
    if [one.member for one in known] != _MEMBERS or len({id(one.event) for one in known}) > 1:
        value: int = function(tsc)
        return value
    with RUN.silence():
        value = int(function(tsc))
    return Number(value, Kvmclock(of(tsc), known[0]))


def interrupts(function: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """Do as `GicGuest._wait`, whose guest counts the interrupts: a program may find other ones."""
    from fixtures.kvm.arm64 import interrupts as module

    waited = function(*arguments, **keywords)
    vcpu = function.__self__.vcpu
    (count,) = vcpu.guest.results(1)
    if not isinstance(count, Number):
        return waited
    memory = vcpu.vm.memory
    start = layout.samples(len(memory)).address
    words = tolist(memory[start : start + 8 * WIDTH * module.ROOM].cast("Q").tolist, (), {})
    looked = max(1, int(count))
    rows = [module._interrupt(words[at : at + WIDTH]) for at in range(0, looked * WIDTH, WIDTH)]
    found = [Candidate(row, count, at) for at, row in enumerate(rows)]
    return replace(waited, interrupts=Chosen(found, [count == int(count)]))


def numbers(function: Any, arguments: tuple[Any, ...], _: dict[str, Any]) -> Any:
    """Do as `fixtures.kvm.arm64.interrupts._numbers`: one decision about a mask, not one for each bit."""
    (mask,) = arguments
    if isinstance(mask, Number):
        bool(mask == int(mask))
    return function(int(mask))


def hyperv_cpuid(function: Any, arguments: tuple[Any, ...], _: dict[str, Any]) -> Any:
    """Do as `fixtures.kvm.x86.cpuid.hyperv_cpuid`, and remember which two tables its own is made of."""
    table, handle = arguments
    run = RUN.current
    known = run.places.filled(ctypes.addressof(table), ctypes.sizeof(table))
    made = function(table, handle)
    offered = run.events[-1] if run.events else None
    if known is None or not isinstance(known.event, CallEvent) or not isinstance(offered, CallEvent):
        return made
    run.hyperv_tables[bytes(made)[: structures.whole(kvm_x86.kvm_cpuid2, made.nent)]] = known.event, offered
    return made


def unhurried_ns(function: Any, arguments: tuple[Any, ...], _: dict[str, Any]) -> int:
    """Do as `fixtures.kvm.arm64.pace.unhurried_ns` by one measurement, which a program makes on its own host.

    One is less sure than the median of several, so the time is twice as long.
    """
    from fixtures.kvm.arm64 import pace

    with RUN.silence():
        period_ns: int = function(*arguments)
    cost_ns = pace._programming_ns(*arguments)
    if not isinstance(cost_ns, Number):
        return period_ns
    bool(cost_ns <= pace.SLOWEST_NS)
    margin, shortest_ns = 2 * pace.MARGIN, pace.SHORTEST_NS
    spared = Binary("*", of(cost_ns), Constant(margin))
    return Number(max(shortest_ns, margin * int(cost_ns)), Extreme("max", (Constant(shortest_ns), spared)))


def take_message(function: Any, arguments: tuple[Any, ...], _: dict[str, Any]) -> Any:
    """Do as `fixtures.kvm.x86.messages.take_message`, which a program does not.

    When the slot of a message is freed decides what KVM puts there next: in the lab programs found the
    message before where the claims, which are slower, found the next one.
    """
    RUN.refuse("it takes messages of Hyper-V's timers one after the other")
    return function(*arguments)
