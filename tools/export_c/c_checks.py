# SPDX-License-Identifier: GPL-2.0-only
"""What a claim checks, and what decided how its run continued, as C."""

from __future__ import annotations

import json
from collections.abc import Callable

from tools.export_c.c_expressions import condition, is_plain, operands, word
from tools.export_c.events import Assumption, CheckEvent
from tools.export_c.expressions import (
    Compare,
    Every,
    Expression,
    InWindow,
    Not,
    SameBytes,
    Some,
    StepValue,
)

Name = Callable[[StepValue], str]


def check(event: CheckEvent, name: Name) -> str:
    """Return the statement that fails the program where the condition of *event* does not hold."""
    source = _string(" ".join(event.text.split()))
    match event.condition:
        case InWindow(value, first, last):
            return f"check_window({word(value, name)}, {word(first, name)}, {word(last, name)});"
        case Compare(operator, left, right) if not _has_condition(left, right):
            function = "check" if is_plain(left, right) else "check_wide"
            one, other = operands(left, right, name)
            return f"{function}({one}, {operator}, {other}, {source});"
        case SameBytes(left, right, size):
            other = name(right) if isinstance(right, StepValue) else _bytes(right)
            return f"check_bytes({name(left)}, {other}, {size}, {source});"
    return f"check_that({condition(event.condition, name)}, {source});"


def assumption(event: Assumption, missing: str, name: Name) -> str:
    """Return the statement that skips where the condition of *event* is not as it was recorded.

    *missing* is the capability that it looks for, "" where it looks for something else.
    """
    wanted = event.condition if event.holds else Not(event.condition)
    if missing:
        return f"assume({condition(wanted, name)}, {_string(missing)});"
    return f"as_recorded({condition(wanted, name)});"


def _bytes(value: bytes) -> str:
    return '"' + "".join(f"\\x{byte:02x}" for byte in value) + '"'


def _has_condition(*expressions: Expression) -> bool:
    return any(isinstance(one, Compare | InWindow | Every | Some | Not) for one in expressions)


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=True)
