# SPDX-License-Identifier: GPL-2.0-only
"""`make check`: its exit status is what the design says, whatever pytest's own is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def check(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command with reports in *tmp_path*."""
    return subprocess.run(
        [sys.executable, "-m", "tools.check", "--jobs", "0", "--out", str(tmp_path), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        pytest.param(["--target", "sim-arm64-vhe", "-k", "api_version"], 0, id="passes"),
        pytest.param(["--target", "sim-x86_64", "-k", "new_frequency_in_real_time"], 4, id="none-match"),
        pytest.param(["--target", "no-such-target"], 2, id="unknown-target"),
        pytest.param(["--target", "sim-arm64-vhe", "-k", "and and"], 2, id="bad-expression"),
        pytest.param(["--target", "sim-arm64-vhe", "--", "--no-such-option"], 2, id="bad-option"),
    ],
)
def test_exit_status(tmp_path: Path, arguments: list[str], status: int) -> None:
    """0 all well, 2 usage, 4 nothing could run; never a traceback."""
    done = check(tmp_path, *arguments)

    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_all_skipped_is_not_usage(tmp_path: Path) -> None:
    """A selection in which every test skips ends with 4, which pytest itself gives to usage errors."""
    done = check(tmp_path, "--target", "sim-x86_64", "-k", "clock_guest")

    assert done.returncode == 4, done.stdout + done.stderr
    assert " passed" not in done.stdout


def test_the_benchmark_table_is_among_what_it_prints(tmp_path: Path) -> None:
    """The quick run takes a glance at what counter reads cost: the classic table, labelled simulated."""
    done = check(tmp_path, "--target", "sim-arm64-nvhe")

    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    place = lines.index("cntpct-read, nVHE")
    assert lines[place + 1] == "sim-arm64-nvhe (simulated)"
    assert lines[place + 3].split() == ["|", "Metric", "|", "Native", "|", "Trapped", "|"]


def test_a_broken_claim_is_1(tmp_path: Path) -> None:
    """A defect in the simulator breaks claims, and the run says so by its status."""
    done = check(tmp_path, "--target", "sim-x86_64", "-k", "unknown_flag_is_refused", "--", "--defect", "C07")

    assert done.returncode == 1, done.stdout + done.stderr
    assert "FAIL" in done.stdout


def test_unwritable_folder_is_one_sentence(tmp_path: Path) -> None:
    """Reports that cannot be written stop the run before it begins, in one sentence."""
    (tmp_path / "file").write_text("")

    done = check(tmp_path / "file", "--target", "sim-arm64-vhe", "-k", "api_version")

    assert done.returncode == 2
    assert "cannot write the journal" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
