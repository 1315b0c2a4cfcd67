# SPDX-License-Identifier: GPL-2.0-only
"""The markers of tests that need programs of others."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers."""
    config.addinivalue_line("markers", "clients: needs a reader of reports; skips where it is missing")
    config.addinivalue_line("markers", "rack: builds racks of boards, for minutes; needs root, sshd and QEMU")
