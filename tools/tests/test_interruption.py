# SPDX-License-Identifier: GPL-2.0-only
"""Ctrl-C ends a command with one sentence, whatever it was doing."""

from __future__ import annotations

import sys

import pytest

from tools import make
from tools.interruption import INTERRUPTED, started, unless_interrupted


def interrupted(_argv: object = ()) -> int:
    """Be a command that Ctrl-C ends."""
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("program", "name"),
    [
        pytest.param("tools/fuzz.py", "fuzz", id="module"),
        pytest.param("tools/lkft/__main__.py", "lkft", id="package"),
    ],
)
def test_interrupted_command_is_one_sentence(
    program: str, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C is status 2 and a sentence that begins with the command's name, no traceback."""
    monkeypatch.setattr(sys, "argv", [program])

    assert started(interrupted) == INTERRUPTED
    assert capsys.readouterr().err == f"{name}: interrupted by Ctrl-C.\n"


def test_status_is_that_of_the_command() -> None:
    """Without Ctrl-C the command's own status remains."""
    assert unless_interrupted("x", lambda: 5) == 5


@pytest.mark.parametrize("goal", ["check", "report", "bundle"])
def test_goal_of_make_is_one_sentence(
    goal: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C while a goal's modules are still imported is the same sentence, with the goal's name."""
    monkeypatch.setenv(make.GIVEN, "FROM")
    monkeypatch.setenv("FROM", "journal.jsonl")
    monkeypatch.setattr("tools.streams.hold", lambda: None)
    monkeypatch.setattr("tools.streams.end_with_parent", lambda: None)
    monkeypatch.setattr("importlib.import_module", interrupted)

    assert make.main([goal]) == INTERRUPTED
    assert capsys.readouterr().err == f"make {goal}: interrupted by Ctrl-C.\n"
