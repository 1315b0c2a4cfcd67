# SPDX-License-Identifier: GPL-2.0-only
"""Sessions of pytest with the plug-in, in a folder and a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from reports import read_journal
from reports.model import Run, Session

ROOT = Path(__file__).parents[2]
LIMIT_S = 150
STRICT = "[pytest]\nfilterwarnings = error\n"


def command(*more: str) -> list[str]:
    """Return the words of a session with the plug-in."""
    words = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "reports.plugin",
        "-p",
        "no:cacheprovider",
        "-pno:hypothesispytest",
    ]
    return [*words, "--report-dir", "out", *more]


def environment() -> dict[str, str]:
    """Return the environment of a session of its own."""
    ours = {"PYTHONPATH": str(ROOT), "TERM": "xterm"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "CI"))}
    return {**kept, **ours}


def start(folder: Path, *more: str) -> subprocess.Popen[str]:
    """Start a session in a process group of its own."""
    return subprocess.Popen(
        command(*more),
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def call(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Return what a session did."""
    return run(command(*more), folder)


def run(words: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Return what the program *words* did in *folder*."""
    return subprocess.run(
        words, cwd=folder, env=environment(), capture_output=True, text=True, timeout=LIMIT_S, check=False
    )


def suite(folder: Path, tests: str, conftest: str = "") -> None:
    """Write *tests* and their surroundings into *folder*; warnings are errors there, as in our own tree."""
    (folder / "pytest.ini").write_text(STRICT)
    (folder / "test_it.py").write_text(tests)
    if conftest:
        (folder / "conftest.py").write_text(conftest)


def journal(folder: Path) -> Run:
    """Return what the journal of the session in *folder* says."""
    return read_journal.read([folder / "out" / "journal.jsonl"])


def session(folder: Path) -> Session:
    """Return the one session of that journal."""
    (found,) = journal(folder).sessions
    return found
