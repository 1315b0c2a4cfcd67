# SPDX-License-Identifier: GPL-2.0-only
"""Spoilt files that the harness reads before or while it runs: kept cases, known issues.

Each function draws a correct file, spoils it, has it read, and returns how many entries the reader
found; `Refused` names the documented error that the reader raised instead.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from fixtures import known_issues
from fixtures.agreement import corpus
from fixtures.architectures import ROWS, X86_64
from fixtures.facts import Fact
from fixtures.lab import cache, parts
from tools import agree

Read = TypeVar("Read")
Spoil = Callable[[random.Random, list[bytes]], list[bytes]]

_CASES = tuple(sorted(path for row in ROWS for path in corpus.paths(row.name)))
_VALUES: tuple[Any, ...] = (
    None, True, -1, 2**64, 10**400, 0.5, float("nan"), "", "\ud800", "create_vm", "__class__", "clock_ns",
    [], {}, [["create_vm"]], {"steps": []},
)  # fmt: skip
_ENTRY = """
[[issue]]
id = "issue-{number}"
tests = 'test_tsc.*\\[plus-\\d+\\]'
when = {{ kernel = ">=5.10,<6.{number}", arch = "{arch}", mode = ["vhe", "nvhe"] }}
symptom = 'is \\d+ before the start'
reason = "KVM rounds twice"
reference = "docs/findings/rounding.md"
"""
_KEYS = ("id", "tests", "when", "symptom", "reason", "reference", "kernel", "issue")
_TOML = (
    "3", "nan", "1979-05-27T07:32:00Z", "[1, [2]]", "{}", "'('", "'a{99999999999999999999}'", "'''",
    "1e999999", "'" + "(" * 500 + ")" * 500 + "'", "'" + "(?:" * 9000 + ")" * 9000 + "'", '"\udcff"',
    '{ kernel = "=>6" }', "{ kernel = 6 }", '{ kernel = ">=99999999999999999999.1" }',
    "{ kernel = ['>=5'] }", "9" * 5000, "[" * 5000, "[" * 5000 + "]" * 5000, "{a={a={a=[{}]}}}",
)  # fmt: skip


class Refused(Exception):
    """The reader gave its documented error, whose type is the text."""


def case(chance: random.Random, spoil: Spoil) -> int:
    """Read a case of agreement as it is kept in a file, and show it."""
    data = json.loads(chance.choice(_CASES).read_text(encoding="utf-8"))
    _replace(chance, data)
    lines = json.dumps(data, indent=1).encode().splitlines(keepends=True)
    try:
        found = _in_file(_seldom(chance, spoil, lines), agree.kept)
    except agree.Unplayable as error:
        raise Refused(type(error).__name__) from None
    str(found).encode("utf-8", "replace")
    return len(found.actions)


def issues(chance: random.Random, spoil: Spoil) -> int:
    """Read a file of known issues, and query each entry as a run does."""
    text = "".join(
        _ENTRY.format(number=number, arch=X86_64.name) for number in range(chance.randrange(1, 4))
    ).encode()
    lines = text.splitlines(keepends=True)
    for _ in range(chance.randrange(3)):
        key = chance.choice(_KEYS).encode()
        same = [at for at, line in enumerate(lines) if line.startswith(key)]
        value = chance.choice(_TOML).encode("utf-8", "surrogateescape")
        lines[chance.choice(same or [0])] = key + b" = " + value + b"\n"
    try:
        found = _in_file(_seldom(chance, spoil, lines), known_issues.read)
    except known_issues.KnownIssuesError as error:
        raise Refused(type(error).__name__) from None
    facts: dict[str, Fact] = {"kernel": "6.12.3-1", "arch": X86_64.name}
    for issue in found:
        issue.predicts("kvmtests/x86/test_tsc.py::test_x[plus-1]", facts)
        issue.because(facts)
        issue.symptom.search("1 is 5 before the start of [7, 9]")
    return len(found)


def lab_lists(chance: random.Random, spoil: Spoil) -> int:
    """Read a list of packages as the lab's cache keeps it; a damaged one counts as absent, with a note."""
    entries = [
        {"name": f"part_{number}_amd64.deb", "uri": f"u/{number}.deb", "size": number, "sha256": "0" * 64}
        for number in range(chance.randrange(1, 6))
    ]
    for entry in entries:
        if chance.randrange(8) == 0:
            entry[chance.choice(list(entry))] = chance.choice(_VALUES)
    lines = json.dumps(entries, indent=1).encode().splitlines(keepends=True)
    found = _in_file(_seldom(chance, spoil, lines), parts.listed)
    cache.take_notes()
    return len(found)


def _replace(chance: random.Random, data: dict[str, Any]) -> None:
    """Put another value in place of a field, a step, or a part of a step, two times in three."""
    steps = data["steps"]
    value = chance.choice(_VALUES)
    match chance.randrange(6):
        case 0:
            data[chance.choice(list(data))] = value
        case 1:
            steps[chance.randrange(len(steps))] = value
        case 2 | 3:
            step = chance.choice(steps)
            step[chance.randrange(len(step))] = value


def _seldom(chance: random.Random, spoil: Spoil, lines: list[bytes]) -> bytes:
    # A file that the parser refuses does not test the code after the parser.
    return b"".join(spoil(chance, lines) if chance.randrange(3) == 0 else lines)


def _in_file(content: bytes, reader: Callable[[Path], Read]) -> Read:
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        return reader(Path(file.name))
