# SPDX-License-Identifier: GPL-2.0-only
"""Whether the check for a fleet and the suite say the same of one host."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatch

from fixtures.precheck.checks import BY_ARCHITECTURE
from fixtures.precheck.finding import Check, CheckFinding, Status

FAILS = frozenset({"fail", "xfail"})
HOLDS = frozenset({"pass", "xpass"})
"""Verdicts of claims, as reports spell them. A known issue that shows is a failure all the same."""

FOLDER = "kvmtests/"


def modules_and_tests(arch: str) -> list[str]:
    """Return pytest's arguments for all claims that checks of *arch* name, in order, each once.

    There are none of an architecture that nothing is checked on.
    """
    claims = [claim for check in BY_ARCHITECTURE.get(arch, ()) for claim in check.claims]
    return list(dict.fromkeys(FOLDER + claim.partition("[")[0] for claim in claims))


def status_of(check: Check, verdicts: Mapping[str, str]) -> Status | None:
    """Return what the claims of *check* say, given the verdict of each node id; None if none were collected.

    A claim that broke off says nothing, unless another one fails.
    """
    found = {verdict for nodeid, verdict in verdicts.items() if any(_is(nodeid, one) for one in check.claims)}
    if not found:
        return None
    if found & FAILS:
        return Status.BAD
    if found - HOLDS - {"skip"}:
        return Status.UNKNOWN
    return Status.GOOD if found & HOLDS else Status.ABSENT


def disagreements(arch: str, findings: Iterable[CheckFinding], verdicts: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each check of *arch* that found other than its claims."""
    found = {finding.check: finding for finding in findings}
    for check in BY_ARCHITECTURE.get(arch, ()):
        claimed = status_of(check, verdicts)
        finding = found.get(check.name)
        if finding is None:
            yield f"{check.name} was not looked at"
        elif claimed is not None and claimed is not finding.status:
            seen = f"{finding.status.value} ({finding.sentence})"
            yield f"{check.name} is {seen}; its claims say {claimed.value}"


def _is(nodeid: str, claim: str) -> bool:
    """Return whether *nodeid* is a case of *claim*; in brackets a claim has a pattern of its parameters."""
    name, _, parameters = nodeid.partition("[")
    wanted, _, pattern = claim.partition("[")
    return name == FOLDER + wanted and (not pattern or fnmatch(parameters, pattern))
