# SPDX-License-Identifier: GPL-2.0-only
"""The kselftest programs: one valid TAP document and exit status, whatever happens."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from fixtures.architectures import ROWS, Architecture
from reports import read_ktap
from tools import kselftest
from tools.tests.small_tree import plant, suite

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a tree with the reporter and the program, without the harness, which makes tests quick."""
    plant(tmp_path)
    return tmp_path


def program(
    tree: Path, *python: str, arguments: Sequence[str] = (), **environment: str
) -> subprocess.Popen[str]:
    """Start the program of x86.clock as the runner does."""
    words = [sys.executable, *python, str(tree / "tools/kselftest.py"), "x86.clock", "--target", "any"]
    words += arguments
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**inherited, **environment}
    )


def verdicts(output: str) -> dict[str, str]:
    """Return the verdict of each result in *output*."""
    return {result.name: result.verdict.value for result in read_ktap.parse(output).results}


@pytest.mark.thorough
def test_document_of_a_program_is_whole(tree: Path) -> None:
    """Version, plan, numbered results, totals, newline; exit status 0."""
    suite(tree)

    process = program(tree)
    output, _ = process.communicate(timeout=40)

    assert process.returncode == 0
    assert output.startswith("TAP version 13\n1..2\n")
    assert output.endswith("# Totals: pass:1 fail:0 xfail:0 xpass:0 skip:1 error:0\n")
    assert verdicts(output) == {"x86.clock.test_passes": "pass", "x86.clock.test_is_skipped": "skip"}


@pytest.mark.thorough
def test_failure_is_exit_status_1(tree: Path) -> None:
    """One failure makes the program fail, with its message before the result."""
    suite(tree, "def test_fails():\n    assert False, 'value 5 is 1 after the end'\n")

    process = program(tree)
    output, _ = process.communicate(timeout=40)

    assert process.returncode == 1
    assert "# AssertionError: value 5 is 1 after the end\n" in output
    assert "not ok 3 x86.clock.test_fails\n" in output


@pytest.mark.thorough
def test_module_that_cannot_be_imported_is_one_error(tree: Path) -> None:
    """A broken module is one result with its traceback, not a missing plan."""
    suite(tree, "import nonsense_of_ours")

    process = program(tree)
    output, _ = process.communicate(timeout=40)

    assert process.returncode == 1
    assert "1..1\n" in output
    assert list(verdicts(output).values()) == ["error"]


@pytest.mark.thorough
def test_term_completes_the_document(tree: Path) -> None:
    """On TERM the running test timed out, the rest did not run, and the last line is the totals."""
    suite(tree, "def test_hangs():\n    time.sleep(60)\n\ndef test_waits():\n    pass\n")

    process = program(tree)
    assert process.stdout is not None
    seen = ""
    while "ok 2 " not in seen:
        seen += process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=40)

    assert process.returncode == 1
    assert verdicts(seen + rest) == {
        "x86.clock.test_passes": "pass",
        "x86.clock.test_is_skipped": "skip",
        "x86.clock.test_hangs": "timeout",
        "x86.clock.test_waits": "not run",
    }
    assert "# Planned tests != run tests (4 != 3)\n" in rest
    assert rest.endswith("skip:1 error:1\n")


@pytest.mark.thorough
def test_test_that_hangs_is_a_timeout(tree: Path) -> None:
    """A test that exceeds its own limit is TIMEOUT, and the next test runs."""
    suite(
        tree,
        "@pytest.mark.timeout(1)\ndef test_hangs():\n    time.sleep(60)\n\ndef test_next():\n    pass\n",
    )

    process = program(tree)
    output, _ = process.communicate(timeout=40)

    assert process.returncode == 1
    assert "not ok 3 x86.clock.test_hangs # TIMEOUT\n" in output
    assert "# Failed: Timeout (>1.0s) from pytest-timeout.\n" in output
    assert verdicts(output)["x86.clock.test_next"] == "pass"


@pytest.mark.thorough
def test_own_limit_comes_before_the_runners(tree: Path) -> None:
    """With kselftest_timeout set the program ends in time by itself."""
    suite(tree, "def test_hangs():\n    time.sleep(60)\n")

    process = program(tree, kselftest_timeout="20")
    output, _ = process.communicate(timeout=40)

    assert process.returncode == 1
    assert verdicts(output)["x86.clock.test_hangs"] == "timeout"
    assert "time limit of kselftest" in output


def test_missing_module_is_a_skip_with_its_reason(tree: Path) -> None:
    """A host with nothing but python3 skips with 4."""
    suite(tree)

    process = program(tree, "-S", "-I")
    output, _ = process.communicate(timeout=40)

    assert process.returncode == 4
    assert output == "TAP version 13\n1..0 # SKIP Python module pytest is not installed\n"


def test_vendored_packages_are_found(tree: Path) -> None:
    """The tree's own packages are used if the host has none."""
    suite(tree)
    (tree / "vendor").mkdir()
    for name in kselftest.MODULES:
        (tree / "vendor" / f"{name}.py").write_text("raise SystemExit(77)\n")

    process = program(tree, "-S", "-I")
    process.communicate(timeout=40)

    assert process.returncode == 77


@pytest.mark.thorough
def test_refused_command_line_is_an_error(tree: Path) -> None:
    """What pytest refuses is a failure of the program, never a skip that looks well."""
    suite(tree)

    process = program(tree, arguments=["--no-such-option"])
    output, _ = process.communicate(timeout=40)

    assert process.returncode == 1
    assert list(verdicts(output).values()) == ["error"]


@pytest.mark.thorough
def test_plug_ins_of_the_host_stay_out(tree: Path) -> None:
    """A broken plug-in that this host happens to have breaks nothing."""
    suite(tree)
    (tree / "broken_plugin.py").write_text("raise RuntimeError")
    (tree / "broken-1.dist-info").mkdir()
    (tree / "broken-1.dist-info/entry_points.txt").write_text("[pytest11]\nbroken = broken_plugin\n")
    (tree / "broken-1.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")

    process = program(tree, PYTHONPATH=str(tree), PYTEST_ADDOPTS="--no-such-option")
    output, _ = process.communicate(timeout=40)

    assert process.returncode == 0, output


def test_each_subject_has_a_program_of_its_own() -> None:
    """File names are unique, since an installed list keeps them without their folder."""
    subjects = kselftest.subjects()

    programs = {kselftest.program_of(subject) for subject in subjects}

    assert len(programs) == len(subjects) == len(list((ROOT / "kvmtests").glob("*/test_*.py")))
    assert all((ROOT / kselftest.module_of(subject)).is_file() for subject in subjects)


@pytest.mark.thorough
def test_program_knows_its_subject_by_its_name(tree: Path) -> None:
    """The script is the same for all: kvm_x86_clock.sh is about kvmtests/x86/test_clock.py."""
    suite(tree)
    script = tree / "kvm_x86_clock.sh"
    shutil.copy(tree / "tools/kselftest_program.sh", script)

    done = subprocess.run(
        [script, "--target", "any"],
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert verdicts(done.stdout)["x86.clock.test_passes"] == "pass"


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_program_of_another_architecture_starts_no_python(tmp_path: Path, row: Architecture) -> None:
    """The script compares `uname -m`: python3 starts on the architecture's hosts, or for a named target."""
    script = tmp_path / f"kvm_{row.folder}_clock.sh"
    shutil.copy(ROOT / "tools/kselftest_program.sh", script)
    commands = {"python3": "echo started", "uname": 'echo "$PROCESSOR"'}
    for name, line in commands.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / name).chmod(0o755)

    def output(processor: str, *words: str) -> str:
        environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "PROCESSOR": processor}
        return subprocess.run(
            [script, *words], env=environment, capture_output=True, text=True, timeout=40, check=False
        ).stdout

    assert output(row.uname_m) == "started\n"
    assert output("sparc") == "TAP version 13\n1..0 # SKIP none of these claims concerns this host\n"
    assert output("sparc", "--target", f"sim-{row.name}") == "started\n"
    assert output("sparc", f"--target=sim-{row.name}") == "started\n"


def test_host_without_python_skips(tree: Path) -> None:
    """Without python3 the program is a skip with its reason."""
    commands = tree / "bin"
    commands.mkdir()
    for name in ("sh", "dirname", "basename", "uname"):
        (commands / name).symlink_to(str(shutil.which(name)))

    done = subprocess.run(
        [tree / "tools/kselftest_program.sh"],
        env={"PATH": str(commands)},
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )

    assert done.returncode == 4
    assert done.stdout == "TAP version 13\n1..0 # SKIP python3 is not installed\n"
