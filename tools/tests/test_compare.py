# SPDX-License-Identifier: GPL-2.0-only
"""tools.compare: what moved between two journals, and the exit status that a CI reads."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from tools import compare


def journal(path: Path, native: list[float], target: str = "host") -> str:
    """Write a journal with one benchmark to *path*; return its name."""
    nodeid = f"kvmtests/x86/test_benchmark_counters.py::test_read[{target}]"
    place = {"nodeid": nodeid, "target": target}
    records = [
        {"type": "session", "version": 1, "time_ns": 1, "host": "m", "facts": {}},
        {"type": "target", "name": target, "kind": "host", "arch": "x86_64", "simulated": target != "host"},
        {"type": "collection", "nodeids": [nodeid]},
        {"type": "start", "nodeid": nodeid, "time_ns": 2},
        {"type": "sample", **place, "metric": "read", "variant": "native", "unit": "ns", "values": native},
        {"type": "result", **place, "subject": "x86.benchmark_counters", "verdict": "pass"},
        {"type": "end", "time_ns": 3, "exit_status": 0},
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


def values(centre: float, seed: int) -> list[float]:
    """Return 500 figures around *centre*."""
    chance = random.Random(seed)  # noqa: S311
    return [chance.gauss(centre, 5) for _ in range(500)]


@pytest.mark.parametrize(
    ("centre", "status", "word"),
    [
        pytest.param(100, 0, "nothing moved", id="same"),
        pytest.param(101, 0, "nothing moved", id="small-effect"),
        pytest.param(110, 1, "SLOWER", id="slower"),
        pytest.param(90, 0, "faster", id="faster"),
    ],
)
def test_status_says_whether_something_got_slower(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], centre: int, status: int, word: str
) -> None:
    """1 where a figure rose surely and by more than a small effect, 0 otherwise."""
    old = journal(tmp_path / "old.jsonl", values(100, seed=1))
    new = journal(tmp_path / "new.jsonl", values(centre, seed=2))

    assert compare.main([old, new]) == status

    assert word in capsys.readouterr().out


def test_simulated_figures_are_labelled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A figure of a simulated target is never shown as a real host's."""
    old = journal(tmp_path / "old.jsonl", values(100, seed=1), "sim-x86_64")
    new = journal(tmp_path / "new.jsonl", values(200, seed=2), "sim-x86_64")

    compare.main([old, new])

    assert "sim-x86_64 (simulated)" in capsys.readouterr().out


def test_journals_without_common_figures(tmp_path: Path) -> None:
    """Nothing to compare is status 4, not a success."""
    old = journal(tmp_path / "old.jsonl", values(100, seed=1))
    new = journal(tmp_path / "new.jsonl", values(100, seed=1), "sim-x86_64")

    assert compare.main([old, new]) == 4


def test_missing_journal_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A journal that cannot be read is status 2 with its name."""
    old = journal(tmp_path / "old.jsonl", values(100, seed=1))

    assert compare.main([old, str(tmp_path / "absent.jsonl")]) == 2

    assert "absent.jsonl" in capsys.readouterr().err
