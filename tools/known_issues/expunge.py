# SPDX-License-Identifier: GPL-2.0-only
"""kdevops: workflows/*/expunges/KERNEL/failures.txt, one GROUP/TEST a line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tools.known_issues.predicted import ExpectedFailure


def lines(failures: Sequence[ExpectedFailure]) -> Iterator[str]:
    """Yield SUBJECT/NAME of each failure, as SQUAD's files name it too, in order of the alphabet."""
    yield from sorted({f"{failure.subject}/{failure.name}" for failure in failures})
