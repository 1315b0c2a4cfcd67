# SPDX-License-Identifier: GPL-2.0-only
"""The command that writes a failed claim as one C program, next to the one that repeats it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable

from .model import ReportTarget, Result, Verdict

_FAILED = frozenset({Verdict.FAIL, Verdict.CHANGED, Verdict.XFAIL})
_REPEATS, _WRITES = "pytest", "tools.export_c"
_CHECKOUT = ".venv/"
_WORDS = 6
"""Interpreter, -m, pytest, node id, --target, name: options beyond these change what runs."""


def as_program(result: Result) -> str:
    """Return a shell command that writes repro.c, "" where no C program can show this result.

    An installed tree has no such tool, and a program meets a kernel, not a defect of the simulator.
    """
    if result.verdict not in _FAILED or not result.repro.startswith(_CHECKOUT):
        return ""
    words = shlex.split(result.repro)
    if len(words) != _WORDS or words[1:3] != ["-m", _REPEATS] or words[4] != "--target":
        return ""
    return f"{shlex.join([words[0], '-m', _WRITES, *words[3:]])} >repro.c"


def offered(targets: Iterable[ReportTarget]) -> Callable[[Result], str]:
    """Return `as_program` for results on *targets*; it returns "" also for architectures without programs."""
    without = {target.name for target in targets if target.no_programs}
    return lambda result: "" if result.target in without else as_program(result)
