# SPDX-License-Identifier: GPL-2.0-only
"""Warnings outside of tests are shown, and change neither a run's status nor its summary.

With ``filterwarnings = error`` a warning in a test is that test's failure. After the last test it
belongs to no test: pytest's cache warns where it cannot write, and raised as an exception that ends
the session before its summary, with status 1.
"""

from __future__ import annotations

import warnings
from collections.abc import Generator
from typing import Any

import pytest


class LateWarnings:
    """Makes the warnings at the end of a session warnings again, inside of pytest's own filters."""

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self) -> Generator[None, Any, Any]:
        """Show what plug-ins warn of while the session ends."""
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            return (yield)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_terminal_summary(self) -> Generator[None, Any, Any]:
        """Show what plug-ins warn of while the summary is printed."""
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            return (yield)

    @pytest.hookimpl(tryfirst=True)
    def pytest_unconfigure(self) -> None:
        """Show what only the last garbage collection finds; pytest restores its own filters."""
        warnings.simplefilter("default")
