# SPDX-License-Identifier: GPL-2.0-only
"""Structures and constants that a program defines itself, since headers may not have them."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from typing import Any

from fixtures.uapi import kvm
from fixtures.uapi.arm64 import kvm as kvm_arm64
from fixtures.uapi.x86 import kvm as kvm_x86
from tools.export_c.c_names import Names
from tools.export_c.events import CallEvent, Event, Load
from tools.export_c.places import is_signed

_MEMBERS = 4  # of a structure, in one line
_WITH_COUNTER_OFFSET = ("KVM_CAP_COUNTER_OFFSET", "KVM_ARM_SET_COUNTER_OFFSET")


def defines(names: Names) -> Iterator[str]:
    """Yield the definitions of the constants that *names* has come across."""
    for name, value in names.defines.items():
        if name.startswith("KVM_"):
            yield f"#ifndef {name}"
            yield f"#define {name} {value:#x}"
            yield "#endif"
        else:
            yield f"#define {name} {value:#x}"


def layouts(events: Sequence[Event], names: Names) -> Iterator[str]:
    """Yield the structures that no kernel header defines, and the constants that came with one."""
    found = {
        event.layout for event in events if isinstance(event, CallEvent | Load) and event.layout is not None
    }
    defined: set[str] = set()
    for one in _without_header(found):
        yield ""
        yield from _definition(one, defined)
    if kvm_arm64.kvm_arm_counter_offset in found:
        yield ""
        yield "#ifndef KVM_ARM_SET_COUNTER_OFFSET /* before Linux 6.4 */"
        yield from _definition(kvm_arm64.kvm_arm_counter_offset, defined)
        for name in _WITH_COUNTER_OFFSET:
            if name in names.defines:
                yield f"#define {name} {names.defines.pop(name):#x}"
        yield "#endif"


def _without_header(layouts: set[type[ctypes.Structure]]) -> list[type[ctypes.Structure]]:
    """Return the structures that no kernel header gives to user space."""
    known = {name for header in (kvm, kvm_x86, kvm_arm64) for name in vars(header)}
    return sorted((one for one in layouts if one.__name__ not in known), key=lambda one: one.__name__)


def _definition(kind: type[ctypes.Structure], defined: set[str]) -> Iterator[str]:
    """Yield the definition of *kind* after those of the structures in it, unless it is *defined*."""
    if kind.__name__ in defined:
        return
    defined.add(kind.__name__)
    members: list[tuple[str, list[str]]] = []  # neighbours of one type stand in one line
    for name, held, *_ in kind._fields_:
        element: Any = held
        count = ""
        while issubclass(element, ctypes.Array):
            count += f"[{vars(element)['_length_']}]"
            element = vars(element)["_type_"]
        if issubclass(element, ctypes.Structure):
            yield from _definition(element, defined)
            shown = f"struct {element.__name__}"
        else:
            shown = f"{'' if is_signed(element) else 'u'}int{8 * ctypes.sizeof(element)}_t"
        if not members or members[-1][0] != shown or len(members[-1][1]) == _MEMBERS:
            members.append((shown, []))
        members[-1][1].append(f"{name}{count}")
    yield f"struct {kind.__name__} {{"
    yield from (f"\t{shown} {', '.join(held)};" for shown, held in members)
    yield "} __attribute__((packed));"
