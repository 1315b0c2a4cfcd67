# SPDX-License-Identifier: GPL-2.0-only
"""The live line and the closing summary, on a terminal and without one."""

from __future__ import annotations

import io
import os
import pty
import select
import subprocess
import time
from pathlib import Path

import pytest

from reports import live, summary
from reports.model import NOTABLE, ReportTarget, Result, Run, Verdict
from reports.tests import samples, sessions

ROOT = Path(__file__).parents[2]

TESTS = """
import pytest

@pytest.mark.parametrize("number", range(30))
def test_it(number):
    assert number != 17, "value 17 is 1 after the end"
"""


def on_terminal(folder: Path, **environment: str) -> str:
    """Return what pytest with the plug-in writes to a terminal in *folder*."""
    (folder / "test_it.py").write_text(TESTS)
    (folder / "pytest.ini").write_text("[pytest]\n")
    ours, theirs = pty.openpty()
    inherited = {name: value for name, value in os.environ.items() if name not in ("CI", "NO_COLOR")}
    process = subprocess.Popen(
        sessions.command(),
        cwd=folder,
        env={**inherited, "TERM": "xterm", "PYTHONPATH": str(ROOT), "COLUMNS": "100", **environment},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    written = b""
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline and select.select([ours], [], [], 20)[0]:
        try:
            piece = os.read(ours, 1 << 16)
        except OSError:  # EIO: the last writer is gone
            break
        if not piece:
            break
        written += piece
    process.wait(20)
    os.close(ours)
    return written.decode()


@pytest.mark.thorough
def test_terminal_sees_progress_and_failures_as_they_come(tmp_path: Path) -> None:
    """The line shows done of total; the failure has a line before the end; letters are gone."""
    written = on_terminal(tmp_path)

    assert "/30" in written
    assert "no target it test_it.17" in written.partition("= FAILURES =")[0]
    assert "......" not in written
    assert "FAIL    no target it test_it.17" in written


@pytest.mark.thorough
def test_no_color_keeps_the_terminal_plain(tmp_path: Path) -> None:
    """With NO_COLOR nothing is painted; the line is redrawn all the same."""
    written = on_terminal(tmp_path, NO_COLOR="1")

    assert "/30" in written
    assert "\x1b[1;31m" not in written
    assert "\x1b[31m" not in written


def test_ci_and_dumb_terminals_get_no_redrawn_line() -> None:
    """Only a terminal that can redraw a line gets one."""
    assert live.wanted({"TERM": "xterm"}, is_terminal=True)
    assert not live.wanted({"TERM": "xterm"}, is_terminal=False)
    assert not live.wanted({"TERM": "dumb"}, is_terminal=True)
    assert not live.wanted({"TERM": "xterm", "CI": "true"}, is_terminal=True)


def test_hostile_names_cannot_move_the_cursor() -> None:
    """Names and messages are cleaned before a terminal sees them."""
    stream = io.StringIO()
    line = live.LiveLine(stream, {"NO_COLOR": "1"})

    line.start("a.py::test[\x1b[2J]")
    line.result("a.py::test[\x1b[2J]", "host a \x1b]0;owned\x07", Verdict.FAIL, "x\r\x1b[2J\ny")

    drawn = stream.getvalue().replace("\r\x1b[K", "")
    assert "\x1b" not in drawn
    assert "\r" not in drawn


def test_summary_names_every_failure_and_xpass() -> None:
    """Each result that makes the run fail, or might, stands in the summary by name."""
    run = samples.run(4_000)

    text = "\n".join(summary.lines(run))

    notable = [result for result in run.results if result.verdict in NOTABLE]
    assert {result.verdict for result in notable} == set(NOTABLE)
    assert all(f"{result.target} {result.subject} {result.name}" in text for result in notable)
    assert "sim-arm64-nvhe (simulated)" in text


def test_summary_leaves_numbers_as_they_are() -> None:
    """Names that look like numbers, and 64-bit values in messages, are not reformatted."""
    result = Result("a::1e3", "t1e3", "1e3", "a", Verdict.FAIL, message="18446744073709551615 is 1 late")

    text = "\n".join(summary.lines(Run(targets=(ReportTarget("1e3"),), results=(result,))))

    assert "18446744073709551615" in text
    assert text.splitlines()[2].startswith("1e3")


@pytest.mark.parametrize("columns", [20, 80])
def test_line_never_wraps(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line longer than the terminal would not be cleared by the next one."""
    monkeypatch.setenv("COLUMNS", str(columns))
    line = live.LiveLine(io.StringIO(), {})

    line.start("kvmtests/x86/test_clock.py::" + "x" * 300)

    assert len(line.line()) < columns
