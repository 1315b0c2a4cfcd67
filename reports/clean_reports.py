# SPDX-License-Identifier: GPL-2.0-only
"""pytest's reports on tests, cleaned where they enter: before a terminal, another process or a journal.

A message or captured output may hold what a guest or a kernel wrote: sequences that set the
terminal's title, its clipboard or its screen, and lone surrogates, which pytest-xdist cannot send
(the whole run ended with status 3).
"""

from __future__ import annotations

from typing import Any

import pytest

from .text import clean

_REPRESENTATIONS = "_pytest._code.code"
"""The module of the objects that pytest makes of an exception."""


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Clean the report of one phase."""
    if report.user_properties:
        report.user_properties = [(clean(name), _cleaned(value)) for name, value in report.user_properties]
    if report.longrepr is not None or report.sections:
        _clean(report)
    if hasattr(report, "wasxfail"):
        report.wasxfail = clean(report.wasxfail)


@pytest.hookimpl(tryfirst=True)
def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Clean what a module that cannot be collected raised."""
    if report.longrepr is not None or report.sections:
        _clean(report)


def _clean(report: pytest.TestReport | pytest.CollectReport) -> None:
    report.longrepr = _cleaned(report.longrepr)
    report.sections = [(clean(title), clean(text)) for title, text in report.sections]


def _cleaned(value: Any) -> Any:
    """Return *value* with the texts in it cleaned; what pytest makes of an exception is changed in place."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, tuple):
        return tuple(_cleaned(each) for each in value)
    if isinstance(value, list):
        # A benchmark has many readings, all of them numbers.
        return value if value and isinstance(value[0], int | float) else [_cleaned(each) for each in value]
    if isinstance(value, dict):
        return {name: _cleaned(each) for name, each in value.items()}
    if type(value).__module__ == _REPRESENTATIONS:
        for name, each in vars(value).items():
            setattr(value, name, _cleaned(each))
    return value
