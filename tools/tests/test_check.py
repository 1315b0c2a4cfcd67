# SPDX-License-Identifier: GPL-2.0-only
"""`make check`: its exit status is what the design says, whatever pytest's own is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from reports import read_journal
from tools import bench
from tools import check as check_module

ROOT = Path(__file__).resolve().parents[2]
THOROUGH = pytest.mark.thorough


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
        pytest.param(
            ["--target", "sim-arm64-vhe", "-k", "api_version", "--", "kvmtests/common"], 0, id="passes"
        ),
        pytest.param(
            ["--target", "sim-x86_64", "-k", "no_such_claim", "--", "kvmtests/common"], 2, id="none-match"
        ),
        pytest.param(["--target", "no-such-target"], 2, id="unknown-target"),
        pytest.param(["--target", "sim-arm64-vhe", "-k", "and and"], 2, id="bad-expression", marks=THOROUGH),
        pytest.param(
            ["--target", "sim-arm64-vhe", "--", "--no-such-option"], 2, id="bad-option", marks=THOROUGH
        ),
    ],
)
def test_exit_status(tmp_path: Path, arguments: list[str], status: int) -> None:
    """0 all well, 2 usage, 4 nothing could run; never a traceback."""
    done = check(tmp_path, *arguments)

    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.thorough
def test_all_skipped_is_not_usage(tmp_path: Path) -> None:
    """A selection in which every test skips ends with 4, which pytest itself gives to usage errors."""
    done = check(tmp_path, "--target", "sim-x86_64", "-k", "l2_reads_l1s_tsc")

    assert done.returncode == 4, done.stdout + done.stderr
    assert " passed" not in done.stdout


@pytest.mark.thorough
def test_the_benchmark_table_is_among_what_it_prints(tmp_path: Path) -> None:
    """The quick run takes a glance at what counter reads cost: the classic table, labelled simulated."""
    done = check(tmp_path, "--target", "sim-arm64-nvhe")

    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    place = lines.index("cntpct-read, nVHE")
    assert lines[place + 1] == "sim-arm64-nvhe (simulated)"
    assert lines[place + 3].split() == ["|", "Metric", "|", "Native", "|", "Trapped", "|"]


@pytest.mark.thorough
def test_a_broken_claim_is_1(tmp_path: Path) -> None:
    """A defect in the simulator breaks claims, and the run says so by its status."""
    done = check(
        tmp_path,
        "--target",
        "sim-x86_64",
        "-k",
        "unknown_flag_is_refused",
        "--",
        "--defect",
        "C07",
        "--de-facto=fail",
    )

    assert done.returncode == 1, done.stdout + done.stderr
    assert "FAIL" in done.stdout


@pytest.mark.thorough
def test_unwritable_folder_is_one_sentence(tmp_path: Path) -> None:
    """Reports that cannot be written stop the run before it begins, in one sentence."""
    (tmp_path / "file").write_text("")

    done = check(tmp_path / "file", "--target", "sim-arm64-vhe", "-k", "api_version")

    assert done.returncode == 2
    assert "cannot write the journal" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        pytest.param(["-k", "zzz"], "no test matches the expression 'zzz' on sim-x86_64.", id="expression"),
        pytest.param(
            ["--jobs", "1", "--", "kvmtests/x86/test_set_clock.py::test_nothing"],
            "no test matches kvmtests/x86/test_set_clock.py::test_nothing on sim-x86_64.",
            id="test",
        ),
        pytest.param(
            ["--", "kvmtests/x86/nothing.py"], "check: there is no kvmtests/x86/nothing.py.", id="file"
        ),
        pytest.param(
            ["--jobs", "abc"],
            "check: argument --jobs: JOBS is a number or auto, not 'abc'; --help lists the options.",
            id="jobs",
        ),
    ],
)
def test_choice_of_nothing_is_a_sentence(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    """The last line names what matched nothing; no empty table stands above it; status 2."""
    done = check(tmp_path, "--target", "sim-x86_64", *arguments)

    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == sentence
    assert "summary by target" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "jobs"),
    [
        pytest.param(["--target", "host"], "0", id="one-target"),
        pytest.param(["--target", "host,sim-x86_64"], "0", id="two-targets"),
        pytest.param(["--target", "host,sim-x86_64,sim-arm64-vhe"], "auto", id="three-targets"),
        pytest.param(["--target", "host", "--all"], "auto", id="thorough-claims"),
        pytest.param([], "auto", id="default"),
        pytest.param(["--target", "host", "--jobs", "2"], "2", id="workers-wanted"),
        pytest.param(["--", "kvmtests/x86/test_set_clock.py::test_x"], "0", id="one-claim"),
        pytest.param(["--", "kvmtests/x86/test_set_clock.py"], "auto", id="one-module"),
    ],
)
def test_short_run_stays_in_one_process(arguments: list[str], jobs: str) -> None:
    """Workers are started where the claims take longer than that, or where JOBS= says so."""
    words = check_module.pytest_arguments(check_module.parse(arguments))

    assert words[words.index("-n") + 1] == jobs


@pytest.mark.thorough
def test_named_file_is_all_that_runs(tmp_path: Path) -> None:
    """A file among pytest's arguments takes the place of the whole suite, claims marked thorough included."""
    done = check(tmp_path, "--target", "sim-x86_64", "--", "kvmtests/common/test_target.py")

    assert done.returncode == 0
    results = read_journal.read([tmp_path / "journal.jsonl"]).results
    assert {result.subject for result in results} == {"common.target"}


@pytest.mark.parametrize("number", ["1", "0", "-5", "abc", ""])
def test_too_few_measurements_are_a_sentence(capsys: pytest.CaptureFixture[str], number: str) -> None:
    """`make bench N=1` is refused: a difference of two readings needs two."""
    with pytest.raises(SystemExit) as ended:
        bench.main([f"-n={number}"])

    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("bench: argument -n: this is a number from 2 on, not ")


@pytest.mark.thorough
def test_two_measurements_are_enough(tmp_path: Path) -> None:
    """The least number measures everything that there is to measure."""
    words = ["-n2", "--target=sim-x86_64", "--target=sim-arm64-vhe", f"--out={tmp_path}"]

    done = subprocess.run(
        [sys.executable, "-m", "tools.bench", *words],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.thorough
def test_folder_that_takes_no_measurements_is_a_sentence(tmp_path: Path) -> None:
    """A folder for CSV files that cannot be made is one sentence and status 2 before anything is measured."""
    (tmp_path / "file").touch()
    words = ["-n2", "--target=sim-x86_64", f"--out={tmp_path}/out", f"-o{tmp_path}/file/csv"]

    done = subprocess.run(
        [sys.executable, "-m", "tools.bench", *words],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip

    assert done.returncode == 2
    assert "cannot write measurements into" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not (tmp_path / "out").exists()
