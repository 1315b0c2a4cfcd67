# SPDX-License-Identifier: GPL-2.0-only
"""Which claims the known issues predict to fail on a host of which some facts are given."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fixtures.architectures import ROWS
from fixtures.facts import Fact, facts_hold
from fixtures.kernel_release import KernelRelease, Prediction
from fixtures.known_issues import KnownIssue
from fixtures.targets import all_targets
from reports import names

ROOT = Path(__file__).resolve().parents[2]
TARGET = "host"
_ARCHITECTURES = {row.folder: row.name for row in ROWS}
_COLLECT = ("-q", "--collect-only", "--every-host", "--stress", "-p", "no:cacheprovider", "kvmtests")


class NotCollected(Exception):
    """The claims cannot be collected; the text is what pytest says."""


@dataclass(frozen=True, slots=True)
class ExpectedFailure:
    """A case that an issue predicts to fail on the host, for sure or perhaps."""

    nodeid: str
    issue: KnownIssue
    sure: bool

    @property
    def subject(self) -> str:
        """The subject of the claim, such as x86.tsc_khz."""
        return names.subject_of(self.nodeid)

    @property
    def name(self) -> str:
        """The kernel's name of the case, as every report has it."""
        return names.kernel_name(self.nodeid, TARGET)


def cases() -> list[str]:
    """Return the node ids of all claims, without their targets; `NotCollected`."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *_COLLECT], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise NotCollected(done.stdout + done.stderr)
    words = "|".join(map(re.escape, sorted(all_targets(), key=len, reverse=True)))
    target = re.compile(rf"\[(?:{words})(?:-|(?=\]))")
    found = (target.sub("[", line, count=1).removesuffix("[]") for line in done.stdout.splitlines())
    return list(dict.fromkeys(case for case in found if "::" in case))


def failures(
    issues: Iterable[KnownIssue], among: Iterable[str], facts: Mapping[str, Fact]
) -> Iterator[ExpectedFailure]:
    """Yield each of the cases *among* which one of *issues* predicts to fail on a host with *facts*.

    A fact that is not given leaves open what depends on it. Of several issues the surest counts.
    """
    likely = sorted(((likelihood(issue, facts), issue) for issue in issues), key=lambda pair: -pair[0])
    for case in among:
        if not _concerns(case, facts):
            continue
        for prediction, issue in likely:
            if prediction and issue.tests.search(case):
                yield ExpectedFailure(_on_host(case), issue, prediction is Prediction.YES)
                break


def likelihood(issue: KnownIssue, facts: Mapping[str, Fact]) -> Prediction:
    """Return whether *issue* shows on a host with *facts*: maybe, where one that it needs is not given."""
    return issue.likelihood(min(_condition(key, wanted, facts) for key, wanted in issue.when.items()))


def _concerns(case: str, facts: Mapping[str, Fact]) -> bool:
    """Return whether *case* runs on a host with *facts*: claims lie in a folder of their architecture."""
    arch = _ARCHITECTURES.get(Path(case).parts[1])
    return arch is None or facts.get("arch", arch) == arch


def _condition(key: str, wanted: object, facts: Mapping[str, Fact]) -> Prediction:
    if key == "unless" and isinstance(wanted, Mapping):
        if not wanted.keys() <= facts.keys():
            return Prediction.MAYBE
        return Prediction.NO if facts_hold(wanted, facts) else Prediction.YES
    if key not in facts:
        return Prediction.MAYBE
    if key == "kernel":
        return KernelRelease(str(facts[key])).foretells(str(wanted))
    return Prediction.YES if facts_hold({key: wanted}, facts) else Prediction.NO


def _on_host(case: str) -> str:
    """Return the node id of *case* on the host, as pytest has it."""
    test, bracket, parameters = case.partition("[")
    return f"{test}[{TARGET}-{parameters}" if bracket else f"{test}[{TARGET}]"
