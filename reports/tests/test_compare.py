# SPDX-License-Identifier: GPL-2.0-only
"""A run against its baseline, and the statistics that it uses."""

from __future__ import annotations

import random

import pytest

from reports import compare, compare_lines, html, merge, stats
from reports.compare import Kind
from reports.model import ReportTarget, Result, Run, Sample, Verdict


def run(**verdicts: str) -> Run:
    """Return a run with one result for each name."""
    results = (Result(name, name, "host", "x86.clock", Verdict(word)) for name, word in verdicts.items())
    return Run(targets=(ReportTarget("host"),), results=tuple(results))


def measured(*values: float) -> Run:
    """Return a run with one benchmark."""
    (result,) = run(benchmark="pass").results
    return Run(
        targets=(ReportTarget("host"),), results=(result._replace(samples=(Sample("m", values=values),)),)
    )


def on(target: str, *results: Result) -> Run:
    """Return *results* as those of *target*."""
    return Run(
        targets=(ReportTarget(target),), results=tuple(result._replace(target=target) for result in results)
    )


def test_kinds_of_change_are_distinguished() -> None:
    """Broken, repaired, skipped now, new and gone are apart; what stayed is not named."""
    before = run(same="fail", broke="pass", mended="fail", skipped="pass", gone="pass", skip_fails="skip")
    after = run(same="fail", broke="error", mended="pass", skipped="skip", added="pass", skip_fails="timeout")

    found = compare.compare(before, after)

    assert {change.new.name: change.kind for change in found.changes} == {
        "broke": Kind.BROKEN,
        "skip_fails": Kind.BROKEN,
        "mended": Kind.REPAIRED,
        "skipped": Kind.SKIPPED,
        "added": Kind.NEW,
    }
    assert [result.name for result in found.gone] == ["gone"]


def test_known_issue_that_passes_on_the_newer_kernel_is_repaired() -> None:
    """An expected failure that is gone is a repair; one that becomes expected breaks nothing."""
    found = compare.compare(run(mended="xfail", known="pass"), run(mended="pass", known="xfail"))

    assert [(change.new.name, change.kind) for change in found.changes] == [
        ("mended", Kind.REPAIRED),
        ("known", Kind.OTHER),
    ]
    assert found.status() == 0


@pytest.mark.parametrize(
    ("old", "new", "status", "allowed"),
    [
        pytest.param({"a": "pass"}, {"a": "pass"}, 0, 0, id="same"),
        pytest.param({"a": "fail"}, {"a": "fail"}, 0, 0, id="still-fails"),
        pytest.param({"a": "fail"}, {"a": "pass"}, 0, 0, id="repaired"),
        pytest.param({"a": "pass"}, {"a": "pass", "b": "pass"}, 0, 0, id="new-and-good"),
        pytest.param({"a": "pass"}, {"a": "pass", "b": "fail"}, 1, 1, id="new-and-bad"),
        pytest.param({"a": "pass"}, {"a": "fail"}, 1, 1, id="broken"),
        pytest.param({"a": "xfail"}, {"a": "xpass"}, 0, 0, id="known-issue-does-not-show"),
        pytest.param({"a": "pass", "b": "pass"}, {"a": "pass"}, 1, 0, id="gone"),
        pytest.param({"a": "pass"}, {"a": "skip"}, 1, 0, id="skipped-now"),
        pytest.param({"a": "pass"}, {"a": "not run"}, 1, 0, id="not-run"),
        pytest.param({"a": "skip"}, {"a": "not run"}, 0, 0, id="judged-in-neither"),
        pytest.param({"a": "pass"}, {}, 1, 1, id="nothing-to-compare"),
    ],
)
def test_status_is_1_where_something_is_worse_or_gone(
    old: dict[str, str], new: dict[str, str], status: int, allowed: int
) -> None:
    """A failure that the baseline lacks is never allowed; what is no longer judged may be."""
    found = compare.compare(run(**old), run(**new))

    assert (found.status(), found.status(allow_gone=True)) == (status, allowed)


def test_target_that_vanished_is_gone() -> None:
    """A baseline's target without a partner takes its tests with it, and the status shows it."""
    (result,) = run(a="pass").results
    before = merge.merge([on("host", result), on("sim-x86_64", result._replace(nodeid="b"))])

    found = compare.compare(before, on("host", result))

    assert [result.target for result in found.gone] == ["sim-x86_64"]
    assert found.status() == 1
    assert "gone: sim-x86_64, which only the baseline has" in list(compare_lines.lines(found))


def test_target_of_another_kernel_is_compared() -> None:
    """lab-x86_64-svm@6.12 is lab-x86_64-svm@7.3, and a failure there is broken, not new."""
    good, bad = run(a="pass").results[0], run(a="fail").results[0]

    found = compare.compare(on("lab-x86_64-svm@6.12", good), on("lab-x86_64-svm@7.3", bad))

    assert [(change.kind, change.new.target) for change in found.changes] == [
        (Kind.BROKEN, "lab-x86_64-svm@7.3")
    ]
    assert found.gone == ()


def test_lines_have_one_line_for_cases_that_break_alike() -> None:
    """Many cases of one claim with one cause are one line, with their number and one message."""
    cases = [Result(f"f.py::test_a[{n}]", f"test_a.{n}", "host", "x86.tsc", Verdict.PASS) for n in range(150)]
    bad = [case._replace(verdict=Verdict.FAIL, message=f"{case.name[7:]} is not 5") for case in cases]

    lines = list(compare_lines.lines(compare.compare(on("host", *cases), on("host", *bad))))

    assert lines == [
        "since the baseline: 1 claim broken (150 cases)",
        "BROKEN      host x86.tsc test_a (150 cases): pass -> fail",
        "            0 is not 5",
    ]


def test_noise_is_not_a_shift_and_a_shift_within_noise_is_found() -> None:
    """Samples of one distribution do not differ; a shift of one deviation does, at any scale."""
    chance = random.Random(3)  # noqa: S311
    first = [chance.gauss(54, 12) for _ in range(400)]
    again = [chance.gauss(54, 12) for _ in range(400)]
    moved = [chance.gauss(66, 12) for _ in range(400)]

    assert compare.compare(measured(*first), measured(*again)).shifts == ()
    (shift,) = compare.compare(measured(*first), measured(*moved)).shifts
    assert shift.delta > 0.4
    assert shift.new - shift.old == pytest.approx(12, abs=3)


def test_large_percentage_on_few_noisy_samples_is_not_a_shift() -> None:
    """Doubling on three samples proves nothing, so nothing is claimed."""
    assert compare.compare(measured(50, 10, 90), measured(100, 20, 180)).shifts == ()


def test_rank_test_agrees_with_a_worked_example() -> None:
    """Two series without overlap: delta 1, and the normal approximation's p with continuity."""
    found = stats.rank_test([1, 2, 3, 4, 5], [6, 7, 8, 9, 10])

    assert found.delta == 1.0
    assert found.p_value == pytest.approx(0.01219, abs=1e-5)


def test_rank_test_of_equal_or_no_values_claims_nothing() -> None:
    """Ties everywhere, or a series without values, are not evidence."""
    assert stats.rank_test([1, 1, 1], [1, 1]).p_value == 1.0
    assert stats.rank_test([], [1]).p_value == 1.0


def test_summary_of_known_values() -> None:
    """Mean, deviation and interpolated percentiles of 1 … 100."""
    found = stats.summarize(list(range(1, 101)))

    assert (found.mean, found.median, found.minimum, found.maximum) == (50.5, 50.5, 1, 100)
    assert found.deviation == pytest.approx(29.0115, abs=1e-4)
    assert found.p95 == pytest.approx(95.05)


def test_histogram_counts_every_value_once() -> None:
    """Outliers land in the outermost bins, equal values in one."""
    _, _, heights = stats.histogram([*range(1000), 10**9], 10)
    _, width, equal = stats.histogram([5] * 7, 10)

    assert sum(heights) == 1001
    assert (width, equal[0]) == (0, 7)


def test_page_shows_the_comparison() -> None:
    """The page names new failures and marks changed cells; without a baseline it does neither."""
    before, after = run(broke="pass"), run(broke="fail")

    page = "".join(html.page(after, compare.compare(before, after)))

    assert "Since the baseline" in page
    assert '"old":{"0":"p"}' in page
    assert "Since the baseline" not in "".join(html.page(after))


def test_selection_of_samples_shows_how_many_were_measured() -> None:
    """Where values are a selection the page's table says how many there were, labelled simulated."""
    (result,) = run(benchmark="pass").results
    sample = Sample(
        "CNTPCT", "native", values=(50, 54, 58), count=1_000_000, rows=(("by value", 7),), columns=("m", "n")
    )
    target = ReportTarget("host", simulated=True)

    page = "".join(html.page(Run(targets=(target,), results=(result._replace(samples=(sample,)),))))

    assert "1,000,000" in page
    assert ">distribution of CNTPCT in ns on host, simulated</title>" in page
