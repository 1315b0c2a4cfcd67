# SPDX-License-Identifier: GPL-2.0-only
"""One worker process more than processors, where the claims of one worker sleep."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from fixtures.targets import all_targets, probe
from tools.arguments import SUITE

HOST = "host"
"""The target that is this host's own KVM."""

ONE_MORE = "one worker more than processors: thorough claims on a real host sleep for many seconds"


class WorkersOfClaims:
    """Decides how many workers "auto" is.

    A thorough claim about an age or a deadline sleeps on a real host, where time does not pass by
    itself, and takes no processor meanwhile. Such claims come first (fixtures/plugins/targets.py)
    and follow each other, so one worker gets them: the others keep the processors busy.
    """

    def __init__(self) -> None:
        self._one_more = False

    @pytest.hookimpl(wrapper=True, optionalhook=True)
    def pytest_xdist_auto_num_workers(self, config: pytest.Config) -> Generator[None, int, int]:
        """Return one worker for each processor, and one more if the run sleeps."""
        count = yield
        self._one_more = sleeps(config)
        return count + self._one_more

    def pytest_report_header(self) -> str | None:
        """Say that there is one more, and why."""
        return ONE_MORE if self._one_more else None


def sleeps(config: pytest.Config) -> bool:
    """Return whether *config* chooses all thorough claims on this host's own KVM."""
    if config.args != [SUITE] or config.getoption("markexpr") or config.getoption("keyword"):
        return False
    names = " ".join(config.getoption("target")).replace(",", " ").split()
    return (HOST in names or not names) and probe(all_targets()[HOST]).usable
