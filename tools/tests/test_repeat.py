# SPDX-License-Identifier: GPL-2.0-only
"""Repeated runs: verdicts that change are found and reported."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import pytest

from reports.model import Verdict
from tools import repeat

STEADY, SHAKY, RARE = ("host", "t.py::steady"), ("host", "t.py::shaky"), ("host", "t.py::rare")


def seen() -> repeat.Verdicts:
    """Three runs: one test passes always, one fails once, one is missing once."""
    verdicts: repeat.Verdicts = defaultdict(Counter)
    verdicts[STEADY][Verdict.PASS] = 3
    verdicts[SHAKY].update({Verdict.PASS: 2, Verdict.FAIL: 1})
    verdicts[RARE][Verdict.SKIP] = 2
    return verdicts


def test_changed_verdicts_are_found() -> None:
    """A verdict that differs in one run is a change, and so is a test that was missing in one."""
    assert set(repeat.changed(seen())) == {SHAKY, RARE}


def test_report_names_each_change() -> None:
    """The report counts runs and tests, and shows the verdicts of each that changed."""
    assert repeat.report(seen()).splitlines() == [
        "3 runs of 3 tests: 2 changed their verdict",
        "host t.py::rare: skip 2",
        "host t.py::shaky: fail 1, pass 2",
    ]


@pytest.mark.timeout(300)
def test_claims_are_repeated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each run has reports of its own; the simulator gives the same verdicts each time."""
    words = [
        "-n",
        "2",
        "--busy",
        "--out",
        str(tmp_path),
        "--",
        "--target",
        "sim-arm64-vhe",
        "-k",
        "test_register_list",
    ]

    status = repeat.main(words)

    assert (status, capsys.readouterr().out.partition(":")[2].strip()) == (0, "0 changed their verdict")
    assert [path.parent.name for path in sorted(tmp_path.glob("*/journal.jsonl"))] == ["0", "1"]


def test_claims_that_do_not_start_are_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A target that does not exist leaves no journal: status 2."""
    assert repeat.main(["-n", "2", "--out", str(tmp_path), "--", "--target", "nothing"]) == 2
    assert "journal.jsonl" in capsys.readouterr().err
