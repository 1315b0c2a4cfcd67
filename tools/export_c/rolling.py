# SPDX-License-Identifier: GPL-2.0-only
"""Steps that repeat become loops: what ran a hundred times is written once.

Two pieces of a run are the same if their steps differ only in which earlier steps their values come
from, and each of those is either the same one, or one iteration of a loop further on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields

from tools.export_c.events import Event, PointerArgument, Refusal
from tools.export_c.expressions import Expression, StepValue

_LONGEST = 80
"""Steps in the body of a loop."""

_WIDEST = 16
"""Elements of an array from one iteration to the next."""

_FEWEST = 3
"""Iterations: fewer are written one after the other."""


@dataclass(eq=False)
class Loop:
    """*count* iterations of *body*; *later* is the second iteration, for the indices."""

    body: Sequence[Event]
    later: Sequence[Event]
    count: int


@dataclass
class RolledProgram:
    """The steps of a run with its loops, and where in a loop each step is."""

    parts: list[Event | Loop] = field(default_factory=list)
    places: dict[int, tuple[int, int]] = field(default_factory=dict)
    """By id of an event: the id of the event of the first iteration, and which iteration it is."""

    def coordinate(self, leaf: StepValue) -> tuple[int, int, str]:
        """Return the step that gives *leaf* its name, which element of it, and the member."""
        first, iteration = self.places.get(id(leaf.event), (id(leaf.event), 0))
        return first, leaf.index if leaf.index is not None else iteration, leaf.member


def rolled(events: Sequence[Event]) -> RolledProgram:
    """Return *events* with what repeats as loops."""
    program = RolledProgram()
    at = 0
    while at < len(events):
        length, count = _best(events, at, program)
        if count < _FEWEST:
            program.parts.append(events[at])
            at += 1
            continue
        body = events[at : at + length]
        program.parts.append(Loop(body, events[at + length : at + 2 * length], count))
        for iteration in range(count):
            for position in range(length):
                event = events[at + iteration * length + position]
                program.places[id(event)] = id(body[position]), iteration
        at += length * count
    return program


def _best(events: Sequence[Event], at: int, program: RolledProgram) -> tuple[int, int]:
    best = 1, 1
    for length in range(1, min(_LONGEST, (len(events) - at) // _FEWEST) + 1):
        if type(events[at]) is not type(events[at + length]):
            continue
        count = _iterations(events, at, length, program)
        if count >= _FEWEST and length * count > best[0] * best[1]:
            best = length, count
    return best


def _iterations(events: Sequence[Event], at: int, length: int, program: RolledProgram) -> int:
    positions = {id(event): index for index, event in enumerate(events[at:], at)}
    count = 1
    steps: dict[tuple[int, int], int] = {}
    while at + (count + 1) * length <= len(events):
        start = at + (count - 1) * length
        for offset in range(length):
            one, other = events[start + offset], events[start + offset + length]
            if not _alike(one, other, offset, length, (positions, at, steps, program)):
                return count
        count += 1
    return count


_Context = tuple[dict[int, int], int, dict[tuple[int, int], int], RolledProgram]


def _alike(one: Event, other: Event, offset: int, length: int, context: _Context) -> bool:
    if type(one) is not type(other):
        return False
    left, right = list(_contents(one)), list(_contents(other))
    if len(left) != len(right):
        return False
    for number, (before, after) in enumerate(zip(left, right, strict=True)):
        if isinstance(before, StepValue) and isinstance(after, StepValue):
            if not _follows(before, after, (offset, number), length, context):
                return False
        elif before is not after and before != after:
            return False
    return True


def _follows(
    before: StepValue, after: StepValue, position: tuple[int, int], length: int, context: _Context
) -> bool:
    positions, at, steps, program = context
    if (before.member, before.bits, before.signed) != (after.member, after.bits, after.signed):
        return False
    first, second = positions.get(id(before.event)), positions.get(id(after.event))
    if first is not None and second is not None and first >= at:
        return second - first == length and before.index == after.index
    one, other = program.coordinate(before), program.coordinate(after)
    if one[0] != other[0]:
        return False
    step = other[1] - one[1]
    return steps.setdefault(position, step) == step and 0 <= step <= _WIDEST


def leaves(event: Event) -> Sequence[StepValue]:
    """Return every value of another step that *event* uses, in a fixed order."""
    return [one for one in _contents(event) if isinstance(one, StepValue)]


def _contents(value: object) -> Iterator[object]:
    """Yield everything that *value* is made of: leaves as they are, other steps by identity."""
    if isinstance(value, StepValue):
        yield value
    elif isinstance(value, Event | Expression | PointerArgument | Refusal):
        yield type(value)
        for one in fields(value):
            held = getattr(value, one.name)
            if one.name == "result" or (isinstance(held, Event) and not isinstance(value, StepValue)):
                yield held if one.name != "result" else None
            else:
                yield from _contents(held)
    elif isinstance(value, dict):
        for name, held in value.items():
            yield name
            yield from _contents(held)
    elif isinstance(value, tuple):
        for held in value:
            yield from _contents(held)
    else:
        yield value
