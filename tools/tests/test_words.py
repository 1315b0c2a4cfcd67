# SPDX-License-Identifier: GPL-2.0-only
"""The words of docs/words.md: what this tree does not say, and the places that rightly do.

A word is looked for in identifiers as well: `SimHost` and `sim_host` both hold "host".
"""

from __future__ import annotations

import ast
import re
import subprocess
from bisect import bisect_right
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]

# What is not said, what is said instead, and the contexts in which the word means something else.
WORDS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "bench": (
        r"\bbench\b",
        "harness, or benchmark",
        (
            r"make[. ]bench", r"tools[./]bench", r"bench/", r"bench reports", r"\bbench:", r"\"bench\"",
            r"lab bench speed defects", r"def bench", r"import bench", r"bench\.main", r", bench\)",
            r"micro-bench",
        ),
    ),
    "mutant": (
        r"\bmutants?\b|\bmutations?\b",
        "defect",
        (r"make mutants", r"\"mutants\"", r"mutants\.(?:json|html)", r"mutants:", r"defects mutants agree"),
    ),
    "twin": (r"\btwins?\b", "counterpart, or C baseline", ()),
    "shadow": (r"\bshadows?\b", "counterpart", (r"shadow VMCS", r"shadow paging", r"box-shadow")),
    "machine": (
        r"\bmachines?\b",
        "host, simulated host, lab host, board, or architecture",
        (
            r"machine[- ]?code", r"machine check", r"-machine\b",
            r"machine-readable", r"virtual-machine", r"state machine", r"machine type",
            r"platform\.machine", r"uname\(\)\.machine", r"MACHINE CODE", r"OLD HOST = \"machine\"",
            r"say ``machine`` instead", r"call(?:s|ed) a host a machine", r"\"machine\" if name == \"host\"",
            r"\"type\": \"machine\"", r"machine: \{board\}",
        ),
    ),
    "bugs.md": (r"\bbugs\.md\b", "the id's row in docs/defects.md", ()),
    "NS_PER_S": (r"\bNS PER S\b", "NSEC_PER_SEC of fixtures/counters.py", ()),
    "beside": (r"\bbeside\b", "next to, alongside", ()),
    "dearer": (r"\bdearer\b", "more expensive", ()),
    "anew": (r"\banew\b", "again, from scratch", ()),
    "whoever": (r"\bwhoever\b", "any code that, a caller that", ()),
    "cannot be had": (r"\bcannot be had\b|\bto be had\b|\bcan be had\b", "is not available", ()),
    "but with": (r"\bbut (?:with|for|in)\b", "except with, except in", ()),
    "tell": (r"\b(?:tell|tells|told)\b", "report, identify, distinguish, show", ()),
    "ask": (r"\b(?:ask|asks)\b", "run on, query, check", ()),
    "go on": (r"\b(?:go|goes|went) on\b", "continue", ()),
    "is no": (r"(?<!here )\b(?:is|are) no (?!longer)[a-z]", "is not a", ()),
    ", too": (r", too(?=[.,;:)\"]|$)", "also, in front of the verb", ()),
    "behind": (
        r"\bbehind\b",
        "after, of time",
        (
            r"behind the (?:same )?seam", r"memory (?:of this process )?behind it", r"open file behind",
            r"(?:second|seconds|3ms)[- ]behind", r"leaves none behind", r"signature behind it",
            r"id=\"behind\"", r"behind (?:its|their) (?:line|intended frequency)", r"a second behind and",
        ),
    ),
}  # fmt: skip

SELF = "tools/tests/test_words.py"
ELSEWHERE = ("LICENSE", "requirements/", "docs/words.md", "docs/renamed.md", SELF)
"""Not our text, or text about the words themselves."""


class _TreeLine(NamedTuple):
    name: str  # of its file
    number: int  # 0: the file's name
    text: str
    spelled: str  # `text` with identifiers parted into their words


@cache
def _lines() -> tuple[list[_TreeLine], str, list[int]]:
    """Return the lines of the tree, one text of all as they are spelled out, and where in it each begins."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    lines = []
    for name in filter(None, listed):
        path = ROOT / name
        if name.startswith(ELSEWHERE) or not path.is_file():
            continue
        try:
            text = f"{name}\n{path.read_text(encoding='utf-8')}"
        except UnicodeDecodeError:
            continue
        pairs = zip(text.splitlines(), _spelled_out(text).splitlines(), strict=True)
        lines += [_TreeLine(name, number, *pair) for number, pair in enumerate(pairs)]
    starts = [0, *accumulate(len(line.spelled) + 1 for line in lines)]
    return lines, "\n".join(line.spelled for line in lines), starts


def _spelled_out(text: str) -> str:
    """Return *text* with identifiers parted into their words."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", text).replace("_", " ")


def _uses(pattern: str, allowed: tuple[str, ...], spelled: str) -> bool:
    for context in allowed:
        spelled = re.sub(context, "", spelled, flags=re.IGNORECASE)
    return re.search(pattern, spelled, re.IGNORECASE) is not None


def _lines_with(pattern: str) -> list[_TreeLine]:
    # One search through all of the tree takes a tenth of one for each of its lines.
    lines, text, starts = _lines()
    found = re.finditer(pattern, text, re.IGNORECASE | re.MULTILINE)
    return [lines[number] for number in sorted({bisect_right(starts, hit.start()) - 1 for hit in found})]


@pytest.mark.parametrize("word", WORDS)
def test_the_tree_uses_the_words_of_its_glossary(word: str) -> None:
    """No file says *word* where docs/words.md has another one for the thing."""
    pattern, better, allowed = WORDS[word]

    found = [
        f"{line.name}:{line.number}: {line.text.strip()}"
        for line in _lines_with(pattern)
        if _uses(pattern, allowed, line.spelled)
    ]

    assert not found, f"{len(found)} lines say {word!r}; say {better}:\n" + "\n".join(found)


def test_words_inside_identifiers_are_seen() -> None:
    """CamelCase and snake_case hold words as sentences do; an allowed context is no use of its word."""
    pattern, _, allowed = WORDS["twin"]

    words = ("class SimTwin:", "sim_twins", "a twin", "entwined")
    seen = [_uses(pattern, allowed, _spelled_out(line)) for line in words]

    assert seen == [True, True, True, False]
    assert not _uses(WORDS["behind"][0], WORDS["behind"][2], "the model behind the seam")


C_NAMES = frozenset({"_iovec", "kvm_regs"})
"""Structures of the kernel's, called in Python as in C; two architectures have one of the same name."""


def test_class_names_stand_in_one_place() -> None:
    """A class that another module has under the same name says its subject in its own."""
    files: dict[str, set[str]] = {}
    for line in _lines()[0]:
        if line.name.endswith(".py") and (found := re.match(r"class (\w+)", line.text)):
            files.setdefault(found[1], set()).add(line.name)

    # A string may also hold such a line: of what may have one in common the syntax tree decides.
    common = {name: where for name, where in files.items() if len(where) > 1 and name not in C_NAMES}
    classes = {file: _classes(file) for file in set().union(*common.values())}
    places = {name: sorted(file for file in where if name in classes[file]) for name, where in common.items()}
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def _classes(file: str) -> set[str]:
    body = ast.parse((ROOT / file).read_text(encoding="utf-8")).body
    return {node.name for node in body if isinstance(node, ast.ClassDef)}
