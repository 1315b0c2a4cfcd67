# SPDX-License-Identifier: GPL-2.0-only
"""How a vCPU comes to start a guest program on arm64: the registers that say it at length become one step."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from fixtures.architectures import ARM64
from fixtures.guests import layout
from fixtures.guests.arm64 import state
from fixtures.uapi.arm64.kvm import x_reg
from fixtures.uapi.names import reg_name
from tools.export_c.c_names import core_register
from tools.export_c.events import Event, FinishEvent, Registers, StartProgram

_COUNT, _PROGRAM = x_reg(21), x_reg(24)
_GIVEN = {_COUNT: "count", _PROGRAM: "program"}
_FINISHING = (
    "\tif (vcpu->run->exit_reason == KVM_EXIT_MMIO)",
    "\t\tfinish_exit(vcpu); /* which moves the PC */",
)
_WIDTH = 115
_JOINED = "\x00"  # a blank at which no line ends


def start_step(event: Registers) -> StartProgram | None:
    """Return the step that stands for *event*, None where it leaves other registers than `state.start`."""
    held = dict(event.values)
    vcpu = event.vcpu.argument
    if _PROGRAM not in held or not isinstance(vcpu, int):
        return None
    if held != _general(vcpu) | {one: held[one] for one in _GIVEN if one in held}:
        return None
    return StartProgram(event.vcpu, held[_PROGRAM], held[_COUNT], claim=event.claim)


def with_finished_exits(events: Sequence[Event]) -> list[Event]:
    """Return *events* with the ends of exits as a part of the starts that follow them at once."""
    kept = [one for one, after in pairwise([*events, Event()]) if not _is_finished_by(one, after)]
    if len(kept) == len(events):
        return kept
    return [replace(one, finishes=True) if isinstance(one, StartProgram) else one for one in kept]


def _is_finished_by(one: Event, after: Event) -> bool:
    return isinstance(one, FinishEvent) and isinstance(after, StartProgram) and one.vcpu is after.vcpu


def start_function(*, finishes: bool) -> str:
    """Return the C function that makes a vCPU start a program, with the registers that `state.start` has.

    One that *finishes* completes the access with which the vCPU has left, as KVM moves the PC after it.
    """
    first, second = _general(0), _general(1)
    shown = []
    for reg, value in first.items():
        step = f" + vcpu->id * {second[reg] - value:#x}" if second[reg] != value else ""
        entry = f"{{ {core_register(reg_name(reg))}, {_GIVEN.get(reg) or f'{value:#x}{step}'} }},"
        shown.append(entry.replace(" ", _JOINED))
    lines = [
        "static void start(const struct vcpu *vcpu, uint64_t program, uint64_t count)",
        "{",
        "\tconst struct { uint64_t id, value; } regs[] = {",
        *(f"\t\t{line.replace(_JOINED, ' ')}" for line in textwrap.wrap(" ".join(shown), _WIDTH)),
        "\t};",
        "",
        *(_FINISHING if finishes else ()),
        "\tfor (size_t i = 0; i < sizeof(regs) / sizeof(regs[0]); i++)",
        '\t\tmust(one_reg(vcpu->fd, KVM_SET_ONE_REG, regs[i].id, &regs[i].value), "KVM_SET_ONE_REG");',
        "}",
    ]
    return "\n".join([*lines, ""])


def _general(vcpu: int) -> dict[int, int]:
    return dict(state.start(next(iter(layout.BY_ARCHITECTURE[ARM64.name])), vcpu))
