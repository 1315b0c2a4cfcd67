# SPDX-License-Identifier: GPL-2.0-only
"""The marker of tests that run programs which read our reports."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line("markers", "clients: needs a reader of reports; skips where it is missing")
