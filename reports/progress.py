# SPDX-License-Identifier: GPL-2.0-only
"""The live line in place of pytest's own progress, where a terminal shows it."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from typing import Any

import pytest

from . import names
from .live import LiveLine, wanted
from .model import Verdict


def go_live(config: pytest.Config) -> LiveLine | None:
    """Return the live line, in the place of pytest's own progress; None where none is wanted."""
    environment = os.environ
    is_terminal = sys.stdout.isatty() and config.option.verbose == 0
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or not wanted(environment, is_terminal=is_terminal):
        return None
    reporter.showfspath = False
    reporter._show_progress_info = False
    config.pluginmanager.register(NoLetters())
    return LiveLine(config.get_terminal_writer(), environment)


def show(live: LiveLine, result: dict[str, Any]) -> None:
    """Count *result*, a record of the journal, in *live*."""
    name = names.kernel_name(result["nodeid"], result["target"])
    subject = result.get("subject") or names.subject_of(result["nodeid"])
    where = f"{result['target']} {subject} {name}"
    strict = bool(result.get("strict"))
    live.result(result["nodeid"], where, Verdict(result["verdict"]), result.get("message", ""), strict=strict)


class NoLetters:
    """Leaves pytest's letters out where the live line shows more; called for every phase of a test."""

    @pytest.hookimpl(wrapper=True)
    def pytest_report_teststatus(self) -> Generator[None, Any, Any]:
        """Return only the category, which pytest counts."""
        category, _, _ = yield
        return category, "", ""
