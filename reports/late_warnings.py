# SPDX-License-Identifier: GPL-2.0-only
"""Warnings outside of tests are shown, and change neither a run's status nor its summary.

With ``filterwarnings = error`` a warning in a test is that test's failure. After the last test it
would be nobody's: pytest's cache warns where it cannot write, and as an exception that ends the
session before its summary, with status 1.
"""

from __future__ import annotations

import warnings
from collections.abc import Generator
from typing import Any

import pytest


class LateWarnings:
    """Makes warnings of the end of a session warnings again; inside of pytest's own filters."""

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self) -> Generator[None, Any, Any]:
        """Let every plug-in end its session."""
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            return (yield)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_terminal_summary(self) -> Generator[None, Any, Any]:
        """Let every plug-in say its words."""
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            return (yield)

    @pytest.hookimpl(tryfirst=True)
    def pytest_unconfigure(self) -> None:
        """Let what only the last collection of garbage finds be said; pytest puts its filters back."""
        warnings.simplefilter("default")
