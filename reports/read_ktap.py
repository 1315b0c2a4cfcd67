# SPDX-License-Identifier: GPL-2.0-only
"""The reader of KTAP and TAP: our own files, kselftest runner logs, console logs.

It takes nested documents, documents after the runner's ``# `` (to any depth), result lines
of the runner before and after its 2026 rework (``ok 1 selftests: d: p`` and
``ok 1 1 selftests: d: p``), several documents in a row, kernel time stamps, and anything else
as noise. Nothing raises.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from . import merge, names
from .ktap import MARKS, NOT_RUN_MARK
from .model import LOCAL, ReportTarget, Result, ResultEnding, Run, Verdict
from .text import clean, cut_line, one_line, strip

_VERSION = re.compile(r"K?TAP version \d+\s*\Z")
_PLAN = re.compile(r"1\.\.(\d{1,9})(?:\s*#\s*SKIP\b\s*(.*))?\s*\Z", re.IGNORECASE)
_RESULT = re.compile(r"(not )?ok\b(?: (\d{1,9})\b)?(?: -(?= ))?[ \t]*(.*)\Z")
_DIRECTIVE = re.compile(r"\s*#\s*(SKIP|XFAIL|XPASS|TODO|TIMEOUT|ERROR)\b:?\s*(.*)\Z", re.IGNORECASE)
_SUBTEST = re.compile(r"# Subtest: (.*)\Z")
_BAIL = re.compile(r"Bail out!\s*(.*)\Z")
_STAMP = re.compile(r"(?:<\d>)?\[ *\d+\.\d{6}\](?:\[ *[TC]\d+\])? ?")
_RUNNER = re.compile(r"(?:\d+ )?selftests: (.+)\Z")
_TOTALS = re.compile(r"Totals: pass:\d")

MISSING = "planned, but no result followed"

_MARKED = {mark: verdict for verdict, mark in MARKS.items()}
_VERDICTS = {
    (False, "SKIP"): Verdict.SKIP,
    (True, "SKIP"): Verdict.SKIP,
    (False, "XFAIL"): Verdict.XFAIL,
    (False, "TODO"): Verdict.XPASS,
    (True, "TODO"): Verdict.XFAIL,
    (False, "XPASS"): Verdict.XPASS,
    (True, "XPASS"): Verdict.XPASS,
    (True, "TIMEOUT"): Verdict.TIMEOUT,
    (True, "ERROR"): Verdict.ERROR,
}


@dataclass(slots=True)
class _Node:
    """One result line, and the results inside it."""

    name: str
    verdict: Verdict
    reason: str = ""
    log: list[str] = field(default_factory=list)
    inner: list[_Node] = field(default_factory=list)
    missing: bool = False
    strict: bool = False

    @property
    def bad(self) -> bool:
        """Whether the line makes the run fail."""
        return self.verdict.bad or self.strict


@dataclass(slots=True)
class _Document:
    """One document while its lines come in; *depth* is where its lines begin."""

    depth: int
    results: list[_Node] = field(default_factory=list)
    planned: int | None = None
    log: list[str] = field(default_factory=list)
    inner: list[_Node] = field(default_factory=list)
    marked: Verdict | None = None


def parse(text: str, target: str = LOCAL) -> Run:
    """Return the results in *text*.

    The outermost level of a KTAP file with three levels is taken for targets and the next
    for subjects. In any other file the tests are *target*'s, and what encloses them is the
    subject.
    """
    problems: list[str] = []
    roots = _read(clean(strip(text)).split("\n"), problems)
    leaves = list(_leaves(roots, ()))
    three = bool(leaves) and all(len(path) >= 3 for path, _ in leaves) and not _has_runner(roots)
    results = [_result(path, node, target, three=three) for path, node in leaves]
    targets = {result.target: ReportTarget(result.target) for result in results}
    ordered = merge.ordered(results, targets)
    if not roots:
        problems.append("no result line found")
    return Run((), tuple(targets.values()), tuple(names.distinct(ordered)), tuple(problems))


def _read(lines: Iterable[str], problems: list[str]) -> list[_Node]:
    """Return the nodes at the outermost level of *lines*."""
    roots: list[_Node] = []
    stack: list[_Document] = [_Document(0)]
    for raw in lines:
        line, depth = _strip(raw)
        _take(line, depth, stack, roots, problems)
    return [*roots, *_end(stack, problems)]


def _strip(raw: str) -> tuple[str, int]:
    """Return a line without stamp, indentation and runner's prefixes, and how deep it stands."""
    line = _STAMP.sub("", raw, count=1).rstrip()
    depth = 0
    while True:
        bare = line.lstrip(" ")
        depth += len(line) - len(bare)
        rest = bare.removeprefix("# ")
        # A comment hides a document only if what follows could be a line of one.
        if rest == bare or not _opens(rest.lstrip(" #")) or _SUBTEST.match(bare):
            return bare, depth
        depth += 2
        line = rest


def _opens(line: str) -> bool:
    return bool(_VERSION.match(line) or _PLAN.match(line) or _RESULT.match(line)) or line.startswith(
        ("Subtest: ", "Bail out!", "Totals: ")
    )


def _take(line: str, depth: int, stack: list[_Document], roots: list[_Node], problems: list[str]) -> None:
    if _VERSION.match(line):
        _enter(depth, stack, roots, problems)
        return
    plan, result = _PLAN.match(line), _RESULT.match(line)
    if plan and depth > stack[-1].depth:
        # A program that says only 1..0, or forgot its version line.
        stack.append(_Document(depth))
    if plan or result or _BAIL.match(line):
        _close(stack, depth, problems)
    top = stack[-1]
    if plan:
        top.planned = int(plan[1])
        if top.planned == 0:
            reason = one_line(plan[2] or "")
            top.results.append(_Node("collection", Verdict.SKIP, reason or "no test planned"))
    elif result and depth <= top.depth + 1:
        _add(result, top)
    elif bail := _BAIL.match(line):
        top.results.append(_Node("bail-out", Verdict.ERROR, one_line(bail[1]), top.log))
        top.log = []
    elif line.startswith("#:"):
        _mark(line, top)
    elif line and not _SUBTEST.match(line) and not _TOTALS.match(line.removeprefix("# ")):
        top.log.append(line.removeprefix("# ") if line.startswith("# ") else line)


def _mark(line: str, top: _Document) -> None:
    """Take a line of metadata, as KTAP version 2 drafts them, if it is one of ours."""
    if line in _MARKED:
        top.marked = _MARKED[line]
    elif line.startswith(NOT_RUN_MARK):
        top.results.append(_Node(one_line(line.removeprefix(NOT_RUN_MARK)), Verdict.NOT_RUN))


def _enter(depth: int, stack: list[_Document], roots: list[_Node], problems: list[str]) -> None:
    """Open a document; one at the outermost level ends the one before it."""
    if depth == 0:
        roots += _end(stack, problems)
        stack[:] = [_Document(0)]
        return
    _close(stack, depth - 1, problems)
    stack.append(_Document(depth))


def _close(stack: list[_Document], depth: int, problems: list[str]) -> None:
    """End every document that stands deeper than *depth*; its results wait for their parent's line."""
    while len(stack) > 1 and stack[-1].depth > depth:
        ended = stack.pop()
        _complete(ended, problems)
        stack[-1].inner += [*ended.results, *ended.inner]
        stack[-1].log += ended.log


def _end(stack: list[_Document], problems: list[str]) -> list[_Node]:
    """End all documents and return the outermost results."""
    _close(stack, 0, problems)
    _complete(stack[0], problems)
    return [*stack[0].results, *stack[0].inner]


def _complete(document: _Document, problems: list[str]) -> None:
    """Add what a document planned and did not bring."""
    if document.planned is None:
        return
    lacking = document.planned - len(document.results)
    if document.planned and lacking > 0:
        problems.append(f"{lacking} of {document.planned} planned results are missing")
        document.results.append(_Node("missing", Verdict.ERROR, MISSING, document.log, missing=True))
    elif document.planned and lacking < 0:
        problems.append(f"{-lacking} more results than the plan of {document.planned}")


def _add(match: re.Match[str], document: _Document) -> None:
    bad, number, rest = bool(match[1]), match[2], match[3]
    directive = _DIRECTIVE.search(rest)
    name = rest[: directive.start()] if directive else rest.partition(" # ")[0]
    word = directive[1].upper() if directive else ""
    verdict = document.marked or _VERDICTS.get((bad, word), Verdict.FAIL if bad else Verdict.PASS)
    node = _Node(
        name=one_line(name) or f"unnamed-{number or len(document.results) + 1}",
        verdict=verdict,
        reason=one_line(directive[2]) if directive else "",
        log=document.log,
        inner=document.inner,
        strict=bad and verdict in MARKS,
    )
    document.results.append(node)
    document.log, document.inner, document.marked = [], [], None


def _leaves(nodes: Iterable[_Node], path: tuple[str, ...]) -> Iterable[tuple[tuple[str, ...], _Node]]:
    """Yield each result that encloses none, with the names that lead to it.

    Where a program's own line says fail and no result inside does, its line counts too.
    """
    for node in nodes:
        here = (*path, _RUNNER.sub(r"\1", node.name))
        if not node.inner:
            yield here, node
            continue
        yield from _leaves(node.inner, here)
        if node.bad and not any(
            leaf.bad or leaf.verdict is Verdict.NOT_RUN for _, leaf in _leaves(node.inner, here)
        ):
            yield (*here, "exit-status"), node


def _has_runner(nodes: Iterable[_Node]) -> bool:
    return any(_RUNNER.match(node.name) for node in nodes)


def _ending(node: _Node) -> ResultEnding:
    if node.verdict is Verdict.NOT_RUN:
        return ResultEnding.NOT_RUN
    return ResultEnding.CRASHED if node.missing else ResultEnding.FINISHED


def _result(path: tuple[str, ...], node: _Node, target: str, *, three: bool) -> Result:
    *enclosing, name = (part.replace(": ", ".") for part in path)
    if three:
        called, *enclosing = enclosing
        target = LOCAL if called == names.target_slug(LOCAL) else called
    log = "\n".join(node.log)
    says_message = node.bad or node.verdict in MARKS
    said, log = cut_line(one_line(node.log[0]) if says_message and node.log else node.reason, log)
    return Result(
        nodeid="::".join(path),
        name=names.slug(name),
        target=target,
        subject=names.slug(".".join(enclosing) or "ktap"),
        verdict=node.verdict,
        ending=_ending(node),
        message=said if says_message else "",
        reason="" if says_message else said,
        log=log,
        strict=node.strict,
    )
