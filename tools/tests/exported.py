# SPDX-License-Identifier: GPL-2.0-only
"""Exported programs for tests: written, compiled, run, and compared with the claims they come from."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from reports import read_journal
from reports.model import Result, Verdict
from tools.export_c.command import file_name

ROOT = Path(__file__).resolve().parents[2]
STRICT = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread")
SYMPTOMS = ("before the start of", "after the end of", "succeeded; the interface promises")
"""Ways to fail in which a program and a claim use the same words."""

FAILED = {Verdict.FAIL, Verdict.XFAIL, Verdict.CHANGED}
STATUS_OF = {Verdict.PASS: 0, Verdict.XPASS: 0, Verdict.SKIP: 4} | dict.fromkeys(FAILED, 1)
HAS_KVM = pytest.mark.skipif(not os.access("/dev/kvm", os.R_OK | os.W_OK), reason="/dev/kvm is not usable")


def export(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Return what the command says."""
    command = [sys.executable, "-m", "tools.export_c", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)


_TOGETHER: dict[str, list[str]] = {}
"""By target, cases that are exported by one command: starting it takes longer than most of them do."""


def export_together(target: str, *nodeids: str) -> None:
    """Let `exported` write the programs of *nodeids* at once when it needs one of them."""
    _TOGETHER.setdefault(target, []).extend(nodeids)


@functools.cache
def exported(nodeid: str, target: str, *options: str) -> str:
    """Return the program of a case that has one."""
    if not options and nodeid in _TOGETHER.get(target, ()):
        case = nodeid.replace(f"[{target}-", "[").replace(f"[{target}]", "")
        return _programs(target)[file_name(case)]
    done = export(nodeid, "--target", target, *options)
    assert done.returncode == 0, done.stderr
    return done.stdout


@functools.cache
def _programs(target: str) -> dict[str, str]:
    with tempfile.TemporaryDirectory() as folder:
        done = export(*_TOGETHER[target], "--target", target, "--into", folder)
        assert done.returncode == 0, done.stderr
        return {path.stem: path.read_text(encoding="ascii") for path in Path(folder).glob("*.c")}


def compiled(
    text: str, folder: Path, compiler: str = "cc", flags: Sequence[str] = (), library: str = ""
) -> Path:
    """Return the executable of a program; skip without *compiler*, or without the *library* it links."""
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    source, program = folder / "repro.c", folder / "repro"
    source.write_text(text, encoding="ascii")
    command = [compiler, *STRICT, *flags, "-o", str(program), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if library and "cannot find" in done.stderr and library in done.stderr:
        pytest.skip(f"{compiler} has no {library}")
    assert done.returncode == 0, done.stderr
    return program


def run(program: Path, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Return how *program* ended, with *environment* on top of this process's."""
    environment = {**os.environ, **(environment or {})}
    return subprocess.run(
        [str(program)], capture_output=True, text=True, check=False, timeout=120, env=environment
    )


def judged(nodeid: str, target: str, folder: Path, *options: str) -> Result:
    """Return what pytest says of the claim *nodeid* on *target*."""
    words = [
        "-q",
        "-p",
        "no:cacheprovider",
        "-pno:hypothesispytest",
        "--target",
        target,
        f"--report-dir={folder}",
        *options,
    ]
    command = [sys.executable, "-m", "pytest", nodeid, *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    results = read_journal.read([folder / "journal.jsonl"]).results
    assert len(results) == 1, done.stdout + done.stderr
    return results[0]


def symptoms(text: str) -> set[str]:
    """Return which of the ways to fail *text*, a program's or a claim's, names."""
    return {one for one in SYMPTOMS if one in text}


def compared(line: str) -> set[str]:
    """Return the numbers that a program compares in *line*, none where it judges in another way."""
    found = re.search(r"(\d+) [=!<>]+ (\d+) does not hold", line)
    return set(found.groups()) if found else set()


def numbers(message: str) -> set[str]:
    """Return the numbers in a claim's *message*, in decimal digits, without the commas that group them."""
    found = re.findall(r"0x([0-9a-f]+)|(\d+)", re.sub(r"(?<=\d),(?=\d)", "", message))
    return {str(int(digits, 16)) if digits else number for digits, number in found}
