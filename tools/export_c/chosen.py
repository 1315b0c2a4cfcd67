# SPDX-License-Identifier: GPL-2.0-only
"""Lists of as many rows as a guest found, and what a claim makes of them or chooses among them.

Compared with a list that the claim names, they are checks: how many there are, and what they are. Used in
any other way, they are what they were in the run that was recorded, and a program that finds others skips.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from tools.export_c.conditions import every
from tools.export_c.expressions import Compare, Constant, Expression, HowMany, Not, StepValue
from tools.export_c.session import RUN
from tools.export_c.symbolic import Condition, Number, of

WIDTH = 8
"""Words of a row."""

Same = Callable[[Any, Any], Any]


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """What is made of row *at*, of which there are *count*: in the list if all *tests* hold."""

    value: Any
    count: Number
    at: int
    tests: tuple[Condition, ...] = ()

    @property
    def held(self) -> bool:
        """Whether it was in the list in the run that was recorded."""
        return self.at < int(self.count) and all(one.holds for one in self.tests)


class Chosen(list[Any]):
    """The values of those *candidates* that are there."""

    def __init__(self, candidates: Sequence[Candidate], decisions: Sequence[Condition]) -> None:
        """Hold what is there; by *decisions* it is just that."""
        super().__init__(one.value for one in candidates if one.held)
        self.candidates = list(candidates)
        self._decisions = list(decisions)

    def through(self, make: Callable[[Any], Any], wanted: Callable[[Any], Any] | None) -> Chosen:
        """Return [make(one) for one in self if wanted(one)]."""
        decisions = list(self._decisions)
        kept: list[Candidate] = []
        for one in self.candidates:
            passes = True if wanted is None else _applied(wanted, one.value, held=one.held)
            tests = one.tests
            if isinstance(passes, Condition):
                decisions += [passes] if one.held else []
                tests = (*tests, passes)
            elif not passes:
                continue
            there = Candidate(None, one.count, one.at, tests)
            kept.append(Candidate(_applied(make, one.value, held=there.held), one.count, one.at, tests))
        return Chosen(kept, decisions)

    def decide(self) -> None:
        """Have a program skip where other values are there than in the run that was recorded."""
        for one in self._decisions:
            bool(one)
        self._decisions = []

    def __iter__(self) -> Iterator[Any]:
        self.decide()
        return super().__iter__()

    def __getitem__(self, index: Any) -> Any:
        self.decide()
        return super().__getitem__(index)

    def __contains__(self, value: object) -> bool:
        self.decide()
        return super().__contains__(value)

    def __len__(self) -> int:
        self.decide()
        return super().__len__()

    def __add__(self, other: Any) -> Any:
        if isinstance(other, Chosen):
            return Chosen([*self.candidates, *other.candidates], [*self._decisions, *other._decisions])
        return [*self, *other]

    def __radd__(self, other: Any) -> Any:
        return [*other, *self]


def made_of(values: Any, make: Callable[[Any], Any], wanted: Callable[[Any], Any] | None = None) -> Any:
    """Return [make(one) for one in values if wanted(one)]."""
    if isinstance(values, Chosen):
        return values.through(make, wanted)
    return [make(one) for one in values if wanted is None or wanted(one)]


def compare(left: Any, right: Any, same: Same) -> Any:
    """Return whether two lists, one of which is `Chosen`, are equal; *same* compares two values."""
    chosen, wanted = (left, right) if isinstance(left, Chosen) else (right, left)
    if not isinstance(wanted, list):
        return False
    values = list(wanted)
    counts = {id(one.count): one.count for one in chosen.candidates}
    if len(counts) == 1 and not any(one.tests for one in chosen.candidates):
        (count,) = counts.values()
        pairs = zip([one.value for one in chosen.candidates if one.held], values, strict=False)
        return every([count == len(values), *(same(one, other) for one, other in pairs)])
    checks = _counted(chosen.candidates, values)
    if checks is not None:
        return every(checks)
    return len(chosen) == len(values) and every(list(map(same, chosen, values)))


def _counted(candidates: Sequence[Candidate], values: list[Any]) -> list[Any] | None:
    """Return that as many of *candidates* are there as there are *values*, and that all are as these.

    None where *values* differ, or more is chosen by than one number in each row.
    """
    if any(type(one) is not int for one in values) or len(set(values)) > 1:
        return None
    found: list[Number] = []
    alike: list[Number] = []
    for _, rows in groupby(candidates, lambda one: id(one.count)):
        group = list(rows)
        test = _test(group)
        if test is None:
            return None
        there, excluded = test
        found.append(group[0].count - there if excluded else there)
        if values and (excluded or there.expression.value != values[0]):
            alike.append(_how_many(group, there.expression.first, values[0]))
    checks = [found, alike] if alike else [found]
    return [sum(numbers[1:], start=numbers[0]) == len(values) for numbers in checks]


class _Rows(Number):
    """How many rows have a value."""

    expression: HowMany


def _test(group: Sequence[Candidate]) -> tuple[_Rows, bool] | None:
    """Return how many rows pass the test that all of *group* have, and whether the test excludes these."""
    known = {_of_row(one) for one in group}
    if len(known) != 1 or None in known:
        return None
    ((_, value, excluded),) = known  # type: ignore[misc]  # None is not in it
    first = _leaf(group[0].tests[0].expression)
    return _how_many(
        group, StepValue(first.event, first.member, first.bits, index=first.index), value
    ), excluded


def _of_row(one: Candidate) -> tuple[int, int, bool] | None:
    """Return which word of its row *one* is chosen by, which value that has, and whether that excludes it."""
    if len(one.tests) != 1 or not isinstance(one.value, Number):
        return None
    test = one.tests[0].expression
    excluded = isinstance(test, Not)
    match test.of if isinstance(test, Not) else test:
        case Compare("==", StepValue(index=int(index)) as leaf, Constant(value)) if leaf is of(one.value):
            return index - WIDTH * one.at, value, excluded
    return None


def _leaf(test: Expression) -> StepValue:
    inner = test.of if isinstance(test, Not) else test
    assert isinstance(inner, Compare)
    assert isinstance(inner.left, StepValue)
    return inner.left


def _how_many(group: Sequence[Candidate], first: StepValue, value: int) -> _Rows:
    count = group[0].count
    seen = sum(one.at < int(count) and int(one.value) == value for one in group)
    return _Rows(seen, HowMany(first, of(count), value))


def _applied(function: Callable[[Any], Any], value: Any, *, held: bool) -> Any:
    """Return *function*(*value*); None of a value that was not there, where nothing can be made of it."""
    if held:
        return function(value)
    with RUN.silence(), suppress(Exception):
        return function(value)
    return None
