# SPDX-License-Identifier: GPL-2.0-only
"""The assertions of the claims, found in the source.

These are each `assert`, each call that KVM must refuse, each raise of an error that says what KVM broke, and
each call of a fixture that compares with a simulated counterpart.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tools.assertion_helpers import CLAIMS, claims_by_function

_REFUSALS = frozenset({"refused", "raises"})  # fixtures.kvm.expect.refused() and pytest.raises()
_ERRORS = frozenset({"OutsideWindow", "PromiseBroken"})  # AssertionErrors with words of their own
_COMPARISONS = frozenset({"agree"})  # the fixture of fixtures.plugins.agreement


@dataclass(frozen=True, slots=True)
class Assertion:
    """One statement of a claim, or of a helper of claims, that fails if a fact does not hold."""

    module: str  # path from the root
    function: str  # the outermost one; "" outside of functions
    text: str  # as Python writes it, in one line; a number follows where a function says it again
    first: int  # lines of the module
    last: int
    claims: frozenset[str] = frozenset()  # the test functions that reach it, each "module::function"

    @property
    def place(self) -> str:
        """Its function, "module::function": a test function, or a helper of some."""
        return f"{self.module}::{self.function}"

    @property
    def name(self) -> str:
        """What identifies it for as long as it says the same: "module::function: text"."""
        return f"{self.place}: {self.text}"


def assertions(root: Path) -> tuple[Assertion, ...]:
    """Return all assertions below *root*/kvmtests, by module and line."""
    claims = claims_by_function(root)
    return tuple(
        replace(found, claims=claims.get(found.place, frozenset()))
        for path in sorted((root / CLAIMS).rglob("*.py"))
        for found in of_module(path.relative_to(root).as_posix(), path.read_text(encoding="utf-8"))
    )


def of_module(module: str, source: str) -> Iterator[Assertion]:
    """Yield the assertions in *source*, the text of *module*."""
    for outermost in ast.parse(source).body:
        function = getattr(outermost, "name", "")
        said: Counter[str] = Counter()
        for text, first, last in sorted(_statements(outermost), key=lambda statement: statement[1]):
            said[text] += 1
            again = f" ({said[text]})" if said[text] > 1 else ""
            yield Assertion(module, function, text + again, first, last)


def _statements(outermost: ast.stmt) -> Iterator[tuple[str, int, int]]:
    """Yield text, first and last line of each assertion in *outermost*."""
    for node in ast.walk(outermost):
        if isinstance(node, ast.Assert):
            yield ast.unparse(node.test), node.lineno, node.end_lineno or node.lineno
        elif (isinstance(node, ast.Raise) and _called(node.exc) in _ERRORS) or (
            isinstance(node, ast.Expr) and _called(node.value) in _COMPARISONS
        ):
            yield ast.unparse(node), node.lineno, node.end_lineno or node.lineno
        elif isinstance(node, ast.With):
            for item in node.items:
                call = item.context_expr
                if _called(call) in _REFUSALS:
                    does = "; ".join(map(ast.unparse, node.body))
                    yield f"{ast.unparse(call)}: {does}", node.lineno, call.end_lineno or node.lineno


def _called(node: ast.expr | None) -> str:
    """Return the name of what *node* calls, without what it is a member of; "" if it is not a call."""
    return ast.unparse(node.func).rpartition(".")[2] if isinstance(node, ast.Call) else ""


def at(places: Iterable[Assertion], module: str, line: int) -> Assertion | None:
    """Return the one of *places* that spans *line* of *module*, or None."""
    spanning = (place for place in places if place.module == module and place.first <= line <= place.last)
    return next(spanning, None)
