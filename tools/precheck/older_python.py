# SPDX-License-Identifier: GPL-2.0-only
"""Source of this tree (Python 3.11) as Python 3.9 runs it: few forms, exchanged in place.

Only text is exchanged, so comments and lines stay where they are and every Python that builds the
bundle writes the same bytes. What is not understood is refused here, not on an operator's host.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

OLDEST = (3, 9)

_SINCE_3_10 = {"slots", "kw_only"}  # of dataclass(); the first saves memory, the second guards callers
_ANNOTATIONS_ONLY = {"Self"}  # of typing, since 3.11; annotations are never evaluated
_REFUSED = {
    "contextlib": {"chdir"},
    "datetime": {"UTC"},
    "itertools": {"batched", "pairwise"},
    "typing": {"LiteralString", "ParamSpec", "TypeAlias", "TypeGuard", "assert_never", "override"},
}
"""Names that Python 3.9 does not have, by module; tests under 3.9 find those that this forgets."""

SHIM = "str_enum.py"
SHIM_SOURCE = """\
# SPDX-License-Identifier: GPL-2.0-only
\"\"\"enum.StrEnum, which Python has since 3.11, for older ones.\"\"\"

import enum


class StrEnum(str, enum.Enum):
    __str__ = str.__str__
    __format__ = str.__format__
"""
"""A module next to the program's start, for what no exchange of text makes."""
_SAME_HERE = {"ctypes.LittleEndianUnion": "ctypes.Union"}  # since 3.11; the same on x86 and arm64
_TYPES = {"str", "int", "bool", "float", "bytes", "None"}


class CannotLower(Exception):
    """A module uses something that Python 3.9 does not have; the message says where."""


class Edit(NamedTuple):
    """Bytes of a source, and what stands there instead."""

    start: int
    end: int
    text: str


def lower(source: str, name: str) -> str:
    """Return *source*, the module *name*, for `OLDEST`; `CannotLower`."""
    tree = ast.parse(source)
    data = source.encode()
    lines = _Lines(data, name)
    edits = [edit for node in ast.walk(tree) for edit in _edits(node, lines)]
    edits += [edit for node in tree.body for edit in _alias(node, lines)]
    for edit in sorted(edits, reverse=True):
        data = data[: edit.start] + edit.text.encode() + data[edit.end :]
    lowered = data.decode()
    try:
        ast.parse(lowered, feature_version=OLDEST)
    except SyntaxError as error:
        raise CannotLower(f"{name}, line {error.lineno}: {error.msg}") from None
    return lowered


class _Lines:
    """Where lines of a source begin, to find a node's bytes."""

    def __init__(self, data: bytes, name: str) -> None:
        self.data = data
        self.name = name
        self._starts = [0]
        for line in data.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))

    def replaced(self, node: ast.expr | ast.stmt, text: str) -> Edit:
        """Return the edit that puts *text* in the place of *node*."""
        start, end = self._span(node)
        return Edit(start, end, text)

    def text(self, node: ast.expr | ast.keyword) -> str:
        """Return the source of *node*."""
        start, end = self._span(node)
        return self.data[start:end].decode()

    def _span(self, node: ast.expr | ast.stmt | ast.keyword) -> tuple[int, int]:
        assert node.end_lineno is not None, "a parsed node has its place"
        assert node.end_col_offset is not None, "a parsed node has its place"
        start = self._starts[node.lineno - 1] + node.col_offset
        return start, self._starts[node.end_lineno - 1] + node.end_col_offset


def _edits(node: ast.AST, lines: _Lines) -> Iterator[Edit]:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        yield from _call(node, node.func.id, lines)
    elif isinstance(node, ast.Attribute) and lines.text(node) in _SAME_HERE:
        yield lines.replaced(node, _SAME_HERE[lines.text(node)])
    elif isinstance(node, ast.ImportFrom):
        yield from _import(node, lines)


def _import(node: ast.ImportFrom, lines: _Lines) -> Iterator[Edit]:
    names = {alias.name for alias in node.names}
    if missing := names & _REFUSED.get(node.module or "", set()):
        raise CannotLower(f"{lines.name}, line {node.lineno}: Python 3.9 has no {', '.join(sorted(missing))}")
    if node.module == "enum" and names == {"StrEnum"}:
        yield lines.replaced(node, f"from {SHIM.removesuffix('.py')} import StrEnum")
    if node.module == "typing":
        kept = [alias for alias in node.names if alias.name not in _ANNOTATIONS_ONLY]
        if len(kept) < len(node.names):
            rest = ", ".join(ast.unparse(alias) for alias in kept)
            yield lines.replaced(node, f"from typing import {rest}" if kept else "pass")


def _call(node: ast.Call, function: str, lines: _Lines) -> Iterator[Edit]:
    if function == "dataclass":
        kept = [keyword for keyword in node.keywords if keyword.arg not in _SINCE_3_10]
        if len(kept) < len(node.keywords):
            yield lines.replaced(node, f"dataclass({', '.join(lines.text(keyword) for keyword in kept)})")
    elif function == "isinstance" and isinstance(node.args[1], ast.BinOp):
        types = ", ".join(lines.text(leaf) for leaf in _leaves(node.args[1]))
        yield lines.replaced(node.args[1], f"({types})")
    elif function == "zip" and node.keywords:
        raise CannotLower(f"{lines.name}, line {node.lineno}: zip() has no strict= before Python 3.10")


def _alias(node: ast.stmt, lines: _Lines) -> Iterator[Edit]:
    """Quote a module's union of types, which only annotations use."""
    if isinstance(node, ast.Assign) and isinstance(node.value, ast.BinOp):
        leaves = _leaves(node.value)
        if any(isinstance(leaf, ast.Subscript) or lines.text(leaf) in _TYPES for leaf in leaves):
            yield lines.replaced(node.value, repr(" ".join(lines.text(node.value).split())))


def _leaves(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return [*_leaves(node.left), *_leaves(node.right)]
    return [node]
