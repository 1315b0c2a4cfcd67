# SPDX-License-Identifier: GPL-2.0-only
"""A pytest plug-in that runs the collected tests several times over, and counts their verdicts.

``pytest -p tools.rounds --rounds 50 --rounds-file FILE``: starting and collecting take longer than
the claims do, so `tools.repeat` runs many rounds in one process. All fixtures are torn down between
two rounds. The reporter has to be left out (``-p no:reports.plugin``): its journal has one result
for each test.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from reports import outcome
from reports.model import Verdict
from reports.whole_file import write_file

MOST_DETAILS = 100
"""Bad results of one process that are kept with their messages; of the others there is a count."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of `tools.repeat`."""
    group = parser.getgroup("rounds", "many runs in one process")
    group.addoption("--rounds", type=int, default=1, metavar="N", help="run the tests N times over")
    group.addoption("--rounds-file", required=True, metavar="FILE", help="where the counts are written")


def pytest_configure(config: pytest.Config) -> None:
    """Take the place of pytest's own loop."""
    if config.pluginmanager.has_plugin("kvm-recorder"):
        raise pytest.UsageError("the journal has one result for each test: add -p no:reports.plugin")
    config.pluginmanager.register(Rounds(config.option.rounds, Path(config.option.rounds_file)))


class Rounds:
    """Runs all tests *rounds* times, and keeps what they came to in *path*, a JSON file."""

    def __init__(self, rounds: int, path: Path) -> None:
        self._rounds = rounds
        self._path = path
        self._loads: list[float] = []
        self._started_s = time.time()
        self._verdicts: dict[tuple[str, str], Counter[Verdict]] = defaultdict(Counter)
        self._bad: list[dict[str, Any]] = []
        self._reports: dict[str, list[pytest.TestReport]] = defaultdict(list)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Refuse lab hosts: a boot runs each of its tests once."""
        mailboxes = session.config.pluginmanager.has_plugin("kvm-lab")
        if mailboxes and self._rounds > 1:
            raise pytest.UsageError("a lab host runs each test once a boot: use --rounds 1")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Run every test once a round; after each round, all fixtures are gone and the counts written."""
        if session.testsfailed or session.config.option.collectonly:
            return None  # pytest's own loop says why nothing runs
        for _ in range(self._rounds):
            self._run(session, session.items)
            self._loads.append(os.getloadavg()[0])
            self._write()
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the report of one phase; the last one makes the verdict."""
        reports = self._reports[report.nodeid]
        reports.append(report)
        if report.when == "teardown":
            del self._reports[report.nodeid]
            self._count(outcome.judge(reports, ()))

    @staticmethod
    def _run(session: pytest.Session, items: Sequence[pytest.Item]) -> None:
        for item, following in zip(items, [*items[1:], None], strict=True):
            item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
            if session.shouldfail:
                raise session.Failed(session.shouldfail)
            if session.shouldstop:
                raise session.Interrupted(session.shouldstop)

    def _count(self, found: outcome.OutcomeRecords) -> None:
        result = found.result
        verdict = Verdict(str(result["verdict"]))
        self._verdicts[str(result["target"]), str(result["nodeid"])][verdict] += 1
        if (verdict.bad or verdict is Verdict.CHANGED) and len(self._bad) < MOST_DETAILS:
            self._bad.append({"round": len(self._loads), "message": "", **result, "log": found.log})

    def _write(self) -> None:
        tests = [
            {"target": target, "nodeid": nodeid, "verdicts": verdicts}
            for (target, nodeid), verdicts in self._verdicts.items()
        ]
        counts = {
            "rounds": len(self._loads),
            "started_s": self._started_s,
            "ended_s": time.time(),
            "loads": self._loads,
            "tests": tests,
            "bad": self._bad,
        }
        write_file(self._path, [json.dumps(counts)])
