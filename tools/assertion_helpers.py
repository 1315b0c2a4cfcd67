# SPDX-License-Identifier: GPL-2.0-only
"""Helpers of claims: which functions below kvmtests/ a test function reaches, found in the source.

An assertion in a helper counts as tried if it fails in any claim that reaches it. Names are followed as
Python would: to the module itself, to what it imports, to methods of its classes, and to fixtures of its
conftest.py. A name that means two helpers reaches both.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

CLAIMS = "kvmtests"
Place = tuple[str, str]
"""A module's path from the root, and the name of a function, class or table at its top."""


def claims_by_function(root: Path) -> dict[str, frozenset[str]]:
    """Return the test functions below *root*/kvmtests that reach each function there, or are it.

    All are "module::function".
    """
    modules = {
        path.relative_to(root).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted((root / CLAIMS).rglob("*.py"))
    }
    graph = {place: called for module in modules for place, called in _calls(module, modules)}
    claims: defaultdict[str, set[str]] = defaultdict(set)
    for place in graph:
        if place[1].startswith("test_"):
            for found in _closure(place, graph):
                claims["::".join(found)].add("::".join(place))
    return {function: frozenset(of) for function, of in claims.items()}


def _calls(module: str, modules: Mapping[str, ast.Module]) -> Iterator[tuple[Place, set[Place]]]:
    """Yield each place of *module* with those that its names may mean."""
    names = _names(module, modules)
    always = {place for place in names.values() if _is_autouse(place, modules)}
    for statement in modules[module].body:
        called = always | {names[said] for said in _said(statement) & names.keys()}
        for name in _defined(statement):
            yield (module, name), called


def _names(module: str, modules: Mapping[str, ast.Module]) -> dict[str, Place]:
    """Return the places below kvmtests/ that names mean in *module*."""
    found: dict[str, Place] = {}
    conftest = f"{module.rpartition('/')[0]}/conftest.py"
    for defining in (conftest, module):
        for statement in modules[defining].body if defining in modules else ():
            found |= {name: (defining, name) for name in _defined(statement)}
            if isinstance(statement, ast.ImportFrom):
                found |= _imported(statement, modules)
    return found


def _defined(statement: ast.stmt) -> list[str]:
    """Return the names of the function, class or tables that *statement* defines."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        return [target.id for target in targets if isinstance(target, ast.Name)]
    return []


def _imported(statement: ast.ImportFrom, modules: Mapping[str, ast.Module]) -> dict[str, Place]:
    """Return what *statement* brings in; for "from package import module" every name of that module."""
    source = (statement.module or "").replace(".", "/")
    found: dict[str, Place] = {}
    for alias in statement.names:
        if f"{source}.py" in modules:
            found[alias.asname or alias.name] = (f"{source}.py", alias.name)
        elif f"{source}/{alias.name}.py" in modules:
            found |= _names(f"{source}/{alias.name}.py", modules)
    return found


def _is_autouse(place: Place, modules: Mapping[str, ast.Module]) -> bool:
    return any(
        getattr(statement, "name", "") == place[1] and "autouse=True" in ast.unparse(mark)
        for statement in modules[place[0]].body
        for mark in getattr(statement, "decorator_list", [])
    )


def _said(statement: ast.stmt) -> set[str]:
    """Return all names in *statement*: also those of attributes and arguments, which fixtures have."""
    said: set[str] = set()
    for node in ast.walk(statement):
        if isinstance(node, ast.Name):
            said.add(node.id)
        elif isinstance(node, ast.Attribute):
            said.add(node.attr)
        elif isinstance(node, ast.arg):
            said.add(node.arg)
    return said


def _closure(start: Place, graph: Mapping[Place, set[Place]]) -> set[Place]:
    found, waiting = {start}, [start]
    while waiting:
        new = graph.get(waiting.pop(), set()) - found
        found |= new
        waiting += new
    return found
