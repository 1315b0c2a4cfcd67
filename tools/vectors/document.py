# SPDX-License-Identifier: GPL-2.0-only
"""The vectors file: classes, methods, and one line for each vector."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from tools.vectors import (
    arm64_elapsed,
    arm64_kept_offset,
    arm64_offset,
    arm64_value,
    deadlines,
    leap_second,
    set_clock,
    value_writes,
    x86_offset,
    x86_ratio,
    x86_scaled,
)
from tools.vectors.classes import CLASSES
from tools.vectors.model import Method, Values, Vector

FORMAT, VERSION = "kvmtests-vectors", 1
SEED = 20210716  # the day of the series
DRAWN = 1000  # of each method

METHODS = (
    x86_offset.METHOD,
    x86_ratio.METHOD,
    x86_scaled.METHOD,
    set_clock.METHOD,
    leap_second.METHOD,
    value_writes.METHOD,
    deadlines.METHOD,
    arm64_offset.METHOD,
    arm64_kept_offset.METHOD,
    arm64_value.METHOD,
    arm64_elapsed.METHOD,
)

# What fits the 53 bits of a JSON reader's double is a number; all else is a string of digits.
_NUMBERS = re.compile(r"(.*_(khz|hz|bits|s)|vcpu|flags|user_set|matched)\Z")


def lines(seed: int = SEED, drawn: int = DRAWN) -> Iterator[str]:
    """Yield the file's lines, which are the same for the same *seed* and *drawn* on every computer."""
    yield "{"
    head = {
        "format": FORMAT,
        "version": VERSION,
        "seed": seed,
        "classes": CLASSES,
        "methods": {method.name: described(method) for method in METHODS},
    }
    for key, value in head.items():
        yield f"{json.dumps(key)}: {json.dumps(value, indent=1, ensure_ascii=True)},"
    yield '"vectors": ['
    texts = [
        json.dumps(solved(method, vector), separators=(",", ":"))
        for method in METHODS
        for vector in method.vectors(seed, drawn)
    ]
    yield ",\n".join(texts)
    yield "]"
    yield "}"


def described(method: Method) -> dict[str, object]:
    """Return what the file says of *method* and its shortcuts."""
    return {
        "sentence": method.sentence,
        "formula": method.formula,
        "source": method.source,
        "inputs": method.inputs,
        "answers": method.outputs,
        "judged": method.judged,
        "unit": method.unit,
        "guest_sign": method.guest_sign,
        "frequency": method.frequency,
        "ticks_per_second_of_one": method.per_second,
        "width": method.width or None,
        "shortcuts": {
            shortcut.name: {"class": shortcut.error_class, "sentence": shortcut.sentence}
            for shortcut in method.shortcuts
        },
    }


def solved(method: Method, vector: Vector) -> dict[str, object]:
    """Return a vector with its answers and with each shortcut's error."""
    answers = method.answers(vector.values)
    exact = answers[method.judged]
    errors = {shortcut.name: method.error(shortcut, vector.values, exact) for shortcut in method.shortcuts}
    return {
        "id": vector.name,
        "method": method.name,
        **({"sentence": vector.sentence} if vector.sentence else {}),
        "input": _encoded(vector.values),
        "answer": _encoded(answers),
        "errors": {name: {"ticks": str(one.ticks), "ns": str(one.ns)} for name, one in errors.items()},
    }


def _encoded(values: Values) -> Mapping[str, int | str]:
    return {name: value if _NUMBERS.match(name) else str(value) for name, value in values.items()}
