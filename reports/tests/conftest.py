# SPDX-License-Identifier: GPL-2.0-only
"""The marker of tests that run programs which read our reports, and no deadline for an example."""

from __future__ import annotations

import pytest
from hypothesis import settings

settings.register_profile("busy host", deadline=None)
settings.load_profile("busy host")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line("markers", "clients: needs a reader of reports; skips where it is missing")
