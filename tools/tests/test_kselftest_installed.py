# SPDX-License-Identifier: GPL-2.0-only
"""Every program of an installed tree, run on this host by a python3 without packages."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from reports import read_ktap
from tools import kselftest, vendor
from tools.tests.small_tree import ROOT, hide_packages

# Each of the programs starts Python; those about this host run on its KVM, if it has one.
pytestmark = pytest.mark.timeout(1500)

LIMIT_S = 1200


PLANTED = """
import time
import pytest

pytestmark = pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_GET_API_VERSION")

@pytest.fixture
def broken():
    raise OSError("the harness broke")

def test_fails(target):
    assert target is None

def test_is_in_error(target, broken):
    pass

@pytest.mark.timeout(1)
def test_hangs(target):
    time.sleep(60)

def test_now_works(target):
    pass
"""
ISSUE = """
[[issue]]
id = "planted"
tests = "test_now_works"
when = { kind = "host" }
symptom = "x"
reason = "it is like that"
reference = "docs"
"""

has_kvm = pytest.mark.skipif(
    not os.access("/dev/kvm", os.R_OK | os.W_OK), reason="this host has no KVM to test"
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the tree that `make install` makes of this checkout, pytest in its vendor/."""
    checkout = tmp_path_factory.mktemp("checkout")
    for name in ("fixtures", "kvmtests", "reports", "tools"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("tests", "__pycache__"))
    for name in ("Makefile", "settings", "config", "conftest.py", "pytest.ini"):
        shutil.copy(ROOT / name, checkout)
    installed = tmp_path_factory.mktemp("installed")
    subprocess.run(
        ["make", "-s", "-C", str(checkout), "install", "VENDOR=no", f"INSTALL_PATH={installed}"],
        check=True,
        timeout=LIMIT_S,
    )
    vendor.copy(installed / "kvmtests/vendor")
    return installed


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the environment of a host whose python3 has no packages."""
    folder = tmp_path_factory.mktemp("bare")
    (folder / "python3").symlink_to(Path(sys.executable).resolve())
    return {"PATH": f"{folder}:/usr/bin:/bin", "PYTHONPATH": str(hide_packages(folder))}


def run(tree: Path, environment: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    """Return what run_kselftest.sh of *tree* did."""
    return subprocess.run(
        [tree / "run_kselftest.sh", *options],
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


@pytest.fixture(scope="module")
def whole(tree: Path, bare: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Return what all programs said."""
    return run(tree, bare)


@pytest.mark.thorough
def test_every_program_runs(whole: subprocess.CompletedProcess[str]) -> None:
    """No program of an installed tree fails because of what the tree lacks."""
    results = read_ktap.parse(whole.stdout).results

    verdicts = {result.verdict.value for result in results}
    assert {"pass", "skip"} & verdicts
    assert verdicts <= {"pass", "fail", "skip", "xfail", "xpass"}, whole.stdout[-4000:]
    assert "No module named" not in whole.stdout
    assert whole.returncode in ((1,) if verdicts & {"fail", "xpass"} else (0, 4))
    for subject in kselftest.subjects():
        assert f" selftests: kvmtests: {kselftest.program_of(subject)}" in whole.stdout


@pytest.mark.thorough
@has_kvm
def test_counterparts_are_one_skip(tree: Path, bare: dict[str, str]) -> None:
    """Claims about a simulated counterpart are one skip: the CPU emulator is compiled and stays at home."""
    subject = "x86.agreement" if os.uname().machine == "x86_64" else "arm64.agreement"
    program = kselftest.program_of(subject)

    done = run(tree, bare, "-t", f"kvmtests:{program}")

    assert done.stdout.splitlines()[-3:] == [
        "# TAP version 13",
        "# 1..0 # SKIP Python module unicorn is not installed",
        f"ok 1 selftests: kvmtests: {program} # SKIP",
    ]
    assert done.returncode == 4


@pytest.mark.thorough
@pytest.mark.parametrize("argument", ["--target sim-x86_64", "--target=sim-x86_64,sim-x86_64-series"])
def test_simulated_target_without_an_emulator_is_one_skip(
    tree: Path, bare: dict[str, str], argument: str
) -> None:
    """A simulated target in KSELFTEST_..._ARGS is a skip with its reason where nothing can simulate it."""
    done = run(
        tree,
        bare | {"KSELFTEST_KVM_X86_SET_CLOCK_SH_ARGS": argument},
        "-t",
        "kvmtests:kvm_x86_set_clock.sh",
    )

    assert "# 1..0 # SKIP Python module unicorn is not installed\n" in done.stdout, done.stdout
    assert done.returncode == 4


@pytest.mark.thorough
def test_target_that_nobody_knows_is_an_error(tree: Path, bare: dict[str, str]) -> None:
    """A target that does not exist is a failure of the program, with pytest's sentence."""
    done = run(
        tree,
        bare | {"KSELFTEST_KVM_X86_SET_CLOCK_SH_ARGS": "--target sim-z80"},
        "-t",
        "kvmtests:kvm_x86_set_clock.sh",
    )

    assert "there is no target 'sim-z80'" in done.stdout
    assert done.returncode == 1


@pytest.mark.thorough
@has_kvm
def test_lines_that_programs_print_run_in_their_folder(
    tree: Path, bare: dict[str, str], tmp_path: Path
) -> None:
    """A failure, an error, a time-out and an unexpected pass each come with a line that repeats just it."""
    folder = tmp_path / "kvmtests"
    shutil.copytree(tree / "kvmtests", folder)
    (folder / "kvmtests/common/test_planted.py").write_text(PLANTED)
    with (folder / "kvmtests/known_issues.toml").open("a") as issues:
        issues.write(ISSUE)
    shutil.copy(folder / "tools/kselftest_program.sh", folder / "kvm_common_planted.sh")
    program = subprocess.run(
        ["./kvm_common_planted.sh"],
        cwd=folder,
        env=bare,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )

    verdicts = {result.name: result.verdict.value for result in read_ktap.parse(program.stdout).results}
    lines = re.findall(r"^# reproduce: (.*)$", program.stdout, re.MULTILINE)
    ends = [by_shell(folder, bare, line).stdout for line in lines]

    claims = [f"common.planted.test_{name}" for name in ("fails", "is_in_error", "hangs", "now_works")]
    assert verdicts == dict(zip(claims, ("fail", "error", "timeout", "xpass"), strict=True)), program.stdout
    assert all(line.startswith("env PYTHONPATH=vendor python3 -m pytest ") for line in lines)
    assert [re.findall(r"\d+ (?:failed|error|xpassed|passed)", end)[-1:] for end in ends] == [
        ["1 failed"],
        ["1 error"],
        ["1 failed"],
        ["1 xpassed"],
    ], ends


def by_shell(folder: Path, environment: dict[str, str], line: str) -> subprocess.CompletedProcess[str]:
    """Return what a shell in *folder* makes of *line*."""
    return subprocess.run(
        ["sh", "-c", line],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
