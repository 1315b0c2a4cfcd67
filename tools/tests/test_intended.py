# SPDX-License-Identifier: GPL-2.0-only
"""tools.compare --targets: the next kernel changes what its list of changes says, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fixtures import kernel_changes
from fixtures.kernel_changes import CHANGES
from fixtures.known_issues import KnownIssue, load
from reports.model import ReportTarget, Result, Run, Verdict
from tools import compare, intended

ROOT = Path(__file__).resolve().parents[2]
CREATION = CHANGES["master_clock_at_creation"]
ISSUES = """
[[issue]]
id = "khz-change-jumps"
tests = "test_jump"
when = { arch = "x86_64", unless = { khz_change_keeps_the_tsc = true } }
symptom = ""
reason = "it jumps"
reference = "a page"
"""


@pytest.fixture
def issues() -> tuple[KnownIssue, ...]:
    """One known issue, which a change mends."""
    return load(ISSUES, "here")


def run(target: str, verdict: Verdict, *changes: str, reason: str = "", known_issue: str = "") -> Run:
    """Return a run of one claim on *target*, whose kernel has *changes*."""
    facts = tuple((name, name in changes) for name in CHANGES)
    result = Result("id", "test_claim", target, "x86.clock", verdict, reason=reason, known_issue=known_issue)
    return Run(targets=(ReportTarget(target, facts=facts),), results=(result,))


@pytest.mark.parametrize(
    ("new", "change"),
    [
        pytest.param(
            run("new", Verdict.SKIP, CREATION.id, reason=f"{CREATION.sentence} is present"),
            CREATION.id,
            id="skip-with-its-change",
        ),
        pytest.param(
            run("new", Verdict.SKIP, reason=f"{CREATION.sentence} is present"), "", id="not-changed"
        ),
        pytest.param(
            run("new", Verdict.SKIP, CREATION.id, reason="KVM_CAP_XEN_HVM is absent"), "", id="other"
        ),
        pytest.param(run("new", Verdict.FAIL, CREATION.id), "", id="failure"),
    ],
)
def test_difference_is_intended_if_its_change_differs(new: Run, change: str) -> None:
    """A claim that is skipped for a change of one kernel is intended; all else is not."""
    old = run("old", Verdict.PASS)

    [found] = intended.differences((old, "old"), (new, "new"), ())

    assert found.change == change


def test_mended_issue_is_intended(issues: tuple[KnownIssue, ...]) -> None:
    """A known issue that a change mends no longer shows where the kernel has the change."""
    old = run("old", Verdict.XFAIL, known_issue="khz-change-jumps")
    new = run("new", Verdict.PASS, "khz_change_keeps_the_tsc")

    [found] = intended.differences((old, "old"), (new, "new"), issues)

    assert (found.old, found.new, found.change) == ("xfail", "pass", "khz_change_keeps_the_tsc")


def test_issue_gone_without_its_change_is_not_intended(issues: tuple[KnownIssue, ...]) -> None:
    """The same on a kernel without the change has no known reason."""
    old = run("old", Verdict.XFAIL, known_issue="khz-change-jumps")

    [found] = intended.differences((old, "old"), (run("new", Verdict.PASS), "new"), issues)

    assert found.change == ""


@pytest.mark.thorough
@pytest.mark.timeout(900)
def test_next_kernel_changes_what_its_switches_say(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """sim-x86_64-next differs from sim-x86_64 by each change of the list, and in nothing else."""
    words = ["kvmtests", "--target=sim-x86_64,sim-x86_64-next", f"--report-dir={tmp_path}", "-n2", "-q"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, "-p", "no:cacheprovider", "-p", "no:hypothesispytest"],
        cwd=ROOT, capture_output=True, text=True, timeout=800, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    journal = str(tmp_path / "journal.jsonl")

    status = compare.main([journal, journal, "--targets", "sim-x86_64", "sim-x86_64-next"])

    lines = capsys.readouterr().out.splitlines()
    changes = {line.split()[-1] for line in lines if line.startswith("changed as intended")}
    assert (status, changes) == (0, set(kernel_changes.of("x86_64")))
    assert not [line for line in lines if line.startswith("DIFFERS")]


def test_unknown_target_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A target that the journal does not have gives one sentence and status 2."""
    journal = tmp_path / "journal.jsonl"
    journal.write_text('{"type": "session", "version": 1, "time_ns": 1, "host": "m", "facts": {}}\n')

    assert compare.main([str(journal), str(journal), "--targets", "sim-x86_64", "other"]) == 2

    assert "no such target in its journal: sim-x86_64" in capsys.readouterr().err
