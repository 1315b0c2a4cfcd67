# SPDX-License-Identifier: GPL-2.0-only
"""Repeated runs: verdicts that change are found, counted and bounded."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from reports.model import Verdict
from tools import flakiness, repeat
from tools.flakiness import BadCounts, ClaimCounts, Seen

FEW_MODULES = "--ignore-glob=*/test_[!r]*.py"
"""Collects only what these tests run, and a few more: all claims take longer than the rest of a test."""

STEADY, SHAKY, RARE = ("host", "t.py::steady[a]"), ("host", "t.py::shaky[a]"), ("host", "t.py::rare[a]")


def seen() -> Seen:
    """Three runs: one test passes always, one fails once, one is missing once."""
    found = Seen()
    found.verdicts[STEADY][Verdict.PASS] = 3
    found.verdicts["host", "t.py::steady[b]"][Verdict.SKIP] = 3
    found.verdicts[SHAKY].update({Verdict.PASS: 2, Verdict.FAIL: 1})
    found.verdicts[RARE][Verdict.SKIP] = 2
    return found


def counts(**changes: object) -> str:
    """Return what one process leaves that ran one test twice; *changes* replace fields."""
    test = {"target": "host", "nodeid": "t.py::steady[a]", "verdicts": {"pass": 2}}
    return json.dumps({"rounds": 2, "loads": [0.5, 9.0], "tests": [test], "bad": [], **changes})


def test_changed_verdicts_are_found() -> None:
    """A verdict that differs in one run is a change, and so is a test that was missing in one."""
    assert set(seen().changed()) == {SHAKY, RARE}


def test_summary_names_each_change() -> None:
    """The summary counts runs and tests, and shows the verdicts of each that changed."""
    assert flakiness.summary(seen()).splitlines() == [
        "3 runs of 4 tests: 2 changed their verdict",
        "host t.py::rare[a]: skip 2",
        "host t.py::shaky[a]: fail 1, pass 2",
    ]


def test_claims_count_their_cases_together() -> None:
    """A claim has the runs, failures and changes of all its cases; most failures come first."""
    assert list(seen().claims()) == [
        ClaimCounts("host", "t.py::shaky", cases=1, runs=3, failures=1, changes=1),
        ClaimCounts("host", "t.py::rare", cases=1, runs=2, failures=0, changes=1),
        ClaimCounts("host", "t.py::steady", cases=2, runs=6, failures=0, changes=0),
    ]


def test_targets_have_their_own_number_of_runs() -> None:
    """A target that ran less often than another does not count as changed."""
    found = seen()
    found.verdicts["lab", "t.py::steady[a]"][Verdict.PASS] = 1

    assert set(found.changed()) == {SHAKY, RARE}


def test_page_has_the_rate_and_the_load() -> None:
    """The page shows each claim's bound, and how many runs had four processes for each processor."""
    found = seen()
    found.loads = [2.0, 4.0, 8.0]

    page = flakiness.page(found, processors=2)

    assert "was 2.0 in the middle of these runs, 1.0 to 4.0; 1 runs had 4 or more" in page
    [row] = [line for line in page.splitlines() if "t.py::steady" in line]
    assert [cell.strip() for cell in row.strip("|").split("|")[2:]] == ["2", "6", "0", "0", "3.9e-01"]


def test_counts_of_several_processes_are_added(tmp_path: Path) -> None:
    """The folders of earlier processes count too."""
    for number in "01":
        (tmp_path / number).mkdir()
        (tmp_path / number / flakiness.ROUNDS).write_text(counts())

    found = flakiness.read(tmp_path)

    assert (found.verdicts, found.loads) == ({STEADY: Counter({Verdict.PASS: 4})}, [0.5, 9.0] * 2)
    assert repeat.first_free(tmp_path) == 2


def test_a_test_that_did_not_run_is_not_counted(tmp_path: Path) -> None:
    """What a stopped session left out is missing: it does not count as a run that did not fail."""
    (tmp_path / "0").mkdir()
    collected = {"type": "collection", "nodeids": ["t.py::a", "t.py::b"]}
    judged = {"type": "result", "nodeid": "t.py::a", "target": "no target", "verdict": "pass"}
    records = [{"type": "session", "version": 1}, collected, judged]
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (tmp_path / "0" / flakiness.JOURNAL).write_text(lines)

    assert flakiness.read(tmp_path).verdicts == {("no target", "t.py::a"): Counter({Verdict.PASS: 1})}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("{", id="not-json"),
        pytest.param("[]", id="not-an-object"),
        pytest.param(counts(tests=[{}]), id="no-test"),
        pytest.param(counts(loads=None), id="no-loads"),
        pytest.param(counts(tests=[{"target": "a", "nodeid": "b", "verdicts": {"good": 1}}]), id="verdict"),
    ],
)
def test_a_file_that_is_not_ours_is_one_sentence(tmp_path: Path, text: str) -> None:
    """A file of counts that was cut or written by something else is named, with what to do."""
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / flakiness.ROUNDS).write_text(text)

    with pytest.raises(BadCounts, match=r"0/rounds\.json does not hold the counts .*; remove its folder"):
        flakiness.read(tmp_path)


@pytest.mark.parametrize(
    ("runs", "rounds", "expected"),
    [(5, 1, [1] * 5), (100, 50, [50, 50]), (120, 50, [50, 50, 20]), (3, 50, [3]), (0, 50, [])],
)
def test_rounds_add_up_to_the_runs(runs: int, rounds: int, expected: list[int]) -> None:
    """Every process runs as many rounds as asked for, the last one what remains."""
    assert repeat.sessions(runs, rounds) == expected


@pytest.mark.timeout(300)
def test_claims_are_repeated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each run has reports of its own; the simulator gives the same verdicts each time."""
    words = ["-n", "2", "--out", str(tmp_path), "--", "--target", "sim-arm64-vhe"]

    status = repeat.main([*words, FEW_MODULES, "-k", "test_register_list"])

    assert (status, capsys.readouterr().out.partition(":")[2].strip()) == (0, "0 changed their verdict")
    assert [path.parent.name for path in sorted(tmp_path.glob("*/journal.jsonl"))] == ["0", "1"]
    assert "register_list" in (tmp_path / repeat.PAGE).read_text()


@pytest.mark.timeout(300)
def test_claims_run_several_times_in_one_process(tmp_path: Path) -> None:
    """In rounds, one process runs each claim as often as requested; the next command continues to count."""
    words = ["--rounds", "3", "--out", str(tmp_path), "--", "--target", "sim-arm64-vhe"]
    words += [FEW_MODULES, "-k", "test_register_list"]

    statuses = [repeat.main(["-n", "4", *words]), repeat.main(["-n", "1", "--load", "1", *words])]

    found = flakiness.read(tmp_path)
    assert statuses == [0, 0]
    assert len(found.verdicts) > 1
    assert {verdicts.total() for verdicts in found.verdicts.values()} == {5}
    assert len(found.loads) == 5


def test_claims_that_do_not_start_are_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A target that does not exist leaves no journal: status 2."""
    assert repeat.main(["-n", "1", "--out", str(tmp_path), "--", "--target", "nothing"]) == 2
    assert "journal.jsonl" in capsys.readouterr().err
