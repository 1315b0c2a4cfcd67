# SPDX-License-Identifier: GPL-2.0-only
"""SQUAD: a file of qa-reports-known-issues, whose entries make an expected failure of a failure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from reports.names import shortened
from tools.ci_jobs import Value, yaml
from tools.known_issues.predicted import TARGET, ExpectedFailure

SUITE = "kvmtests"


def lines(
    failures: Sequence[ExpectedFailure],
    server: str,
    pages: str,
    projects: Sequence[str],
    environments: Sequence[str],
) -> Iterator[str]:
    """Yield the file for *projects*, GROUP/PROJECT of the *server*, and their *environments*.

    A test's name is the one that comes by way of LAVA: the suite, and the case of `reports.lava`. What
    is only perhaps expected is intermittent.
    """
    known: list[Value] = [
        {
            "environments": list(environments),
            "notes": f"{failure.issue.id}: {failure.issue.reason}",
            "projects": list(projects),
            "test_name": f"{SUITE}/{_case(failure)}",
            "url": pages + failure.issue.reference,
            "active": True,
            "intermittent": not failure.sure,
        }
        for failure in failures
    ]
    project: dict[str, Value] = {
        "name": SUITE,
        "projects": list(projects),
        "url": server,
        "environments": list(environments),
    }
    if known:
        project["known_issues"] = known
    yield from yaml({"projects": [project]})
    if not known:
        yield "    known_issues: []"


def _case(failure: ExpectedFailure) -> str:
    return shortened(f"{TARGET}.{failure.subject}.{failure.name}", f"{TARGET} {failure.nodeid}")
