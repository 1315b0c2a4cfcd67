# SPDX-License-Identifier: GPL-2.0-only
"""The sentence that answers a reader's question."""

from __future__ import annotations

import pytest

from reports import answer, compare
from reports.model import ReportTarget, Result, Run, Verdict


def run(*results: str, kernel: str = "6.12.117") -> Run:
    """Return a run of words like "svm:a:fail": target, claim and verdict."""
    found = [word.split(":") for word in results]
    names = dict.fromkeys(target for target, _, _ in found)
    return Run(
        targets=tuple(ReportTarget(name, facts=(("kernel", kernel),)) for name in names),
        results=tuple(
            Result(f"x.py::{claim}", claim, target, "x86.tsc", Verdict(verdict), message=claim)
            for target, claim, verdict in found
        ),
    )


@pytest.mark.parametrize(
    ("results", "sentence"),
    [
        pytest.param("", "No results.", id="nothing"),
        pytest.param("a:x:pass", "Nothing fails on a (6.12.117): 1 passed.", id="one-target"),
        pytest.param(
            "a:x:pass b:x:skip c:y:xfail",
            "Nothing fails on any of 3 targets: 1 passed, 1 failed as known issues, 1 skipped.",
            id="clean",
        ),
        pytest.param("a:x:skip", "Nothing was tested: 1 skipped.", id="only-skips"),
        pytest.param(
            "a:x:fail a:y:fail b:x:pass b:y:xfail",
            "2 claims fail on a (6.12.117); nothing fails elsewhere; 1 failure is a known issue.",
            id="one-bad-target",
        ),
        pytest.param(
            "a:x:fail b:x:fail b:y:fail",
            "2 claims fail in 3 cases on b (6.12.117): 2, a (6.12.117): 1.",
            id="two-bad-targets",
        ),
        pytest.param(
            "a:x:fail b:x:fail c:x:fail c:y:fail d:x:pass",
            "2 claims fail in 4 cases on 3 of 4 targets, most on c (6.12.117): 2; nothing fails elsewhere.",
            id="many-bad-targets",
        ),
        pytest.param(
            "a:x:error a:y:timeout a:z:xpass",
            "1 test ends in an error of the harness on a (6.12.117); 1 test runs out of time on a (6.12.117);"
            " 1 known issue no longer shows.",
            id="other-verdicts",
        ),
    ],
)
def test_sentence_says_what_fails_where(results: str, sentence: str) -> None:
    """What fails, on which target with which kernel, and whether anything fails elsewhere."""
    assert answer.sentence(run(*results.split())) == sentence


def test_baseline_sentence_counts_each_kind_and_names_both_kernels() -> None:
    """What broke, is repaired and is gone are apart, between the kernels compared."""
    before = run("a:x:pass", "a:y:fail", "a:z:pass")
    after = run("a:x:fail", "a:y:pass", kernel="7.3.0")

    assert answer.since(compare.compare(before, after)) == (
        "Since the baseline (6.12.117 to 7.3.0): 1 claim broken, 1 claim repaired, 1 claim gone."
    )


def test_baseline_without_a_common_target_is_not_compared() -> None:
    """It is not said that nothing broke where nothing was compared."""
    assert "nothing was compared" in answer.since(compare.compare(run("a:x:pass"), run("b:x:pass")))
