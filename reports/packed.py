# SPDX-License-Identifier: GPL-2.0-only
"""Reports on tests between pytest-xdist's processes: one text for a test, not hundreds of objects.

execnet writes and reads every key and value by itself, in Python, and each message of its own wakes another
process: that took a tenth of the processor time of a run on simulated hosts. The standard library makes one
text of what a test's three phases share and differ in.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any

import pytest
from _pytest.runner import runtestprotocol

from . import clean_reports

PACKED = "kvmtests_json"
"""The key of the text, next to what pytest-xdist adds itself."""

EARLIER = "kvmtests_earlier"
"""The attribute of a test's last report that has the reports of the phases before it."""

_CHANGED, _GONE = "changed", "gone"


class Packer:
    """Registered in a worker, which sends reports."""

    def __init__(self) -> None:
        self._waiting: list[pytest.TestReport] = []  # of the test that runs, phases that did not fail

    @pytest.hookimpl
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool:
        """Run a test as pytest does, and send at its end what was not sent before."""
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        try:
            runtestprotocol(item, log=False, nextitem=nextitem)
        finally:
            if self._waiting:
                self._send(item, self._waiting.pop())
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Send a failure at once, since the worker may not live to the end of the test."""
        report = yield
        if report.failed:
            self._send(item, report)
        else:
            self._waiting.append(report)
        return report

    def _send(self, item: pytest.Item, report: pytest.TestReport) -> None:
        for each in self._waiting:
            clean_reports.pytest_runtest_logreport(each)
        setattr(report, EARLIER, self._waiting)
        self._waiting = []
        item.ihook.pytest_runtest_logreport(report=report)

    @pytest.hookimpl(wrapper=True)
    def pytest_report_to_serializable(
        self, report: pytest.TestReport | pytest.CollectReport
    ) -> Generator[None, dict[str, Any] | None, dict[str, Any] | None]:
        """Return the report as one text; as it was, if a plug-in put into it what JSON does not have."""
        earlier: list[pytest.TestReport] = report.__dict__.pop(EARLIER, [])
        data = yield
        if data is None:
            return None
        if earlier:
            data[EARLIER] = [_difference(each._to_json(), data) for each in earlier]
        try:
            return {PACKED: json.dumps(data)}
        except (TypeError, ValueError):
            return data


class Unpacker:
    """Registered in the process that reports arrive at."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_from_serializable(self, data: dict[str, Any]) -> None:
        """Put what was packed into *data*, of which pytest itself then makes the report."""
        text = data.pop(PACKED, None)
        if text is not None:  # what is left in *data* pytest-xdist has added
            data.update({**with_tuples(json.loads(text)), **data})
        if differences := data.pop(EARLIER, None):
            earlier = [with_tuples(_applied(each, data)) for each in differences]
            data[EARLIER] = [pytest.TestReport._from_json(each) for each in earlier]

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> Generator[None, Any, Any]:
        """Report the phases before the last one first."""
        node = getattr(report, "node", None)
        for each in report.__dict__.pop(EARLIER, []):
            each.node = node
            self._config.hook.pytest_runtest_logreport(report=each)
        return (yield)


def with_tuples(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the *fields* of a report with the tuples that pytest has, and JSON has not."""
    for name in ("location", "longrepr"):  # a skip's longrepr: path, line, reason
        if isinstance(fields.get(name), list):
            fields[name] = tuple(fields[name])
    for name in ("user_properties", "sections"):
        if name in fields:
            fields[name] = [tuple(pair) for pair in fields[name]]
    return fields


def _difference(fields: dict[str, Any], last: dict[str, Any]) -> dict[str, Any]:
    changed = {name: value for name, value in fields.items() if name not in last or last[name] != value}
    return {_CHANGED: changed, _GONE: [name for name in last if name not in fields]}


def _applied(difference: dict[str, Any], last: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in last.items() if name not in difference[_GONE]}
    return {**kept, **difference[_CHANGED]}
