# SPDX-License-Identifier: GPL-2.0-only
"""Claims over runs."""

from __future__ import annotations

from reports.history import History, history, lines
from reports.model import ReportTarget, Result, Run, Session, Verdict


def run(day: int, kernel: str, target: str = "lab-svm", host: str = "m", **verdicts: str) -> Run:
    """Return the run of a day: a verdict for each claim on one target."""
    kind = "lab" if target.startswith("lab") else "host"
    return Run(
        sessions=(Session(host, started_ns=day * 86_400 * 10**9, exit_status=0),),
        targets=(ReportTarget(target, kind, facts=(("kernel", kernel),)),),
        results=tuple(
            Result(f"x.py::{claim}", claim, target, "x86.tsc", Verdict(word))
            for claim, word in verdicts.items()
        ),
    )


def said(found: History) -> dict[str, str]:
    """Return what is said of each claim that changed."""
    return {claim.claim: claim.turn.words for claim in found.claims}


def test_flaky_claims_are_marked_and_stand_first() -> None:
    """A claim that passes and fails with one kernel is flaky; one that fails with a newer kernel is not."""
    found = history(
        [
            run(1, "6.12.1", steady="pass", flaky="pass", broke="pass"),
            run(2, "6.12.1", steady="pass", flaky="fail", broke="pass"),
            run(3, "7.3.0", steady="pass", flaky="pass", broke="fail"),
        ]
    )

    assert said(found) == {"flaky": "flaky with 6.12.1", "broke": "fails since 7.3.0 (last good 6.12.1)"}
    assert [claim.claim for claim in found.flaky] == ["flaky"]
    assert (found.claims[0].failed, found.claims[0].judged) == (1, 3)
    assert found.steady == 1


def test_runs_are_in_the_order_of_their_time_and_kernels_in_that_of_their_versions() -> None:
    """A bisection tests kernels in any order: runs sort by time, good and bad by version."""
    found = history(
        [
            run(3, "6.18.2", a="fail"),
            run(1, "7.3.0", a="fail"),
            run(2, "6.12.117", a="pass"),
        ]
    )

    assert [past.kernels for past in found.runs] == [("7.3.0",), ("6.12.117",), ("6.18.2",)]
    assert found.claims[0].verdicts == (Verdict.FAIL, Verdict.PASS, Verdict.FAIL)
    assert said(found) == {"a": "fails since 6.18.2 (last good 6.12.117)"}


def test_lab_host_is_one_target_over_kernels() -> None:
    """lab-svm@6.12 and lab-svm@7.3 are runs of one lab host."""
    found = history([run(1, "6.12.1", "lab-svm@6.12", a="pass"), run(2, "7.3.0", "lab-svm@7.3", a="fail")])

    assert [claim.target for claim in found.claims] == ["lab-svm"]
    assert said(found) == {"a": "fails since 7.3.0 (last good 6.12.1)"}


def test_hosts_are_apart() -> None:
    """Real hosts have names: what passes on one and fails on the other is not flaky."""
    found = history([run(1, "6.12.1", "host", "a", x="pass"), run(2, "6.12.1", "host", "b", x="fail")])

    assert found.flaky == []


def test_claim_that_some_runs_lack_has_gaps() -> None:
    """A run without a claim, as one that chose others, does not count against it."""
    found = history([run(1, "6.12", a="pass", b="pass"), run(2, "6.12", b="pass"), run(3, "6.12", a="pass")])

    assert {claim.claim: claim.verdicts for claim in found.claims} == {
        "a": (Verdict.PASS, None, Verdict.PASS),
        "b": (Verdict.PASS, Verdict.PASS, None),
    }
    assert found.flaky == []


def test_what_fails_in_every_run_did_not_change() -> None:
    """A known issue that shows in all runs is steady, as is what passes in all."""
    found = history([run(1, "6.12", a="xfail", b="pass"), run(2, "7.3", a="xfail", b="pass")])

    assert (found.claims, found.steady) == ((), 2)


def test_terminal_names_what_is_flaky_and_what_turned() -> None:
    """One line a claim: how often it failed, and with which kernels."""
    found = history([run(1, "6.12", a="pass", b="pass"), run(2, "6.12", a="fail", b="pass")])

    assert list(lines(found)) == [
        "history of 2 runs: 1 cases did the same in all, claims that changed: 1, flaky: 1",
        "FLAKY       lab-svm x86.tsc a: failed in 1 of 2 runs; flaky with 6.12",
    ]
