# SPDX-License-Identifier: GPL-2.0-only
"""openQA: the JSON that KSELFTEST_KNOWN_ISSUES names: collection, case, conditions with a message."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from fixtures.architectures import ROWS
from tools.known_issues.predicted import ExpectedFailure

COLLECTION = "kvmtests"
_PROCESSORS = {row.name: row.uname_m for row in ROWS}


def lines(failures: Sequence[ExpectedFailure]) -> Iterator[str]:
    """Yield the document: openQA takes a failed case in it for a soft failure, and shows the message.

    It compares a condition's arch, a regular expression, with what `uname -m` prints.
    """
    cases = {f"{failure.subject}.{failure.name}": [_condition(failure)] for failure in failures}
    yield from json.dumps({COLLECTION: cases}, indent=2).splitlines()


def _condition(failure: ExpectedFailure) -> dict[str, str]:
    issue = failure.issue
    arch = issue.when.get("arch")
    condition = {"message": f"{issue.id}: {issue.reason} ({issue.reference})"}
    return condition | ({"arch": f"^{_PROCESSORS[str(arch)]}$"} if arch in _PROCESSORS else {})
