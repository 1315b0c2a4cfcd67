# SPDX-License-Identifier: GPL-2.0-only
"""The reports of a test's phases, kept until the last one has come."""

from __future__ import annotations

from typing import Any

import pytest

from . import outcome


class Phases:
    """Collects the phases of tests that run at the same time, also of one test in several workers."""

    def __init__(self) -> None:
        self._pending: dict[tuple[str, str], list[pytest.TestReport]] = {}
        self._judged: dict[Any, tuple[str, str]] = {}  # by worker, the test that had its result last

    def add(self, report: pytest.TestReport) -> tuple[pytest.TestReport, ...]:
        """Keep the report of one phase; return all of the test's with the last one, else nothing.

        The last one is the teardown, or the loss of the worker. A worker that dies between two tests takes
        no result away: pytest-xdist blames the last one, which has its result.
        """
        worker = worker_of(report)
        key = ("" if worker is None else worker.workerinput["workerid"], report.nodeid)
        if report.when == outcome.LOST_WORKER and key == self._judged.get(worker):
            return ()
        self._pending.setdefault(key, []).append(report)
        if report.when not in ("teardown", outcome.LOST_WORKER):
            return ()
        self._judged[worker] = key
        return tuple(self._pending.pop(key))


def worker_of(report: pytest.TestReport) -> Any:
    """Return pytest-xdist's node of the worker that ran the test; None without workers."""
    return getattr(report, "node", None)
