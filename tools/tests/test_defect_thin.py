# SPDX-License-Identifier: GPL-2.0-only
"""make defects ARGS=--thin: which rules a single test function holds, and what need not run to know."""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import cast

import pytest

from fixtures.defects.table import DEFECTS
from tools import defect_thin
from tools.defect_calls import callers
from tools.defect_jobs import FailureListener, Job, JobOutcome, Notice, run_all
from tools.defect_thin import Recorded, RuleVerdict, ThinRules, judge, page, parse
from tools.stopping import Stop

OWN = "kvmtests/x86/test_set_clock.py::test_realtime_in_the_past_counts_as_elapsed"
OTHER = "kvmtests/x86/test_kvmclock.py::test_other"
RULE = DEFECTS["C01"].rule


def recorded(*callers_of_the_rule: str) -> Recorded:
    """Return what a run without a defect showed: who calls the rule of C01."""
    return Recorded({"sim-x86_64": JobOutcome(asked=callers_of_the_rule, calls={RULE: callers_of_the_rule})})


def noticing(**noticed: tuple[str, ...]) -> Callable[[Job, Connection], None]:
    """Return work in which the claims *noticed* of a defect fail."""

    def work(job: Job, pipe: Connection) -> None:
        pipe.send(JobOutcome([Notice(f"{name}[x]", "fail", "", 0.1) for name in noticed.get(job.name, ())]))

    return work


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[RuleVerdict]]:
    """Judge C01 and C02, two defects of one rule, by claims that fail as the test says."""

    def judged(**noticed: tuple[str, ...]) -> list[RuleVerdict]:
        monkeypatch.setattr(
            defect_thin,
            "run_all",
            lambda jobs, processes, limit_s, stop: run_all(
                jobs, processes, limit_s, noticing(**noticed), stop
            ),
        )
        return judge([DEFECTS["C01"], DEFECTS["C02"]], recorded(OTHER, OWN), 1, 30.0, Stop())

    return judged


def test_two_functions_end_the_search(run: Callable[..., list[RuleVerdict]]) -> None:
    """A rule whose first defect two functions noticed is held; its second defect does not run."""
    (verdict,) = run(C01=(OWN, OTHER))

    assert (verdict.tried, verdict.thin, verdict.judged) == (["C01"], False, True)


def test_functions_of_all_defects_count(run: Callable[..., list[RuleVerdict]]) -> None:
    """A rule is held by what notices any of its defects."""
    (verdict,) = run(C01=(OWN,), C02=(OTHER,))

    assert verdict.tried[:2] == ["C01", "C02"]
    assert not verdict.thin


def test_rule_of_one_function_is_thin(run: Callable[..., list[RuleVerdict]]) -> None:
    """A rule that one function alone holds is named with it, and with the defects that were tried."""
    verdicts = run(C01=(OWN,), C02=(OWN,))

    assert verdicts[0].thin
    text = page(ThinRules(recorded(OWN, OTHER).claims, verdicts))
    assert "1 of 1 rules are thin; 2 defects were tried, with 2 claims on sim-x86_64." in text
    assert f"| `{RULE}` | C01, C02 | `x86/test_set_clock.py` `{OWN.partition('::')[2]}` |" in text


def test_page_without_thin_rules_has_no_table(run: Callable[..., list[RuleVerdict]]) -> None:
    """Where each rule has two test functions the page says how many rules there are, and ends."""
    text = page(ThinRules(recorded(OWN, OTHER).claims, run(C01=(OWN,), C02=(OTHER,))))

    assert text.endswith("0 of 1 rules are thin; 2 defects were tried, with 2 claims on sim-x86_64.\n")


def test_rules_left_open_are_counted() -> None:
    """A rule with a defect that was not tried is not called thin: it is said that it was not judged."""
    verdicts = [RuleVerdict(RULE, ("C01", "C02"), ["C01"], {OWN})]

    text = page(ThinRules(recorded(OWN, OTHER).claims, verdicts))

    assert (
        "0 of 0 rules are thin; 0 defects were tried, with 2 claims on sim-x86_64; 1 rules were not judged."
        in text
    )


def test_run_that_takes_too_long_judges_nothing(run: Callable[..., list[RuleVerdict]]) -> None:
    """Claims that are not through in time count as none that noticed; the page says so of the rule."""
    (verdict,) = run(C01=("kvmtests/x86/test_set_clock.py",), C02=(OWN,))

    assert (verdict.tried, verdict.functions, verdict.judged) == (["C02"], {OWN}, False)
    text = page(ThinRules(recorded(OWN, OTHER).claims, [verdict]))
    assert f"| `{RULE}` | C01 | its claims were not through within --limit |" in text


def test_later_run_builds_on_an_earlier_one() -> None:
    """What thin.json keeps is read back; rules that were judged again replace what it says of them."""
    other = DEFECTS["A01"].rule
    earlier = ThinRules(
        {"sim-arm64-vhe-series": (OTHER,)},
        [RuleVerdict(other, ("A01",), ["A01"], {OTHER}), RuleVerdict(RULE, ("C01",), ["C01"], {OWN})],
    )
    again = ThinRules({"sim-x86_64": (OWN,)}, [RuleVerdict(RULE, ("C01",), ["C01"], {OWN, OTHER})])

    both = again.upon(parse(earlier.text()))

    assert parse(both.text()) == both
    assert [(verdict.rule, verdict.thin) for verdict in both.verdicts] == [(RULE, False), (other, True)]
    assert "2 claims on sim-arm64-vhe-series, sim-x86_64" in page(both)


def test_other_json_is_refused() -> None:
    """A file that --thin did not write is one sentence."""
    with pytest.raises(ValueError, match="holds no thin places"):
        parse("[]")


def test_likely_claims_run_first() -> None:
    """The claim that is there for a defect runs first, then its module, then others that call the rule."""
    neighbour, stranger = "kvmtests/x86/test_set_clock.py::test_b", "kvmtests/x86/test_zebra.py::test_c"

    job = recorded(stranger, neighbour, OWN).job(DEFECTS["C01"])

    assert job.only == (OWN, neighbour, stranger)
    assert job.paths == ("kvmtests/x86/test_set_clock.py", "kvmtests/x86/test_zebra.py")
    assert job.enough == 2


def test_claims_that_never_call_the_rule_do_not_run() -> None:
    """Only callers of the rule may notice its defect, where a probe of the target finds no difference."""
    assert callers(DEFECTS["C01"], "sim-x86_64", {RULE: (OWN,), "KvmClock.set_done": (OTHER,)}) == (OWN,)


@pytest.mark.parametrize(("enough", "ends"), [(0, True), (2, False)])
def test_hang_counts_as_one_of_two(enough: int, ends: bool) -> None:
    """A guest that hangs ends a run for all claims; where two functions are wanted, it is the first."""
    listener = FailureListener(enough=enough)
    session = SimpleNamespace(shouldstop=False)
    listener.pytest_sessionstart(cast(pytest.Session, session))

    listener.pytest_runtest_logreport(hung(OWN))
    ended_at_first = bool(session.shouldstop)
    listener.pytest_runtest_logreport(hung(OTHER))

    assert (ended_at_first, bool(session.shouldstop)) == (ends, True)


def hung(function: str) -> pytest.TestReport:
    """Return the report of a claim whose guest hung."""
    properties = [("verdict", "timeout")]
    return pytest.TestReport(
        function, (function, 1, ""), {}, "failed", None, "call", user_properties=properties
    )
