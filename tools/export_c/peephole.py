# SPDX-License-Identifier: GPL-2.0-only
"""Steps that a reader of the program would not miss are left out, or made one."""

from __future__ import annotations

from collections.abc import Sequence

from fixtures.uapi import kvm
from tools.export_c.events import (
    Assumption,
    CallEvent,
    ClockEvent,
    Enter,
    Event,
    FinishEvent,
    Load,
    MemoryEvent,
    PointerArgument,
    Registers,
    Store,
)
from tools.export_c.expressions import Constant
from tools.export_c.rolling import leaves

_MMAP_SIZE = kvm.KVM_GET_VCPU_MMAP_SIZE
_SETS = kvm.KVM_SET_ONE_REG


def shortened(events: Sequence[Event]) -> list[Event]:
    """Return *events* without what nothing uses, and with sequences that have a name as one step."""
    return _joined(_without_unused(_without_api_version(_without_initial_stores(events))))


def _without_initial_stores(events: Sequence[Event]) -> list[Event]:
    """Leave out how user space filled guest memory before KVM knew it: its contents are known."""
    given: set[int] = set()
    kept: list[Event] = []
    for event in events:
        if isinstance(event, CallEvent) and event.layout is kvm.kvm_userspace_memory_region:
            memory = getattr(event.members.get("userspace_addr"), "memory", None)
            given.add(id(memory))
        if isinstance(event, Store) and isinstance(event.into, MemoryEvent) and id(event.into) not in given:
            continue
        kept.append(event)
    return kept


def _without_api_version(events: Sequence[Event]) -> list[Event]:
    """Leave out that the harness insists on KVM_API_VERSION, which is 12 in every kernel since 2.6.22."""
    return [event for event in events if not (isinstance(event, Assumption) and _is_of_api(event))]


def _is_of_api(event: Assumption) -> bool:
    found = [leaf.event for leaf in leaves(event)]
    return all(isinstance(one, CallEvent) and one.request == kvm.KVM_GET_API_VERSION for one in found)


def _without_unused(events: Sequence[Event]) -> list[Event]:
    kept = list(events)
    while True:
        used = {id(leaf.event) for event in kept for leaf in leaves(event)}
        fewer = [event for event in kept if id(event) in used or not _only_reads(event)]
        if len(fewer) == len(kept):
            return kept
        kept = fewer


def _only_reads(event: Event) -> bool:
    """Return whether *event* matters only to those who use its value."""
    if isinstance(event, Load | ClockEvent):
        return True
    if not isinstance(event, CallEvent) or event.refusal is not None:
        return False
    queries = {_MMAP_SIZE, kvm.KVM_CHECK_EXTENSION}
    return event.request in queries or (event.request == kvm.KVM_GET_API_VERSION and not event.claim)


def _joined(events: Sequence[Event]) -> list[Event]:
    joined: list[Event] = []
    at = 0
    while at < len(events):
        event = events[at]
        if _finishes(events[at : at + 3]):
            entry = events[at + 1]
            assert isinstance(entry, Enter)
            joined.append(FinishEvent(entry.vcpu, claim=entry.claim))
            at += 3
        elif _sets_constant(event):
            last = at
            while (
                last < len(events) and _sets_constant(events[last]) and _owner(events[last]) is _owner(event)
            ):
                last += 1
            joined += _registers(events[at:last])
            at = last
        else:
            joined.append(event)
            at += 1
    return joined


def _finishes(events: Sequence[Event]) -> bool:
    match events:
        case [Store(value=Constant(1)) as first, Enter(reason=-1) as entry, Store(value=Constant(0)) as last]:
            return first.into is entry.vcpu is last.into
    return False


_FEWEST = 4


def _registers(events: Sequence[Event]) -> Sequence[Event]:
    if len(events) < _FEWEST:
        return events
    values = []
    for call in events:
        assert isinstance(call, CallEvent)
        reg, pointed = call.members["id"], call.members["addr"]
        assert isinstance(reg, Constant)
        assert isinstance(pointed, PointerArgument)
        assert isinstance(pointed.value, Constant)
        values.append((reg.value, pointed.value.value))
    owner = _owner(events[0])
    assert isinstance(owner, CallEvent)
    return [Registers(owner, tuple(values), claim=events[0].claim)]


def _sets_constant(event: Event) -> bool:
    if (
        not isinstance(event, CallEvent)
        or event.request != _SETS
        or event.failed()
        or event.refusal is not None
    ):
        return False
    pointed = event.members.get("addr")
    plain = isinstance(pointed, PointerArgument) and isinstance(pointed.value, Constant)
    return plain and isinstance(event.members.get("id"), Constant)


def _owner(event: Event) -> Event | None:
    return event.owner if isinstance(event, CallEvent) else None
