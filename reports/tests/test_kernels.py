# SPDX-License-Identifier: GPL-2.0-only
"""Kernel releases in order, since which a claim fails, and the kernels of one host against each other."""

from __future__ import annotations

import random

import pytest

from reports import across_kernels
from reports.kernels import in_order, turn
from reports.model import ReportTarget, Result, Run, Verdict


def test_releases_sort_by_version() -> None:
    """Numbers count as numbers, a candidate comes before its release, what is not a release comes first."""
    ordered = [
        "", "custom", "5.13", "6.1.140-1-cloud", "6.12-rc3", "6.12.0-rc4", "6.12.0", "6.12.9",
        "6.12.117+deb12-9", "6.12.117+deb12-10", "6.18.44-fc-v669", "7.3.0-rc2", "7.3.0",
    ]  # fmt: skip
    shuffled = random.Random(1).sample(ordered, len(ordered))  # noqa: S311

    assert sorted(shuffled, key=in_order) == ordered


@pytest.mark.parametrize(
    ("verdicts", "words"),
    [
        pytest.param("6.12:pass 7.3:pass", "", id="good"),
        pytest.param("6.12:skip 7.3:pass", "", id="skip-says-nothing"),
        pytest.param("6.12:pass 6.18:pass 7.3:fail", "fails since 7.3 (last good 6.18)", id="broke"),
        pytest.param("7.3:fail 6.12:pass", "fails since 7.3 (last good 6.12)", id="any-order"),
        pytest.param("6.12:pass 6.18:skip 7.3:fail", "fails since 7.3 (last good 6.12)", id="gap"),
        pytest.param("6.12:pass 6.18:fail 7.3:fail", "fails since 6.18 (last good 6.12)", id="earlier"),
        pytest.param("6.12:fail 7.3:fail", "fails since 6.12 or longer", id="always"),
        pytest.param("6.12:xfail 7.3:pass", "repaired in 7.3 (last bad 6.12)", id="repaired"),
        pytest.param("6.12:pass 6.12:fail", "flaky with 6.12", id="flaky"),
        pytest.param(
            "6.12:pass 6.18:pass 6.18:fail 7.3:fail",
            "flaky with 6.18; fails since 7.3 (last good 6.12)",
            id="flaky-then-broken",
        ),
    ],
)
def test_turn_says_since_which_kernel(verdicts: str, words: str) -> None:
    """The first kernel that fails without a good one after it, and the last good one before it."""
    seen: dict[str, list[Verdict]] = {}
    for word in verdicts.split():
        kernel, _, verdict = word.partition(":")
        seen.setdefault(kernel, []).append(Verdict(verdict))

    assert turn(seen).words == words


def kernels(**verdicts: str) -> Run:
    """Return a run of one lab host with a kernel for each verdict of each claim, "-" for none."""
    releases = ["7.3.0", "6.12.117", "6.18.2"]
    targets = tuple(
        ReportTarget(f"lab-svm@{release}", "lab", "x86_64", facts=(("kernel", release), ("cpu", "EPYC")))
        for release in releases
    )
    results = [
        Result(f"x.py::{claim}[{case}]", f"{claim}.{case}", target.name, "x86.tsc", Verdict(word))
        for target, place in zip(targets, (2, 0, 1), strict=True)
        for claim, row in verdicts.items()
        for case in range(3)
        if (word := row.split()[place]) != "-"
    ]
    return Run(targets=targets, results=tuple(results))


def test_only_what_differs_is_shown_oldest_kernel_first() -> None:
    """Cases of one claim that turn alike are one row; what broke comes first; what is equal is counted."""
    run = kernels(same="pass pass pass", new="- pass pass", mended="fail fail pass", broke="pass pass fail")

    (found,) = across_kernels.families(run)

    assert [target.kernel for target in found.targets] == ["6.12.117", "6.18.2", "7.3.0"]
    assert [(claim.claim, len(claim.cases), claim.turn.words) for claim in found.claims] == [
        ("broke", 3, "fails since 7.3.0 (last good 6.18.2)"),
        ("mended", 3, "repaired in 7.3.0 (last bad 6.18.2)"),
        ("new", 3, ""),
    ]
    assert found.equal == 3


def test_hosts_of_another_cpu_are_not_compared() -> None:
    """Two targets of one family on different processors differ in more than their kernel."""
    run = kernels(a="pass pass fail")
    other = Run(
        targets=(*run.targets[:1], ReportTarget("lab-svm@6.1", "lab", "x86_64", facts=(("kernel", "6.1"),))),
        results=(run.results[0], run.results[0]._replace(target="lab-svm@6.1")),
    )

    assert across_kernels.families(other) == []
