# SPDX-License-Identifier: GPL-2.0-only
"""Compiles claims and the harness so that reads, writes, calls and checks go through `hooks`.

As pytest rewrites the assertions of tests, this rewrites functions while their modules are
imported: `x.a` becomes `read_member(x, "a")`, and so on. What a function does stays the same; the
hooks see where its numbers come from. Nothing is rewritten in any other process.
"""

from __future__ import annotations

import ast
import copy
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType
from typing import Any, TypeVar

ROOMS = ("kvmtests", "fixtures.kvm", "fixtures.migration", "fixtures.restore")
"""The modules that read what KVM and guests left, and compute with it."""

_APART = ("fixtures.kvm.cpus", "fixtures.kvm.watchdog", "fixtures.kvm.x86.cpuid")
"""One watches over time that passes, and reads nothing. The other ones' calls are steps as a whole."""

HOOKS = "_export_c_hooks"
"""The name under which rewritten modules know `hooks`."""

_COMPARISONS = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.In: "in",
    ast.NotIn: "not in",
}

_CHECKS = frozenset({"AssertionError", "OutsideWindow"})
"""What helpers of claims raise where a check fails."""

Node = TypeVar("Node", bound=ast.AST)


def install() -> None:
    """Rewrite the modules of `ROOMS` that are imported from now on.

    RuntimeError if one of them was imported before.
    """
    early = [name for name in sys.modules if _concerns(name)]
    if early:
        raise RuntimeError(f"{early[0]} was imported before its reads could be followed")
    sys.meta_path.insert(0, _Finder())


def _concerns(name: str) -> bool:
    return name not in _APART and any(name == room or name.startswith(f"{room}.") for room in ROOMS)


class _Finder(MetaPathFinder):
    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not _concerns(name):
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = Loader(name, spec.loader.path)
        return spec


class Loader(SourceFileLoader):
    """Compiles a module as rewritten; no bytecode is kept."""

    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002 - the loader is of one module
        """Return the rewritten code of the module."""
        source = self.get_data(self.path).decode("utf-8")
        return compile(rewritten(source, self.path), self.path, "exec", dont_inherit=True)

    def exec_module(self, module: ModuleType) -> None:
        """Run the module with `hooks` in its globals."""
        from tools.export_c import hooks

        vars(module)[HOOKS] = hooks
        super().exec_module(module)


def rewritten(source: str, path: str) -> ast.Module:
    """Return the syntax tree of *source* with the bodies of its functions rewritten."""
    tree = ast.parse(source, path)
    _Modules(source).visit(tree)
    return ast.fix_missing_locations(tree)


class _Modules(ast.NodeTransformer):
    """Finds the bodies of functions: everything else runs once, at import, and stays as it is."""

    def __init__(self, source: str) -> None:
        self._bodies = _Bodies(source)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.body = self._bodies.statements(node.body)
        return node

    def visit_Lambda(self, node: ast.Lambda) -> ast.Lambda:
        node.body = self._bodies.visit(node.body)
        return node


class _Bodies(ast.NodeTransformer):
    def __init__(self, source: str) -> None:
        self._source = source

    def statements(self, body: list[ast.stmt]) -> list[ast.stmt]:
        return [self.visit(statement) for statement in body]

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.body = self.statements(node.body)
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AnnAssign:
        if node.value is not None:
            node.value = self.visit(node.value)
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        node = self._deeper(node)
        if not isinstance(node.ctx, ast.Load) or node.attr.startswith("__"):
            return node
        return _hook("read_member", node, node.value, ast.Constant(node.attr))

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        node = self._deeper(node)
        if not isinstance(node.ctx, ast.Load):
            return node
        return _hook("read_item", node, node.value, _index(node.slice))

    def visit_Set(self, node: ast.Set) -> ast.AST:
        node = self._deeper(node)
        return _hook("set_of", node, ast.copy_location(ast.List(node.elts, ast.Load()), node))

    def visit_ListComp(self, node: ast.ListComp) -> ast.AST:
        node = self._deeper(node)
        match node.generators:
            case [ast.comprehension(ast.Name(name), values, ifs, 0)] if not _binds_names(node):
                parameter = ast.arguments([], [ast.arg(name)], None, [], [], None, [])
                thunks = [ast.Lambda(parameter, node.elt)]
                if ifs:
                    test = ast.BoolOp(ast.And(), ifs) if len(ifs) > 1 else ifs[0]
                    thunks.append(ast.Lambda(parameter, test))
                return _hook("chosen", node, values, *thunks)
        return node

    def visit_SetComp(self, node: ast.SetComp) -> ast.AST:
        node = self._deeper(node)
        return _hook("set_of", node, ast.copy_location(ast.ListComp(node.elt, node.generators), node))

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if isinstance(node.func, ast.Name) and node.func.id == "super":
            return node  # it looks at the frame that calls it
        node = self._deeper(node)
        call = _hook("call", node, node.func, *node.args)
        call.keywords = node.keywords
        return call

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        node = self._deeper(node)
        operators = [_COMPARISONS.get(type(one)) for one in node.ops]
        if None in operators:
            return node
        names = ast.Tuple([ast.Constant(one) for one in operators], ast.Load())
        return _hook("compare", node, names, node.left, *node.comparators)

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        node = self._deeper(node)
        if len(node.targets) != 1:
            return node
        match node.targets[0]:
            case ast.Attribute(value=owner, attr=name) if not name.startswith("__"):
                return _statement(_hook("write_member", node, owner, ast.Constant(name), node.value))
            case ast.Subscript(value=owner, slice=index):
                return _statement(_hook("write_item", node, owner, _index(index), node.value))
        return node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        target = node.target
        if isinstance(target, ast.Name):
            return self._deeper(node)
        read = copy.deepcopy(target)
        read.ctx = ast.Load()
        value = ast.copy_location(ast.BinOp(read, node.op, node.value), node)
        return self.visit(ast.copy_location(ast.Assign([target], value), node))  # type: ignore[no-any-return]

    def visit_If(self, node: ast.If) -> ast.AST:
        match node.body:
            case [ast.Raise(exc=ast.Call(func=ast.Name(id=name)))] if name in _CHECKS and not node.orelse:
                return self._check(node, ast.UnaryOp(ast.Not(), node.test), node.test)
        return self._deeper(node)

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        return self._check(node, node.test, node.test)

    def _check(self, node: ast.stmt, test: ast.expr, shown: ast.expr) -> ast.AST:
        text = ast.get_source_segment(self._source, shown) or ast.unparse(shown)
        where = [ast.Constant(text), ast.Constant(node.lineno)]
        return _statement(_hook("check", node, self._condition(test), *where))

    def _condition(self, test: ast.expr) -> ast.expr:
        match test:
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return _hook("negated", test, self._condition(operand))
            case ast.BoolOp(op=operator, values=values):
                # Lazily, as Python does: what comes later may make no sense without what comes first.
                name = "every_of" if isinstance(operator, ast.And) else "some_of"
                arguments = ast.arguments([], [], None, [], [], None, [])
                thunks = [ast.Lambda(arguments, self._condition(one)) for one in values]
                return _hook(name, test, *thunks)
        visited = self.visit(test)
        assert isinstance(visited, ast.expr)
        return visited

    def _deeper(self, node: Node) -> Node:
        visited = self.generic_visit(node)
        assert isinstance(visited, type(node))
        return visited


def _hook(name: str, place: ast.AST, *arguments: ast.expr) -> ast.Call:
    function = ast.Attribute(ast.Name(HOOKS, ast.Load()), name, ast.Load())
    return ast.copy_location(ast.Call(function, list(arguments), []), place)


def _binds_names(node: ast.AST) -> bool:
    """Return whether an assignment expression in *node* binds a name."""
    return any(isinstance(one, ast.NamedExpr) for one in ast.walk(node))


def _statement(call: ast.Call) -> ast.stmt:
    return ast.copy_location(ast.Expr(call), call)


def _index(index: ast.expr) -> ast.expr:
    if not isinstance(index, ast.Slice):
        return index
    ends: list[Any] = [end or ast.Constant(None) for end in (index.lower, index.upper, index.step)]
    return ast.Call(ast.Name("slice", ast.Load()), ends, [])
