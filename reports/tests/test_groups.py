# SPDX-License-Identifier: GPL-2.0-only
"""Results with one reason together."""

from __future__ import annotations

import pytest

from reports import groups
from reports.model import Result, Verdict


def failed(claim: str, case: str, message: str, target: str = "host") -> Result:
    """Return a failure of one case of a claim."""
    nodeid = f"kvmtests/x86/test_tsc.py::{claim}[{case}]"
    return Result(nodeid, f"{claim}.{case}", target, "x86.tsc", Verdict.FAIL, message=message)


def test_cases_that_fail_alike_are_one_cause_over_targets() -> None:
    """One claim with one cause is one group, however many parameters and targets it has."""
    results = [
        failed("test_a", f"{case}", f"{case} is 1,{case}00.5 ns after {case:#x}", target)
        for target in ("host", "sim")
        for case in range(20)
    ]

    (group,) = groups.by_claim(results)

    assert (group.subject, group.claim) == ("x86.tsc", "test_a")
    (cause,) = group.causes
    assert len(cause.results) == 40
    assert cause.targets == ("host", "sim")


def test_causes_of_one_claim_are_apart_the_most_frequent_first() -> None:
    """Another sentence, another verdict and another known issue are other causes."""
    alike = [failed("test_a", str(case), f"{case} is not 5") for case in range(3)]
    other = failed("test_a", "x", "KVM_RUN failed with EINVAL")
    error = failed("test_a", "y", "3 is not 5")._replace(verdict=Verdict.ERROR)

    (group,) = groups.by_claim([other, *alike, error])

    assert [len(cause.results) for cause in group.causes] == [3, 1, 1]


def test_claims_are_apart_in_the_order_in_which_they_come() -> None:
    """The same message from two claims is two groups."""
    found = groups.by_claim(
        [failed("test_b", "x", "m"), failed("test_a", "x", "m"), failed("test_b", "y", "m")]
    )

    assert [(group.claim, len(group.results)) for group in found] == [("test_b", 2), ("test_a", 1)]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("off by 32.7 s", "off by 3,600 ticks", id="unit"),
        pytest.param("0xff is not 5", "12 is not 7", id="base"),
        pytest.param("differs by -11.3 µs", "differs by +2 ms", id="sign"),
        pytest.param("[1, 2], 1 wide", "[70, 90], 20 wide", id="window"),
    ],
)
def test_numbers_and_units_do_not_make_a_cause(one: str, other: str) -> None:
    """Messages that differ in values only have one cause."""
    assert groups.without_numbers(one) == groups.without_numbers(other)


def test_names_with_digits_stay() -> None:
    """The name of a register or an errno is not a number: x86, MSR_IA32_TSC and CNTP_CVAL_EL0 stay."""
    said = "x86: MSR_IA32_TSC, CNTP_CVAL_EL0 and KVM_SET_TSC_KHZ"

    assert groups.without_numbers(said) == said
