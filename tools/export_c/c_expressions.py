# SPDX-License-Identifier: GPL-2.0-only
"""Expressions as C: in uint64_t where that is exact or meant, otherwise in 128 bits."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tools.export_c.c_literals import SMALL, literal
from tools.export_c.expressions import (
    WORD,
    Binary,
    Compare,
    Constant,
    Every,
    Expression,
    Extreme,
    HowMany,
    InWindow,
    Kvmclock,
    LoadedWord,
    Not,
    SameBytes,
    Signed,
    Some,
    StepValue,
    Unary,
    interval,
)
from tools.export_c.refusal import NotExportable

Name = Callable[[StepValue], str]

_BITS = 64


def word(expression: Expression, name: Name) -> str:
    """Return *expression* modulo 2**64, as C of type uint64_t, or a constant that becomes one."""
    match expression:
        case Constant(value):
            return literal(value % WORD)
        case Signed(of):
            return word(of, name)
        case Unary("-", of):
            return f"(0 - {word(of, name)})"
        case Unary("~", of):
            return f"~{word(of, name)}"
        case Binary():
            modular = _modular(expression, name)
            if modular is not None:
                return modular
    low, high = interval(expression)
    text = exact(expression, name)
    return text if low >= 0 and high < WORD else f"(uint64_t){text}"


def _modular(expression: Binary, name: Name) -> str | None:
    """Return *expression* modulo 2**64 where uint64_t computes it, None for operators that need more."""
    wrapped = _wrapped(expression)
    if wrapped is not None:
        return word(wrapped, name)
    match expression:
        case Binary("+" | "-" as operator, left, Constant(value)):
            return _moved(word(left, name), value if operator == "+" else -value)
        case Binary("+", Constant(value), right):
            return _moved(word(right, name), value)
        case Binary("+" | "-" | "*" as operator, left, right):
            return f"({word(left, name)} {operator} {word(right, name)})"
        case Binary("<<", left, Constant(value)) if value < _BITS:
            return f"({word(left, name)} << {value})"
    return None


def _wrapped(expression: Expression) -> Expression | None:
    """Return what *expression* takes modulo 2**64, None if it does something else."""
    match expression:
        case Binary("%", left, Constant(value)) if value == WORD:
            return left
        case Binary("&", left, Constant(value)) if value == WORD - 1:
            return left
    return None


def _moved(text: str, distance: int) -> str:
    distance %= WORD
    if distance == 0:
        return text
    if distance > SMALL:
        return f"({text} - {literal(WORD - distance)})"
    return f"({text} + {literal(distance)})"


def exact(expression: Expression, name: Name) -> str:
    """Return the value of *expression* as C: of type uint64_t, int64_t or wide, whichever holds it."""
    match expression:
        case Constant(value):
            return literal(value)
        case StepValue():
            return _leaf(expression, name)
        case Binary(operator, left, right):
            wrapped = _wrapped(expression)
            return word(wrapped, name) if wrapped else _binary(operator, left, right, expression, name)
        case Unary("abs", of):
            return f"absolute({exact(of, name)})"
        case Unary(operator, of):
            return f"{operator}(wide){exact(of, name)}"
        case Signed(of):
            return f"(int64_t){word(of, name)}"
        case Extreme(kind, of):
            return _extreme(kind, [exact(one, name) for one in of])
    return _function(expression, name) or f"({condition(expression, name)})"


def _function(expression: Expression, name: Name) -> str | None:
    """Return the call of the runtime that computes *expression*; None where no function of it does."""
    match expression:
        case LoadedWord(first, size):
            return f"load((const uint8_t *)&{name(first)}, {size})"
        case Kvmclock(tsc, record):
            return f"pvclock_ns(&{name(record).rpartition('.')[0]}, {word(tsc, name)})"
        case HowMany(first, count, value):
            row = f"&{name(first)}" if first.index else name(first).partition("[")[0]
            return f"how_many({row}, {word(count, name)}, {literal(value)})"
    return None


def _extreme(kind: str, texts: Sequence[str]) -> str:
    found, *others = texts
    for one in others:
        found = f"{kind}imum({found}, {one})"
    return found


_DIVISIONS = {"//": "floor_div", "%": "floor_mod"}


def _binary(operator: str, left: Expression, right: Expression, whole: Expression, name: Name) -> str:
    one, other = exact(left, name), exact(right, name)
    bounds = [interval(part) for part in (left, right, whole)]
    fits = all(low >= 0 and high < WORD for low, high in bounds)
    if operator in _DIVISIONS:
        if min(bounds[0][0], bounds[1][0]) < 0:
            return f"{_DIVISIONS[operator]}({one}, {other})"
        operator = operator[0]
    if fits:
        if isinstance(left, Constant):
            one = f"(uint64_t){one}"
        return f"({one} {operator} {other})"
    if operator == "<<" and isinstance(left, StepValue | Constant):
        return f"((wide){one} << {other})"
    return f"({_widened(one)}{one} {operator} {other})"


def _widened(text: str) -> str:
    """Return the cast that makes *text* 128 bits wide, nothing where its first operand is so already."""
    return "" if text.lstrip("(").startswith("wide)") else "(wide)"


def _leaf(leaf: StepValue, name: Name) -> str:
    text = name(leaf)
    if leaf.bits == _BITS:
        return text
    return f"({'' if leaf.signed else 'u'}int64_t){text}"


_INVERSE = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}


def condition(expression: Expression, name: Name) -> str:
    """Return *expression* as a C condition."""
    match expression:
        case Not(of=of):
            return _negated(of, name)
        case Compare(operator, left, right):
            return _comparison(operator, left, right, name)
        case InWindow(value, first, last):
            return f"in_window({word(value, name)}, {word(first, name)}, {word(last, name)})"
        case Every(of):
            return " && ".join(f"({condition(one, name)})" for one in of) or "true"
        case Some(of):
            return " || ".join(f"({condition(one, name)})" for one in of) or "false"
        case SameBytes():
            raise NotExportable("it decides by the bytes of guest memory how to continue")
    return exact(expression, name)


def _negated(expression: Expression, name: Name) -> str:
    match expression:
        case Compare(operator, left, right) if not _is_condition(left):
            return condition(Compare(_INVERSE[operator], left, right), name)
        case Not(of=of):
            return condition(of, name)
    return f"!({condition(expression, name)})"


def _is_condition(expression: Expression) -> bool:
    return isinstance(expression, Compare | InWindow | Every | Some | Not)


def _comparison(operator: str, left: Expression, right: Expression, name: Name) -> str:
    if _is_condition(left):
        other = condition(right, name) if _is_condition(right) else exact(right, name)
        return f"({condition(left, name)}) {operator} ({other})"
    one, other = operands(left, right, name)
    if operator == "!=" and right == Constant(0) and isinstance(left, Binary) and left.operator == "&":
        return one
    return f"{'' if is_plain(left, right) else _widened(one)}{one} {operator} {other}"


def is_plain(*operands: Expression) -> bool:
    """Return whether C compares *operands* as Python does: none is negative, all are below 2**64."""
    bounds = [bound for one in operands for bound in interval(one)]
    return min(bounds) >= 0 and max(bounds) < WORD


def operands(left: Expression, right: Expression, name: Name) -> tuple[str, str]:
    """Return *left* and *right* as the two sides of a comparison: each of any type that holds it."""
    return _operand(left, right, name), _operand(right, left, name)


def _operand(expression: Expression, other: Expression, name: Name) -> str:
    match expression:
        # What a call returned is a long, which compilers do not like next to a uint64_t.
        case StepValue(member="result") if not isinstance(other, Constant):
            pass
        case StepValue(signed=False):
            return name(expression)
    return _without_parentheses(exact(expression, name))


def _without_parentheses(text: str) -> str:
    """Return *text* without the parentheses around all of it, where a comparison needs none."""
    if not text.startswith("(") or any(operator in text for operator in ("&", "|", "^", "<<", ">>", "?")):
        return text
    depth = 0
    for at, letter in enumerate(text):
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if depth == 0:
            return text[1:-1] if at == len(text) - 1 else text
    return text
