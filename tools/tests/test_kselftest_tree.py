# SPDX-License-Identifier: GPL-2.0-only
"""The checkout as a directory of kselftest: standing alone, and inside of a kernel tree."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools import ktap_readers, vendor
from tools.tests.small_tree import ROOT, hide_packages, plant, suite

PROGRAM = "kvm_x86_clock.sh"
ARGUMENTS = {"KSELFTEST_KVM_X86_CLOCK_SH_ARGS": "--target any"}
LINE = f"ok 1 selftests: kvmtests: {PROGRAM}\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a small checkout."""
    tree = tmp_path / "checkout"
    tree.mkdir()
    plant(tree)
    suite(tree)
    return tree


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """Return the environment of a host with the usual commands and a python3 without packages."""
    commands = tmp_path / "bare"
    commands.mkdir()
    (commands / "python3").symlink_to(Path(sys.executable).resolve())
    # No variable sets isolated mode; without user site and PYTHONPATH this is close to it.
    return {"PATH": f"{commands}:/usr/bin:/bin", "PYTHONNOUSERSITE": "1", **ARGUMENTS}


def make(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run make in *folder*, python3 being this one."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    inherited["PATH"] = f"{Path(sys.executable).parent}:{inherited['PATH']}"
    return subprocess.run(
        ["make", "-C", str(folder), *words],
        env={**inherited, **ARGUMENTS, **environment},
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )


def run(*words: str | Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run *words* with nothing but *environment*."""
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=50, check=False)


def installed(checkout: Path) -> Path:
    """Return the tree that `make install` makes of *checkout*, without packages."""
    tree = checkout.with_name("installed")
    done = make(checkout, "install", "VENDOR=no", f"INSTALL_PATH={tree}")
    assert done.returncode == 0, done.stderr
    return tree


@pytest.mark.thorough
def test_run_tests_in_a_checkout(checkout: Path) -> None:
    """`make run_tests` prints what the kernel's runner would, and succeeds."""
    done = make(checkout, "-s", "run_tests", "VENDOR=no")

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("TAP version 13\n1..1\n")
    assert "# ok 1 x86.clock.test_passes\n" in done.stdout
    assert done.stdout.endswith(LINE)


@pytest.mark.thorough
def test_installed_tree_needs_nothing_but_python3(checkout: Path, bare: dict[str, str]) -> None:
    """With pytest in vendor/ the tree runs where python3 has no packages at all."""
    tree = installed(checkout)
    vendor.copy(tree / "kvmtests/vendor")

    done = run(tree / "run_kselftest.sh", environment=bare)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "# ok 1 x86.clock.test_passes\n" in done.stdout
    assert done.stdout.endswith(LINE)


def test_installed_tree_without_packages_skips(checkout: Path, bare: dict[str, str]) -> None:
    """Without vendor/ each program is a skip with its reason, and nothing ran."""
    tree = installed(checkout)
    shutil.rmtree(tree / "kvmtests/vendor", ignore_errors=True)
    bare["PYTHONPATH"] = str(hide_packages(tree))

    done = run(tree / "run_kselftest.sh", environment=bare)

    assert done.returncode == 4
    assert "# 1..0 # SKIP Python module pytest is not installed\n" in done.stdout
    assert done.stdout.endswith(f"{LINE.rstrip()} # SKIP\n")


FAILS = "def test_fails():\n    assert False\n"
ONLY_SKIPS = "def skip():\n    pytest.skip('KVM_CAP_X')\n\ntest_passes = test_is_skipped = skip\n"


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("more", "program", "inner"),
    [
        pytest.param("", "pass", ["pass", "skip"], id="a-pass-and-a-skip"),
        pytest.param(FAILS, "fail", ["pass", "skip", "fail"], id="a-failure"),
        pytest.param(ONLY_SKIPS, "skip", ["skip", "skip"], id="only-skips"),
    ],
)
def test_netdev_ci_takes_the_verdict_of_the_program(
    checkout: Path, more: str, program: str, inner: list[str]
) -> None:
    """A skipped test does not make its whole program a skip; each test has its verdict all the same."""
    suite(checkout, more)

    done = make(checkout, "-s", "run_tests", "VENDOR=no")

    # make's status is not the program's, which the CI takes from the runner's line.
    status = {"pass": 0, "skip": 4, "fail": 1}[program]
    results = [ktap_readers.parse(line[2:]) for line in done.stdout.splitlines() if "x86.clock.test_" in line]
    assert ktap_readers.netdev_program(done.stdout, status) == program, done.stdout
    for reader in (ktap_readers.netdev, ktap_readers.lkft, ktap_readers.prove, ktap_readers.tap_parser):
        assert [reader(result) for result in results if result] == inner


def unpack(archive: Path, folder: Path) -> None:
    """Unpack *archive* into the new *folder*."""
    folder.mkdir()
    subprocess.run(["tar", "-xf", str(archive), "-C", str(folder)], check=True, timeout=50)


def test_install_lists_what_it_installs(checkout: Path) -> None:
    """kselftest-list.txt names each program, and each is there and executable."""
    tree = installed(checkout)

    names = (tree / "kselftest-list.txt").read_text().split()

    assert names == [f"kvmtests:{PROGRAM}"]
    assert os.access(tree / "kvmtests" / PROGRAM, os.X_OK)
    assert (tree / "kvmtests/settings").is_file()


def test_install_without_a_place_is_refused(checkout: Path) -> None:
    """One sentence, and nothing written."""
    done = make(checkout, "install", "VENDOR=no")

    assert done.returncode != 0
    assert "set INSTALL_PATH" in done.stderr


def test_tar_holds_the_installed_tree(checkout: Path, bare: dict[str, str], tmp_path: Path) -> None:
    """`make gen_tar` packs a tree that runs where it is unpacked."""
    done = make(checkout, "gen_tar", "VENDOR=no", "FORMAT=.xz", f"INSTALL_PATH={tmp_path}/packed")
    unpack(tmp_path / "packed/kselftest-packages/kselftest.tar.xz", tmp_path / "elsewhere")
    vendor.copy(tmp_path / "elsewhere/kvmtests/vendor")

    ran = run(tmp_path / "elsewhere/run_kselftest.sh", environment=bare)

    assert done.returncode == 0, done.stderr
    assert ran.stdout.endswith(LINE)


def test_settings_leave_time_and_end_with_a_newline() -> None:
    """The kernel's runner loses a last line without newline, and gives 45 s then."""
    text = (ROOT / "settings").read_text()

    assert text.endswith("\n")
    assert "timeout=300\n" in text


def test_compiled_packages_do_not_go_along(tmp_path: Path) -> None:
    """What would run on one architecture only is refused by name."""
    with pytest.raises(vendor.VendorError, match="unicorn is compiled"):
        vendor.copy(tmp_path / "vendor", ["unicorn"])


@pytest.fixture
def selftests(tmp_path: Path, checkout: Path) -> Path:
    """Return tools/testing/selftests of a kernel tree with the checkout as its directory kvmtests."""
    source = os.environ.get("KERNEL_SOURCE", "")
    if not Path(source, "tools/testing/selftests/lib.mk").is_file() or not source:
        pytest.skip("KERNEL_SOURCE names no kernel tree: unpack Debian's linux-source")
    if shutil.which("rsync") is None:
        pytest.skip("lib.mk installs with rsync: install it")
    folder = tmp_path / "linux/tools/testing/selftests"
    folder.mkdir(parents=True)
    for name in ("lib.mk", "Makefile", "run_kselftest.sh"):
        shutil.copy(Path(source, "tools/testing/selftests", name), folder)
    shutil.copytree(Path(source, "tools/testing/selftests/kselftest"), folder / "kselftest")
    (tmp_path / "linux/scripts").mkdir()
    shutil.copy(Path(source, "scripts/subarch.include"), tmp_path / "linux/scripts")
    checkout.rename(folder / "kvmtests")
    return folder


@pytest.mark.clients
@pytest.mark.parametrize(
    "words",
    [
        pytest.param((), id="all"),
        pytest.param((f"TEST_PROGS={PROGRAM}", "TEST_GEN_PROGS="), id="one-as-netdev-ci"),
    ],
)
def test_member_runs_its_tests(selftests: Path, words: tuple[str, ...]) -> None:
    """`make TARGETS=kvmtests run_tests` of a kernel tree runs our programs, with our time limit."""
    done = make(selftests, "TARGETS=kvmtests", *words, "run_tests")

    assert "# timeout set to 300\n" in done.stdout, done.stdout + done.stderr
    assert "# ok 1 x86.clock.test_passes\n" in done.stdout
    assert LINE in done.stdout


@pytest.mark.clients
def test_member_in_a_deeper_folder_and_as_a_link(selftests: Path) -> None:
    """A collection may lie one level deeper, or be a link to a checkout elsewhere."""
    (selftests / "deep").mkdir()
    (selftests / "kvmtests").rename(selftests / "deep/kvmtests")
    (selftests / "linked").symlink_to(selftests.parents[2] / "elsewhere")
    shutil.copytree(selftests / "deep/kvmtests", selftests.parents[2] / "elsewhere")

    deep = make(selftests, "TARGETS=deep/kvmtests", "run_tests")
    linked = make(selftests, "TARGETS=linked", "run_tests")

    assert f"\nok 1 selftests: deep/kvmtests: {PROGRAM}\n" in deep.stdout, deep.stdout + deep.stderr
    assert f": {PROGRAM}\n" in linked.stdout, linked.stdout + linked.stderr


@pytest.mark.clients
def test_member_is_built_installed_and_cleaned_elsewhere(selftests: Path, tmp_path: Path) -> None:
    """O= takes what is made; clean removes that, and never the folder O itself."""
    build = tmp_path / "build"
    build.mkdir()
    (build / "vmlinux").write_text("")

    done = make(selftests, f"O={build}", "TARGETS=kvmtests", "run_tests")
    make(selftests, f"O={build}", "TARGETS=kvmtests", "clean")

    assert LINE in done.stdout, done.stdout + done.stderr
    assert not (selftests / "kvmtests" / PROGRAM).exists()
    assert not (build / "kselftest/kvmtests" / PROGRAM).exists()
    assert (build / "vmlinux").exists()


@pytest.mark.clients
def test_member_is_installed_and_packed(selftests: Path, tmp_path: Path, bare: dict[str, str]) -> None:
    """The kernel's run_kselftest.sh runs the unpacked tree: -l, -t, -c, -o, -s."""
    vendor.copy(selftests / "kvmtests/.venv/vendor")
    done = make(selftests, "TARGETS=kvmtests", "gen_tar", f"KSFT_INSTALL_PATH={tmp_path}/packed")
    unpack(tmp_path / "packed/kselftest-packages/kselftest.tar.gz", tmp_path / "elsewhere")
    script = tmp_path / "elsewhere/run_kselftest.sh"

    listed = run(script, "-l", environment=bare)
    chosen = run(script, "-o", "40", "-t", f"kvmtests:{PROGRAM}", environment=bare)
    collection = run(script, "-s", "-c", "kvmtests", environment=bare)

    assert done.returncode == 0, done.stdout + done.stderr
    assert listed.stdout == f"kvmtests:{PROGRAM}\n"
    assert "# overriding timeout to 40\n" in chosen.stdout
    assert chosen.stdout.endswith(LINE)
    assert collection.stdout.endswith(LINE)
    assert "# ok 1 x86.clock.test_passes\n" in (script.parent / "output.log").read_text()


@pytest.mark.clients
def test_member_that_runs_out_of_time_says_so(selftests: Path, tmp_path: Path, bare: dict[str, str]) -> None:
    """Under the kernel's time limit our document is complete before TERM comes."""
    suite(selftests / "kvmtests", "def test_hangs():\n    time.sleep(60)\n")
    vendor.copy(selftests / "kvmtests/.venv/vendor")
    make(selftests, "TARGETS=kvmtests", "install", f"KSFT_INSTALL_PATH={tmp_path}/installed")

    done = run(tmp_path / "installed/run_kselftest.sh", "-o", "20", environment=bare)

    assert "# not ok 3 x86.clock.test_hangs # TIMEOUT" in done.stdout
    assert "skip:1 error:1\n" in done.stdout
    assert done.stdout.endswith(f"not {LINE.rstrip()} # exit=1\n")
