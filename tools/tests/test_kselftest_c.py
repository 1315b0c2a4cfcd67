# SPDX-License-Identifier: GPL-2.0-only
"""`make install PROGRAMS=...`: claims as C programs in an installed tree of kselftest."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools import kselftest_c
from tools.tests.exported import HAS_KVM, ROOT
from tools.tests.small_tree import furnish, plant, suite

REFUSAL = "kvmtests/x86/test_set_clock.py::test_unknown_flag_is_refused_and_changes_nothing[bit-4]"
TWO_HOSTS = "kvmtests/x86/test_migration.py::test_leap_second_is_harmless_with_tai[inserted]"
NAME = "x86-test_set_clock-test_unknown_flag_is_refused_and_changes_nothing-bit-4"
TITLE = f"{kselftest_c.COLLECTION}:{NAME}"
ENDS_WITH = '#include <stdio.h>\nint main(void)\n{{\n\tputs("1..1");\n\treturn {};\n}}\n'


def links_statically() -> bool:
    """Whether this host has a compiler and a C library to link statically."""
    if shutil.which("cc") is None:
        return False
    command = ["cc", "-static", "-x", "c", "-", "-o", "/dev/null"]
    return subprocess.run(command, input=b"int main(void) { return 0; }", check=False).returncode == 0


pytestmark = pytest.mark.skipif(not links_statically(), reason="no cc here links statically")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a small checkout with a folder c/ of three programs: one passes, one fails, one skips."""
    tree = tmp_path / "checkout"
    tree.mkdir()
    plant(tree)
    suite(tree)
    furnish(tree)
    (tree / "c").mkdir()
    for name, status in (("a_passes", 0), ("b_fails", 1), ("c_skips", 4)):
        (tree / f"c/{name}.c").write_text(ENDS_WITH.format(status))
    return tree


def make(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run make in *folder*, without a copy of pytest in what it installs."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    inherited["PATH"] = f"{Path(sys.executable).parent}:{inherited['PATH']}"
    command = ["make", "-C", str(folder), *words, "VENDOR=no"]
    return subprocess.run(command, env=inherited, capture_output=True, text=True, timeout=55, check=False)


def run(tree: Path) -> subprocess.CompletedProcess[str]:
    """Return what run_kselftest.sh says of the C programs in *tree*."""
    command = [str(tree / "run_kselftest.sh"), "-c", kselftest_c.COLLECTION]
    return subprocess.run(command, capture_output=True, text=True, timeout=55, check=False)


def results(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return the runner's result lines."""
    return [line for line in done.stdout.splitlines() if line.startswith(("ok ", "not ok "))]


def listed(tree: Path) -> list[str]:
    """Return the C programs on the list of *tree*."""
    lines = (tree / "kselftest-list.txt").read_text().split()
    return [line for line in lines if line.startswith(f"{kselftest_c.COLLECTION}:")]


@pytest.mark.thorough
def test_folder_of_programs_runs_in_the_installed_tree(checkout: Path, tmp_path: Path) -> None:
    """Each C file of a folder is a program on the list, and its status is its verdict."""
    tree = tmp_path / "in stalled"

    done = make(checkout, "install", "PROGRAMS=c", f"INSTALL_PATH={tree}")
    ran = run(tree)

    assert done.returncode == 0, done.stderr
    assert results(ran) == [
        "ok 1 selftests: kvmtests-c: a_passes",
        "not ok 2 selftests: kvmtests-c: b_fails # exit=1",
        "ok 3 selftests: kvmtests-c: c_skips # SKIP",
    ]
    assert "# timeout set to 300\n" in ran.stdout
    assert "kvmtests:kvm_x86_clock.sh\n" in (tree / "kselftest-list.txt").read_text()
    assert (tree / "kvmtests-c/a_passes.c").read_text() == (checkout / "c/a_passes.c").read_text()


@pytest.mark.thorough
def test_tar_has_the_programs_too(checkout: Path, tmp_path: Path) -> None:
    """`make gen_tar` packs them, and the list that comes with them names no program twice."""
    tree = tmp_path / "packed"
    for _ in range(2):
        done = make(checkout, "gen_tar", "PROGRAMS=c/a_passes.c", f"INSTALL_PATH={tree}")
        assert done.returncode == 0, done.stderr
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    archive = tree / "kselftest-packages/kselftest.tar.gz"
    subprocess.run(["tar", "-xf", str(archive), "-C", str(elsewhere)], check=True, timeout=50)

    assert results(run(elsewhere)) == ["ok 1 selftests: kvmtests-c: a_passes"]


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        pytest.param(
            ["PROGRAMS=c", "CC=no-such-cc"],
            "the compiler 'no-such-cc' is not installed; install it, or name one with CC=.",
            id="no-compiler",
        ),
        pytest.param(
            ["PROGRAMS=c broken.c"],
            "cc cannot make a program of 'broken.c' that is linked statically; what it says is above.",
            id="no-program",
        ),
        pytest.param(["PROGRAMS=c c/a_passes.c"], "would be the same program.", id="one-name-twice"),
        pytest.param(["PROGRAMS='two words.c'"], "no usable name for a program; rename the file.", id="name"),
        pytest.param(
            ["PROGRAMS= "],
            'PROGRAMS names no claim and no C file, as in PROGRAMS="repro.c other.c".',
            id="nothing",
        ),
        pytest.param(
            ["PROGRAMS=c", "TARGET=a b"],
            "PROGRAMS are recorded on one target, and TARGET names several.",
            id="two-targets",
        ),
    ],
)
def test_what_cannot_be_installed_is_a_sentence(
    checkout: Path, tmp_path: Path, words: list[str], sentence: str
) -> None:
    """make fails with one sentence, and no C program is on the list or in the tree."""
    (checkout / "broken.c").write_text("int main(void) { return nothing; }\n")
    tree = tmp_path / "installed"

    done = make(checkout, "install", f"INSTALL_PATH={tree}", *words)

    assert done.returncode != 0
    assert f"{sentence}\n" in done.stderr
    assert "make install: " in done.stderr
    assert "Traceback" not in done.stderr
    assert listed(tree) == []
    assert not (tree / kselftest_c.COLLECTION).exists()


@pytest.mark.thorough
@HAS_KVM
def test_claim_is_exported_compiled_and_run(tmp_path: Path) -> None:
    """A claim that a node id names is a program of the tree; one without a program says why."""
    words = ["--install-path", str(tmp_path), "--target", "sim-x86_64", "--", REFUSAL, TWO_HOSTS]
    command = [sys.executable, "-m", "tools.kselftest_c", *words]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    ran = subprocess.run(
        [tmp_path / kselftest_c.COLLECTION / NAME], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert "has no program: it moves a guest between two hosts\n" in done.stderr
    assert listed(tmp_path) == [TITLE]
    assert ran.stdout.startswith("TAP version 13\n1..1\n")
    assert ran.returncode in {0, 1, 4}


@pytest.mark.thorough
def test_only_claims_without_a_program_install_nothing(tmp_path: Path) -> None:
    """Where no claim has a program, the command says so, and fails."""
    words = ["--install-path", str(tmp_path), "--target", "sim-x86_64", "--", TWO_HOSTS]
    command = [sys.executable, "-m", "tools.kselftest_c", *words]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)

    assert done.returncode == 1
    assert done.stderr.endswith("make install: PROGRAMS names nothing that has a C program.\n")
    assert list(tmp_path.iterdir()) == []
