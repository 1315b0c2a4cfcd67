# SPDX-License-Identifier: GPL-2.0-only
"""One step of a bisection: what results mean, and that no exit status is ever another one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from reports.model import Result, ResultEnding, Verdict
from tools import bisect_step
from tools.judgement import BisectStatus, judge, symptom_of
from tools.tests.git_tree import git

pytestmark = pytest.mark.thorough

STEP = Path(bisect_step.__file__)
CLAIM = "kvmtests/x86/test_get_clock.py::test_no_vcpu_no_master_clock"


def result(verdict: Verdict, message: str = "", **more: object) -> Result:
    """Return a result of one case of a claim."""
    fields = {"nodeid": f"{CLAIM}[t]", "name": "n", "target": "t", "subject": "s", **more}
    return Result(verdict=verdict, message=message, **fields)  # type: ignore[arg-type]


FAILED = result(Verdict.FAIL, "guest TSC 5,007 ticks after 0x1f outside of its window")
OTHERWISE = result(Verdict.FAIL, "KVM_RUN failed with EFAULT")


@pytest.mark.parametrize(
    ("results", "status"),
    [
        pytest.param([result(Verdict.PASS)], BisectStatus.GOOD, id="pass"),
        pytest.param([result(Verdict.PASS), result(Verdict.SKIP)], BisectStatus.GOOD, id="pass-and-skip"),
        pytest.param([result(Verdict.XPASS)], BisectStatus.GOOD, id="known-issue-gone"),
        pytest.param([result(Verdict.PASS), FAILED], BisectStatus.BAD, id="fail"),
        pytest.param([result(Verdict.XFAIL, reason="known")], BisectStatus.BAD, id="known-issue"),
        pytest.param([result(Verdict.CHANGED)], BisectStatus.BAD, id="changed"),
        pytest.param([result(Verdict.TIMEOUT)], BisectStatus.BAD, id="timeout"),
        pytest.param([result(Verdict.SKIP)], BisectStatus.SKIP, id="skip"),
        pytest.param([result(Verdict.ERROR, "the harness failed")], BisectStatus.SKIP, id="error"),
        pytest.param([result(Verdict.PASS), result(Verdict.ERROR)], BisectStatus.SKIP, id="pass-and-error"),
        pytest.param([result(Verdict.NOT_RUN)], BisectStatus.SKIP, id="not-run"),
        pytest.param([result(Verdict.ERROR, ending=ResultEnding.CRASHED)], BisectStatus.SKIP, id="crashed"),
        pytest.param([], BisectStatus.SKIP, id="nothing"),
    ],
)
def test_results_have_their_status(results: list[Result], status: BisectStatus) -> None:
    """Good only where something passed and nothing failed; what says nothing about the claim skips."""
    assert judge(results).status is status


def test_failure_counts_with_its_symptom_alone() -> None:
    """The same sentence with other numbers is the same failure; another sentence skips the commit."""
    again = result(Verdict.FAIL, "guest TSC 12 ticks after 0xabc outside of its window")
    symptom = symptom_of(FAILED)

    assert judge([again], symptom).status is BisectStatus.BAD
    assert judge([OTHERWISE], symptom).status is BisectStatus.SKIP
    assert judge([OTHERWISE, again], symptom).status is BisectStatus.BAD


def step(tree: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the step in *tree*, as git does."""
    return subprocess.run(
        [sys.executable, STEP, *words], cwd=tree, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        pytest.param((CLAIM, "--target", "sim-x86_64"), 0, "good: 1 of the claim's cases", id="good"),
        pytest.param((CLAIM, "--target", "sim-arm64-vhe"), 125, "the claim did not run", id="other-target"),
        pytest.param((CLAIM, "--build", "false"), 125, "false ended with status 1", id="does-not-build"),
        pytest.param((CLAIM, "--build", "no-such-program"), 125, "no-such-program", id="no-compiler"),
        pytest.param((CLAIM, "--target", "lab-x86_64-svm"), 125, "arch/x86/boot/bzImage", id="no-image"),
        pytest.param(("nonsense",), 128, "is not a claim", id="not-a-claim"),
        pytest.param((CLAIM, "--target", "lab-mips"), 128, "there is no target", id="no-such-target"),
        pytest.param((CLAIM, "--no-such-option"), 128, "unrecognized", id="no-such-option"),
        pytest.param((), 128, "required: NODEID", id="nothing"),
    ],
)
def test_every_ending_has_its_status(
    tmp_path: Path, words: tuple[str, ...], status: int, sentence: str
) -> None:
    """Called from a kernel tree the step ends with one of four statuses, and says why."""
    (tmp_path / "tools").mkdir()  # a kernel tree has one
    (tmp_path / "tools/__init__.py").write_text("raise SystemExit(3)\n")

    done = step(tmp_path, *words)

    assert (done.returncode, sentence in done.stderr, "Traceback" in done.stderr) == (status, True, False)


@pytest.mark.parametrize("ending", ["exit 2", "exit 139", "kill -SEGV $$"], ids=["two", "high", "signal"])
def test_any_other_status_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    """A child that ends with any other status, or by a signal, stops the bisection: it is never bad."""
    python = tmp_path / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/bin/sh\n{ending}\n")
    python.chmod(0o755)
    monkeypatch.setattr(bisect_step, "ROOT", tmp_path)

    assert bisect_step.main([CLAIM]) == 128


@pytest.fixture
def history(tmp_path: Path) -> tuple[Path, list[str]]:
    """A repository of 30 commits: number 18 breaks it; 11 to 14 and 20 do not build, 22 fails otherwise."""
    tree = tmp_path / "linux"
    tree.mkdir()
    git(tree, "init", "-q", "-b", "main")
    commits = []
    for number in range(30):
        (tree / "number").write_text(f"{number}\n")
        (tree / "builds").write_text("no\n" if number in {11, 12, 13, 14, 20} else "yes\n")
        (tree / "how").write_text({22: "otherwise\n"}.get(number, "fails\n" if number >= 18 else "passes\n"))
        git(tree, "add", ".")
        git(tree, "commit", "-q", "-m", f"commit {number}", minute=number)
        commits.append(git(tree, "rev-parse", "HEAD").strip())
    return tree, commits


STAND_IN = """
import sys
from pathlib import Path
from reports.model import Result, Verdict
from reports.model import Run
from tools import bisection
how = Path("how").read_text().strip()
number = Path("number").read_text().strip()
results = {
    "passes": Result("c", "n", "t", "s", Verdict.PASS),
    "fails": Result("c", "n", "t", "s", Verdict.FAIL, message=f"{number} ticks too late"),
    "otherwise": Result("c", "n", "t", "s", Verdict.FAIL, message="KVM_RUN failed with EFAULT"),
}
bisection.run = lambda words, out: None
bisection.read_journal.read = lambda paths: Run(results=(results[how],))
sys.exit(bisection.main(sys.argv[1:]))
"""
"""A step whose claim is judged by a file of the tree: nothing boots."""


def run_bisection(tree: Path, stand_in: Path) -> str:
    """Let git bisect *tree* by the step in *stand_in*; return what both said."""
    python = ["env", f"PYTHONPATH={STEP.parents[1]}", "PYTHONSAFEPATH=1", sys.executable, str(stand_in)]
    words = [CLAIM, "--build", "grep -q yes builds", "--symptom", "18 ticks too late"]
    done = subprocess.run(
        ["git", "bisect", "run", *python, *words], cwd=tree, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


def test_git_bisect_finds_the_planted_commit(history: tuple[Path, list[str]], tmp_path: Path) -> None:
    """Over 30 commits, with five that do not build and one that fails otherwise, git names the right one.

    That one is the first failure which git meets, so the symptom is given.
    """
    tree, commits = history
    stand_in = tmp_path / "stand_in.py"
    stand_in.write_text(STAND_IN)
    git(tree, "bisect", "start", commits[-1], commits[0])

    steps = run_bisection(tree, stand_in)

    assert f"{commits[18]} is the first bad commit" in steps
    assert "skip: it fails otherwise: KVM_RUN failed with EFAULT" in steps
