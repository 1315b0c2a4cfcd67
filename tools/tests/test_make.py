# SPDX-License-Identifier: GPL-2.0-only
"""make's variables: from the command line only, whole, and never read by a shell."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tools import make
from tools.tests.fault_suite import is_running, wait_for
from tools.tests.small_tree import furnish, plant, suite
from tools.tests.usual import few_of

RECORDS = """
import json, sys

def main(argv):
    print("argv", json.dumps(list(argv)))
    return 0
"""
WAITS = """
import os, pathlib, signal, time

def main(argv):
    signal.signal(signal.SIGTERM, end)
    pathlib.Path("pid.new").write_text(str(os.getpid()))
    pathlib.Path("pid.new").rename("pid")
    time.sleep(100)

def end(number, frame):
    time.sleep(0.5)
    pathlib.Path("ended").write_text("written")
    raise SystemExit(1)
"""
COMMANDS = (
    "agree", "bench", "bundle", "check", "clean", "defects", "kselftest_c", "kselftest_runner", "lab",
    "precheck/build", "rack", "repeat", "report", "speed", "vectors/check",
)  # fmt: skip
GOALS = (
    "agree", "bench", "bundle", "check", "clean", "defects", "lab", "mutants", "precheck", "rack", "repeat",
    "report", "run_tests", "install", "gen_tar", "speed", "vectors-check",
)  # fmt: skip
VARIABLES = (
    "ALL", "ARGS", "BASELINE", "CC", "CSV", "ENV", "FORMAT", "FROM", "INSTALL_PATH", "JOBS", "K", "KERNEL",
    "LAB", "LOAD", "MODULES", "N", "O", "PARAMS", "PROGRAMS", "RACK", "T", "TARGET",
)  # fmt: skip


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a small checkout whose commands print what they were given."""
    tree = tmp_path / "checkout"
    tree.mkdir()
    plant(tree)
    suite(tree)
    furnish(tree)
    for name in COMMANDS:
        (tree / f"tools/{name}.py").write_text(RECORDS)
    return tree


def run(
    folder: Path, *words: str, environment: Mapping[str, str] = os.environ
) -> subprocess.CompletedProcess[str]:
    """Run make in *folder*, python3 being this one."""
    inherited = {
        name: value for name, value in environment.items() if not name.startswith(("MAKE", "MFLAGS"))
    }
    inherited["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["make", *words], cwd=folder, env=inherited, capture_output=True, text=True, timeout=55, check=False
    )


def argv(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return what the command was given."""
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("argv "))
    words: list[str] = json.loads(line.removeprefix("argv "))
    return words


@pytest.mark.thorough
@pytest.mark.parametrize("goal", GOALS)
@pytest.mark.parametrize(
    "value",
    [
        pytest.param("`touch pwned`", id="backticks"),
        pytest.param("$$(touch pwned)", id="dollar"),
        pytest.param("'; touch pwned; '", id="single-quotes"),
        pytest.param('"; touch pwned; "', id="double-quotes"),
        pytest.param("x; touch pwned #", id="semicolon"),
    ],
)
def test_no_shell_reads_a_value(checkout: Path, goal: str, value: str) -> None:
    """What a shell would run stays text, in each variable of each command."""
    run(checkout, goal, "VENDOR=no", *(f"{name}={value}" for name in VARIABLES))

    assert not list(checkout.parent.rglob("pwned"))


def test_python_is_one_program(checkout: Path) -> None:
    """PYTHON names a program; no shell reads it either."""
    done = run(checkout, "clean", "PYTHON=python3; touch pwned;")

    assert done.returncode != 0
    assert not (checkout / "pwned").exists()


def test_values_arrive_whole(checkout: Path) -> None:
    """Quotes, blanks and shell's characters of a value are the command's."""
    done = run(checkout, "check", 'K=it\'s `here` and "there"', "O=/some where", "ARGS=-x 'two words'")

    assert argv(done) == [
        "--out=/some where", "-kit's `here` and \"there\"", "--", "-x", "two words",
    ]  # fmt: skip


@pytest.mark.thorough
@pytest.mark.parametrize("goal", sorted({*GOALS} - {"install", "gen_tar", "report", "rack"}))
def test_the_environment_sets_no_variable(checkout: Path, goal: str) -> None:
    """Kernel developers export O, and others what they like: only the command line counts."""
    exported = {**os.environ, **dict.fromkeys(VARIABLES, "/from-the-environment"), "VENDOR": "no"}
    (checkout / ".venv/vendor").mkdir()
    (checkout / ".venv/vendor/.complete").touch()

    done = run(checkout, goal, environment=exported)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "from-the-environment" not in done.stdout + done.stderr


def test_rack_takes_no_boards_from_the_environment(checkout: Path) -> None:
    """ENV is many a shell's start-up file: boards are named on the command line."""
    done = run(checkout, "rack", environment={**os.environ, "ENV": "/from-the-environment"})

    assert done.returncode == 2
    assert "ENV names no environment of labgrid" in done.stderr


def test_install_takes_no_place_from_the_environment(checkout: Path, tmp_path: Path) -> None:
    """INSTALL_PATH is where kernels are kept on many a developer's computer."""
    boot = tmp_path / "boot"

    done = run(checkout, "install", "VENDOR=no", environment={**os.environ, "INSTALL_PATH": str(boot)})

    assert "set INSTALL_PATH" in done.stderr
    assert not boot.exists()


def test_variables_become_the_options_that_mean_them() -> None:
    """Lists may have commas, folders a home, words quotes; FROM takes patterns."""
    given = {"TARGET": "a,b  c", "JOBS": "3", "ALL": "1", "O": "~/out"}

    assert make.check(given) == [
        "--jobs=3", f"--out={Path.home()}/out", "--all", "--target=a", "--target=b", "--target=c", "--",
    ]  # fmt: skip
    assert make.bench({"N": "10"}) == ["--out=out/benchmarks", "-n10", "--"]
    assert make.bench({"O": "there"}) == ["--out=there", "--"]
    assert make.speed({"N": "3", "ARGS": "--keep"}) == ["-n3", "--keep"]


def test_repeat_boots_lab_hosts_one_run_at_a_time() -> None:
    """Many runs share a process, except on lab hosts: each of them boots for a run."""
    usual = ["-m", "not thorough"]

    assert make.repeat({"N": "2000", "LOAD": "4"}) == [
        "--out=out/repeat", "-n2000", "--load=4", "--rounds=50", "--", *usual,
    ]  # fmt: skip
    words = make.repeat({"TARGET": "lab-x86_64-svm", "O": "there", "ALL": "1", "K": "clock"})
    assert words == ["--out=there", "--", "--target", "lab-x86_64-svm", "-kclock"]
    assert make.run_tests({"T": "a.sh b.sh"})[-3:] == ["--", "a.sh", "b.sh"]


def test_tests_that_take_long_come_when_called() -> None:
    """`make test` is for each commit: what starts whole runs, boots or builds comes with ALL=1, as in CI."""
    left_out = ("-m", "not thorough")

    assert left_out in itertools.pairwise(make.test({}))
    assert left_out not in itertools.pairwise(make.test({"ALL": "1"}))


def test_tests_that_wait_leave_no_processor_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """`make test` has one worker more than processors, or as many as JOBS= says."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: {0, 1, 2})

    assert "-n4" in make.test({})
    assert "-n2" in make.test({"JOBS": "2"})


def test_programs_to_install_are_words_of_a_shell() -> None:
    """A node id is one word where it is quoted; the compiler may have words of its own."""
    given = {"INSTALL_PATH": "there", "PROGRAMS": "'a.py::b[c d]' x.c", "CC": "ccache gcc", "TARGET": "host"}

    assert make.install(given) == [
        "--install-path=there", "--target=host", "--cc=ccache", "--cc=gcc", "--", "a.py::b[c d]", "x.c",
    ]  # fmt: skip


def test_journals_may_be_named_by_a_pattern(tmp_path: Path) -> None:
    """FROM="*/journal.jsonl" is every such journal; a name that exists is just that file."""
    for name in ("a", "b", "[c]"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "journal.jsonl").touch()

    several = make.report({"FROM": f"{tmp_path}/?/journal.jsonl"})
    bracketed = make.report({"FROM": f"{tmp_path}/[c]/journal.jsonl"})

    assert several[2:] == [f"{tmp_path}/a/journal.jsonl", f"{tmp_path}/b/journal.jsonl"]
    assert bracketed[2:] == [f"{tmp_path}/[c]/journal.jsonl"]


@pytest.mark.parametrize(
    ("goal", "words", "sentence"),
    [
        ("check", ["O="], "make check: O= names no folder; leave it out for out/, or name one.\n"),
        ("clean", ["O= "], "make clean: O= names no folder; leave it out for out/, or name one.\n"),
        ("rack", [], "make rack: ENV names no environment of labgrid, as in ENV=lab.yaml.\n"),
        ("report", [], 'make report: FROM names no journal, as in FROM="a/journal.jsonl b/journal.jsonl".\n'),
        (
            "check",
            ["ARGS=it's"],
            'make check: ARGS="it\'s" cannot be split into words: No closing quotation.\n',
        ),
    ],
)
def test_value_without_use_is_a_sentence(checkout: Path, goal: str, words: list[str], sentence: str) -> None:
    """A value that no command can use is one sentence and status 2, and no command starts."""
    done = run(checkout, goal, *words)

    assert done.returncode == 2
    assert done.stderr.startswith(sentence)
    assert done.stdout == ""


def test_former_name_of_a_command_works_and_says_the_new_one(checkout: Path) -> None:
    """`make mutants` is `make defects`; standard output stays the command's."""
    former, now = (run(checkout, goal, "O=there", "ARGS=C01 --all") for goal in ("mutants", "defects"))

    assert argv(former) == argv(now) == ["--out=there", "C01", "--all"]
    assert former.stderr == "make mutants is now make defects; the next release drops the old name.\n"
    assert (former.returncode, now.stderr) == (0, "")


@pytest.mark.parametrize(
    "folder",
    few_of(["with a space", "with:colon", "quote'd $(touch pwned)", "-dash"], {"quote'd $(touch pwned)"}),
)
def test_checkout_in_any_folder(checkout: Path, folder: str) -> None:
    """No character of a path keeps the commands from working, nor makes make complain."""
    tree = checkout.rename(checkout.with_name(folder))

    checked = run(tree, "check", "K=a")
    installed = run(tree, "install", "VENDOR=no", "INSTALL_PATH=../in: stalled")
    packed = run(tree, "gen_tar", "VENDOR=no")

    assert argv(checked) == ["--out=out", "-ka", "--"]
    assert [done.stderr for done in (checked, installed, packed)] == ["", "", ""]
    assert (tree.parent / "in: stalled/run_kselftest.sh").is_file()
    assert (tree / "kselftest_install/kselftest-packages/kselftest.tar.gz").is_file()
    assert not list(tree.parent.rglob("pwned"))


@pytest.mark.parametrize(
    "folder", few_of(["plain", "with a space", "with:colon", "quote'd"], {"with a space"})
)
def test_make_from_elsewhere(checkout: Path, folder: str) -> None:
    """`make -f path/Makefile` works as `make -C path` does: paths start at the checkout."""
    tree = checkout.rename(checkout.with_name(folder))

    done = run(tree.parent, "-f", f"{folder}/Makefile", "check", "O=there")
    again = run(Path("/"), "-f", str(tree / "Makefile"), "check", "O=there")

    assert argv(done) == argv(again) == ["--out=there", "--"]
    assert "list the commands" in run(Path("/"), "-f", str(tree / "Makefile")).stdout


def test_term_to_make_ends_the_command(checkout: Path) -> None:
    """make hands TERM on to the command itself, and waits for what that still has to write."""
    (checkout / "tools/check.py").write_text(WAITS)
    words = ["make", "check"]
    with subprocess.Popen(words, cwd=checkout, stdout=subprocess.PIPE, text=True) as process:
        wait_for((checkout / "pid").exists)
        process.terminate()
        status = process.wait(timeout=60)

    assert (checkout / "ended").read_text() == "written"
    assert status != 0


def test_no_command_outlives_make(checkout: Path) -> None:
    """Where make is killed, the command gets TERM."""
    (checkout / "tools/check.py").write_text(WAITS)
    with subprocess.Popen(["make", "check"], cwd=checkout) as process:
        wait_for((checkout / "pid").exists)
        process.kill()

    wait_for((checkout / "ended").exists)
    wait_for(lambda: not is_running(int((checkout / "pid").read_text())))


def test_in_a_kernel_tree_folders_are_the_builds(checkout: Path) -> None:
    """There O= is the whole build's: clean is lib.mk's, and reports go into the checkout."""
    (checkout.parent / "lib.mk").write_text("OUTPUT ?= $(CURDIR)\nclean:\n\t@echo lib.mk cleans\n")

    cleaned = run(checkout, "clean", "O=/build")
    checked = run(checkout, "check", "O=/build")

    assert cleaned.stdout == "lib.mk cleans\n"
    assert argv(checked) == ["--out=out", "--"]
