# SPDX-License-Identifier: GPL-2.0-only
"""What a module of this tree needs: itself, all that it imports, and their packages."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path


class NotSelfContained(Exception):
    """A module needs something that is neither ours nor of the standard library."""


def closure(root: Path, entry: str) -> dict[str, Path]:
    """Return the file of each module that *entry* needs, by name; the tree's folder is *root*.

    Imports inside functions count, those for the type checker do not.
    """
    found: dict[str, Path] = {}
    waiting = [entry]
    while waiting:
        name = waiting.pop()
        path = _path(root, name)
        if path is None or name in found:
            continue
        found[name] = path
        waiting += [name.rpartition(".")[0], *_imported(root, name, path)]
    return dict(sorted(found.items()))


def _path(root: Path, name: str) -> Path | None:
    base = root.joinpath(*name.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if name and path.is_file():
            return path
    return None


def _imported(root: Path, name: str, path: Path) -> Iterator[str]:
    """Yield the modules of this tree that *name* imports, and names that may be some."""
    for node in _effective(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            raise NotSelfContained(f"{name} imports relatively; name the module in full")
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [node.module or ""]
            if _path(root, node.module or ""):
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
        else:
            continue
        for module in modules:
            if _path(root, module):
                yield module
            elif module.partition(".")[0] not in sys.stdlib_module_names:
                raise NotSelfContained(f"{name} imports {module}, which is not in the standard library")


def _effective(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield all nodes below *tree* except what stands under `if TYPE_CHECKING`."""
    for child in ast.iter_child_nodes(tree):
        if (
            isinstance(child, ast.If)
            and isinstance(child.test, ast.Name)
            and child.test.id == "TYPE_CHECKING"
        ):
            continue
        yield child
        yield from _effective(child)
