# SPDX-License-Identifier: GPL-2.0-only
"""Which target of a run is which of its baseline."""

from __future__ import annotations

import pytest

from reports import matching
from reports.model import ReportTarget, Result, Run, Verdict


def run(*targets: str) -> Run:
    """Return a run with one result on each of *targets*."""
    results = (Result("f.py::a", "a", target, "x86.tsc", Verdict.PASS) for target in targets)
    return Run(targets=tuple(map(ReportTarget, targets)), results=tuple(results))


@pytest.mark.parametrize(
    ("old", "new", "pairs"),
    [
        pytest.param("a b", "b a", "a=a b=b", id="by-name"),
        pytest.param("lab@6.12", "lab@7.3", "lab@6.12=lab@7.3", id="other-kernel"),
        pytest.param("lab", "lab@7.3", "lab=lab@7.3", id="kernel-named-only-once"),
        pytest.param("host@a", "host@b", "host@a=host@b", id="other-host"),
        pytest.param("lab@6.1 lab@6.12", "lab@7.3", "", id="choice-in-the-baseline"),
        pytest.param("lab@6.12", "lab@6.12 lab@7.3", "lab@6.12=lab@6.12", id="choice-in-the-run"),
        pytest.param("lab-a@6.12", "lab-b@6.12", "", id="another-target"),
    ],
)
def test_targets_match_by_name_then_without_kernel_or_host(old: str, new: str, pairs: str) -> None:
    """Names decide; without what follows the "@" only where that leaves no choice."""
    found = matching.match(run(*old.split()), run(*new.split()), {})

    assert " ".join("=".join(pair) for pair in found.pairs) == pairs


def test_map_goes_before_names() -> None:
    """A pair that the user gives is compared, although the baseline has a target of the same name."""
    found = matching.match(run("a", "b"), run("b"), {"a": "b"})

    assert found.pairs == (("a", "b"),)
    assert found.gone == ("b",)


def test_gone_target_keeps_apart_from_a_partner_of_its_name() -> None:
    """Results of a baseline's target without a partner are never taken for those of another."""
    baseline = run("a", "b")

    renamed = matching.renamed(baseline, matching.match(baseline, run("b"), {"a": "b"}))

    assert [result.target for result in renamed.results] == ["b", "b (baseline)"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        pytest.param(["a"], "--map 'a' is not of the form BASELINE-TARGET=TARGET", id="no-sign"),
        pytest.param(["=b"], "--map '=b' is not of the form BASELINE-TARGET=TARGET", id="no-old"),
        pytest.param(["a=b", "a=c"], "--map names a twice; give each target one partner", id="old-twice"),
        pytest.param(["a=c", "b=c"], "--map names c twice; give each target one partner", id="new-twice"),
        pytest.param(["x=b"], "--map names x, which the baseline lacks; it has a", id="unknown-old"),
        pytest.param(["a=x"], "--map names x, which the run lacks; it has b", id="unknown-new"),
    ],
)
def test_wrong_map_is_one_sentence(words: list[str], sentence: str) -> None:
    """What does not fit is said, with what there is."""
    with pytest.raises(matching.MapError) as raised:
        matching.match(run("a"), run("b"), matching.parse(words))

    assert str(raised.value) == sentence
