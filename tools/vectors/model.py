# SPDX-License-Identifier: GPL-2.0-only
"""What a vectors file is made of: methods, their shortcuts, and numbered or named cases."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from fixtures.counters import NSEC_PER_SEC
from fixtures.migration import counter_width
from tools.vectors.draw import Draw

Values = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Shortcut:
    """A formula that is often used and wrong: what it answers in place of the judged answer."""

    name: str
    error_class: str
    sentence: str
    wrong: Callable[[Values], int]


@dataclass(frozen=True, slots=True)
class Error:
    """How far ahead of its exact line a shortcut puts the guest's counter or clock."""

    ticks: int
    ns: int


@dataclass(frozen=True, slots=True)
class Vector:
    """One case of a method."""

    name: str
    sentence: str  # of a named case; empty for a drawn one
    values: Values


@dataclass(slots=True)
class Method:
    """One computation of a migration. *answers* maps inputs to all answers, the judged one first."""

    name: str
    sentence: str
    formula: str
    source: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    answers: Callable[[Values], Mapping[str, int]]
    cases: Mapping[str, tuple[str, Values]]
    draw: Callable[[Draw], Values]
    frequency: str = "tsc_khz"  # the input with which ticks and ns are converted
    per_second: int = 1000  # ticks a second for one of *frequency*: kHz or Hz
    unit: str = "ticks"  # of the judged answer
    guest_sign: int = 1  # -1 where a greater answer puts the guest back: arm64's offsets
    width: str = ""  # the input with the counter's bits, where they may be fewer than 64
    shortcuts: list[Shortcut] = field(default_factory=list)

    @property
    def judged(self) -> str:
        """Return the name of the answer that shortcuts get wrong."""
        return next(iter(self.outputs))

    def shortcut(
        self, name: str, error_class: str, sentence: str
    ) -> Callable[[Callable[[Values], int]], Callable[[Values], int]]:
        """Register the decorated formula as a shortcut of this method."""

        def register(wrong: Callable[[Values], int]) -> Callable[[Values], int]:
            self.shortcuts.append(Shortcut(name, error_class, sentence, wrong))
            return wrong

        return register

    def error(self, shortcut: Shortcut, values: Values, exact: int) -> Error:
        """Return what *shortcut* costs where the judged answer is *exact*; floors, as everywhere."""
        distance = self.guest_sign * (shortcut.wrong(values) - exact)
        amount = counter_width.signed_distance(distance, values[self.width] if self.width else 64)
        hz = values[self.frequency] * self.per_second
        if self.unit == "ticks":
            return Error(amount, amount * NSEC_PER_SEC // hz)
        return Error(amount * hz // NSEC_PER_SEC, amount)

    def vectors(self, seed: int, drawn: int) -> Iterator[Vector]:
        """Yield the named cases, then *drawn* cases that follow from *seed*."""
        for name, (sentence, values) in self.cases.items():
            yield Vector(f"{self.name}.{name}", sentence, values)
        for number in range(drawn):
            yield Vector(f"{self.name}.{number:04}", "", self.draw(Draw(f"{seed}/{self.name}/{number}")))
