# SPDX-License-Identifier: GPL-2.0-only
"""The kselftest programs: one valid TAP document and exit status, whatever happens."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from reports import read_ktap
from tools import kselftest

ROOT = Path(__file__).parents[2]

SUITE = """
import time
import pytest

def test_passes():
    print("ok 1 said by the test")

def test_is_skipped():
    pytest.skip("KVM_CAP_COUNTER_OFFSET")

{more}
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a tree with the reporter, the program and no bench: what a test needs to be quick."""
    for name in ("reports", "tools"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("tests", "__pycache__"))
    (tmp_path / "kvmtests/x86").mkdir(parents=True)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "conftest.py").write_text("def pytest_addoption(parser):\n    parser.addoption('--target')\n")
    return tmp_path


def suite(tree: Path, more: str = "") -> None:
    """Write the module of the subject x86.clock, with *more* tests."""
    (tree / "kvmtests/x86/test_clock.py").write_text(SUITE.format(more=more))


def program(tree: Path, *python: str, **environment: str) -> subprocess.Popen[str]:
    """Start the program of x86.clock as the runner does."""
    words = [sys.executable, *python, str(tree / "tools/kselftest.py"), "x86.clock", "--target", "any"]
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**inherited, **environment}
    )


def verdicts(output: str) -> dict[str, str]:
    """Return the verdict of each result in *output*."""
    return {result.name: result.verdict.value for result in read_ktap.parse(output).results}


def test_document_of_a_program_is_whole(tree: Path) -> None:
    """Version, plan, numbered results, totals, newline; exit status 0."""
    suite(tree)

    process = program(tree)
    output, _ = process.communicate(timeout=40)

    assert process.returncode == 0
    assert output.startswith("TAP version 13\n1..2\n")
    assert output.endswith("# Totals: pass:1 fail:0 xfail:0 xpass:0 skip:1 error:0\n")
    assert verdicts(output) == {"x86.clock.test_passes": "pass", "x86.clock.test_is_skipped": "skip"}


def test_failure_is_exit_status_1(tree: Path) -> None:
    """One failure makes the program fail, with its message before the result."""
    suite(tree, "def test_fails():\n    assert False, 'value 5 is 1 behind the end'\n")

    process = program(tree)
    output, _ = process.communicate(timeout=40)

    assert process.returncode == 1
    assert "# AssertionError: value 5 is 1 behind the end\n" in output
    assert "not ok 3 x86.clock.test_fails\n" in output


def test_module_that_cannot_be_imported_is_one_error(tree: Path) -> None:
    """A broken module is one result with its traceback, not a missing plan."""
    suite(tree, "import nonsense_of_ours")

    process = program(tree)
    output, _ = process.communicate(timeout=40)

    assert process.returncode == 1
    assert "1..1\n" in output
    assert list(verdicts(output).values()) == ["error"]


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
        "x86.clock.test_waits": "skip",
    }
    assert rest.endswith("skip:2 error:1\n")


def test_own_limit_comes_before_the_runners(tree: Path) -> None:
    """With kselftest_timeout set the program ends in time by itself."""
    suite(tree, "def test_hangs():\n    time.sleep(60)\n")

    process = program(tree, kselftest_timeout="6")
    output, _ = process.communicate(timeout=40)

    assert process.returncode == 1
    assert verdicts(output)["x86.clock.test_hangs"] == "timeout"
    assert "time limit of kselftest" in output


def test_missing_module_is_a_skip_with_its_reason(tree: Path) -> None:
    """A machine with nothing but python3 skips with 4."""
    suite(tree)

    process = program(tree, "-S", "-I")
    output, _ = process.communicate(timeout=40)

    assert process.returncode == 4
    assert output == "TAP version 13\n1..0 # SKIP Python module pytest is not installed\n"


def test_vendored_packages_are_found(tree: Path) -> None:
    """Packages that the tree brings along stand in for those of the machine."""
    suite(tree)
    (tree / "vendor").mkdir()
    for name in kselftest.MODULES:
        (tree / "vendor" / f"{name}.py").write_text("raise SystemExit(77)\n")

    process = program(tree, "-S", "-I")
    process.communicate(timeout=40)

    assert process.returncode == 77


def test_each_subject_has_a_program(tmp_path: Path) -> None:
    """Programs are executable, unique by name, one for each module; stale ones go."""
    (tmp_path / "kvm_x86_gone.sh").write_text("")

    kselftest.write_programs(tmp_path)

    written = sorted(path.name for path in tmp_path.iterdir())
    assert len(written) == len(list((ROOT / "kvmtests").glob("*/test_*.py")))
    assert "kvm_x86_gone.sh" not in written
    assert all(os.access(path, os.X_OK) for path in tmp_path.iterdir())


@pytest.mark.clients
def test_the_kernels_runner_reads_the_program(tree: Path) -> None:
    """Under the kernel's runner: pass, failure and skip are its own lines, our results behind "# "."""
    selftests = Path(os.environ.get("KERNEL_SOURCE", ""), "tools/testing/selftests/kselftest")
    if "KERNEL_SOURCE" not in os.environ or not (selftests / "runner.sh").is_file():
        pytest.skip("KERNEL_SOURCE names no kernel tree: unpack Debian's linux-source")
    suite(tree)
    kselftest.write_programs(tree / "progs")
    (tree / "progs/kvm_x86_clock.sh").write_text(kselftest.PROGRAM.format(subject="x86.clock"))
    (tree / "progs/kvm_x86_clock.sh").chmod(0o755)
    (tree / "progs/kvm_x86_none.sh").write_text(kselftest.PROGRAM.format(subject="x86.none"))
    (tree / "progs/kvm_x86_none.sh").chmod(0o755)

    done = subprocess.run(
        ["sh", "-c", '. "$1/runner.sh"; run_many ./kvm_x86_clock.sh ./kvm_x86_none.sh', "sh", str(selftests)],
        cwd=tree / "progs",
        env={
            **os.environ,
            "BASE_DIR": str(selftests.parent),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "KSELFTEST_KVM_X86_CLOCK_SH_ARGS": "--target any",
        },
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )

    assert re.search(r"^ok 1 selftests: \S*: kvm_x86_clock.sh$", done.stdout, re.MULTILINE), done.stdout
    assert re.search(r"^ok 2 selftests: \S*: kvm_x86_none.sh # SKIP$", done.stdout, re.MULTILINE)
    found = verdicts(done.stdout)
    assert found["x86.clock.test_passes"] == "pass"
    assert found["x86.clock.test_is_skipped"] == "skip"
