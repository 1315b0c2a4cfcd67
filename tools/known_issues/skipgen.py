# SPDX-License-Identifier: GPL-2.0-only
"""LKFT: a skip file of skipgen, whose lines contrib/test-definitions leaves out of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from tools.ci_jobs import yaml
from tools.known_issues.predicted import ExpectedFailure


def lines(
    failures: Sequence[ExpectedFailure], pages: str, boards: Sequence[str], branches: Sequence[str]
) -> Iterator[str]:
    """Yield the skip file: an entry an issue, for *boards* and *branches*, all if they name none.

    The tests are node ids of pytest. *pages* is the address below which an issue's page lies, or "".
    """
    entries = []
    ordered = sorted(failures, key=lambda failure: failure.issue.id)
    for _, group in groupby(ordered, key=lambda failure: failure.issue.id):
        found = list(group)
        issue = found[0].issue
        entries.append(
            {
                "reason": f"{issue.id}: {issue.reason}",
                "url": pages + issue.reference,
                "environments": "all",
                "boards": list(boards) or "all",
                "branches": list(branches) or "all",
                "tests": [failure.nodeid for failure in found],
            }
        )
    yield from yaml({"skiplist": entries}) if entries else ["skiplist: []"]
