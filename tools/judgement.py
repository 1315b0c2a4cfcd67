# SPDX-License-Identifier: GPL-2.0-only
"""What the results of one claim say to a bisection: good, bad, or not to be judged.

A claim that fails in another way than the one that is looked for says nothing about it: its kernel
is skipped, as one that does not build.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import NamedTuple

from reports.groups import without_numbers
from reports.model import Result, ResultEnding, Verdict

_FAILED = (Verdict.FAIL, Verdict.CHANGED, Verdict.TIMEOUT, Verdict.XFAIL)
_PASSED = (Verdict.PASS, Verdict.XPASS)


class BisectStatus(enum.IntEnum):
    """Exit statuses as `git bisect run` takes them."""

    GOOD = 0
    BAD = 1
    SKIP = 125
    STOP = 128


class Judgement(NamedTuple):
    """A status, one sentence that says why, and how the claim failed where it did."""

    status: BisectStatus
    reason: str
    symptom: str = ""


def symptom_of(result: Result) -> str:
    """Return how *result* failed, without the numbers and addresses that differ in every run."""
    if result.verdict is Verdict.TIMEOUT:
        return "the guest hung"
    return without_numbers(result.message or result.reason).strip()


def judge(results: Sequence[Result], symptom: str = "") -> Judgement:
    """Judge *results* of one claim on one kernel; with a *symptom* only that failure is bad.

    A known issue that shows is also bad: that is how the commit that mends it is found.
    """
    failed = [result for result in results if result.verdict in _FAILED and _ran(result)]
    same = [result for result in failed if not symptom or symptom_of(result) == symptom]
    if same:
        found = symptom_of(same[0])
        return Judgement(BisectStatus.BAD, f"{_named(same[0])}: {found}", found)
    if failed:
        other = symptom_of(failed[0])
        return Judgement(BisectStatus.SKIP, f"it fails otherwise: {other}, not {symptom}")
    for verdict in (Verdict.ERROR, Verdict.NOT_RUN):
        broken = [result for result in results if result.verdict is verdict]
        if broken:
            why = broken[0].message or broken[0].reason
            return Judgement(BisectStatus.SKIP, f"{_named(broken[0])} has no verdict: {why}")
    if any(result.verdict in _PASSED for result in results):
        return Judgement(BisectStatus.GOOD, f"{len(results)} of the claim's cases, none fails")
    skipped = next((result.reason for result in results if result.verdict is Verdict.SKIP), "")
    return Judgement(BisectStatus.SKIP, f"skipped: {skipped}" if skipped else "the claim did not run")


def _ran(result: Result) -> bool:
    return result.ending is ResultEnding.FINISHED


def _named(result: Result) -> str:
    return result.nodeid.rpartition("::")[2]
