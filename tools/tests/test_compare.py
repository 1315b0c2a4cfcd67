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


def verdicts(path: Path, target: str, **verdicts: str) -> str:
    """Write a journal with these verdicts on *target* to *path*; return its name."""
    records: list[dict[str, object]] = [{"type": "session", "version": 1}, {"type": "target", "name": target}]
    for name, verdict in verdicts.items():
        nodeid = f"kvmtests/x86/test_a.py::{name}[{target}]"
        records.append({"type": "result", "nodeid": nodeid, "target": target, "verdict": verdict})
    records.append({"type": "end", "exit_status": 0})
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


@pytest.mark.parametrize(
    ("new", "options", "status", "said"),
    [
        pytest.param({"a": "pass", "b": "pass"}, [], 0, "every verdict is the same", id="same"),
        pytest.param(
            {"a": "pass", "b": "fail"}, [], 1, "BROKEN      lab@7.3 x86.a b: pass -> fail", id="broken"
        ),
        pytest.param({"a": "pass"}, [], 1, "GONE        lab@7.3 x86.a b", id="gone"),
        pytest.param({"a": "pass"}, ["--allow-gone"], 0, "GONE        lab@7.3 x86.a b", id="allowed"),
    ],
)
def test_verdicts_of_two_kernels_are_compared(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    new: dict[str, str],
    options: list[str],
    status: int,
    said: str,
) -> None:
    """Something broken or gone is named and is status 1, also where the target names another kernel."""
    old = verdicts(tmp_path / "old.jsonl", "lab@6.12", a="pass", b="pass")

    assert compare.main([*options, old, verdicts(tmp_path / "new.jsonl", "lab@7.3", **new)]) == status

    assert said in capsys.readouterr().out


def test_map_names_targets_to_compare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Targets of different names are compared where the user pairs them."""
    old = verdicts(tmp_path / "old.jsonl", "sim-x86_64", a="pass")
    new = verdicts(tmp_path / "new.jsonl", "sim-x86_64-next", a="fail")

    assert compare.main(["--map", "sim-x86_64=sim-x86_64-next", old, new]) == 1

    assert "compared: sim-x86_64-next with the baseline's sim-x86_64" in capsys.readouterr().out


def test_figure_that_is_gone_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A benchmark that measures no more is status 1 with its name, unless that is allowed."""
    old = journal(tmp_path / "old.jsonl", values(100, seed=1))
    new = journal(tmp_path / "new.jsonl", [])

    assert compare.main([old, new]) == 1
    assert compare.main([old, new, "--allow-gone"]) == 0

    assert (
        "GONE        the figure host x86.benchmark_counters test_read read native" in capsys.readouterr().out
    )
