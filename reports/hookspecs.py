# SPDX-License-Identifier: GPL-2.0-only
"""The hooks in which the harness describes to the reporter what is under test."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.hookspec(firstresult=True)
def pytest_kvm_targets(config: pytest.Config) -> list[dict[str, Any]] | None:
    """Return the chosen targets, in the order of the reports.

    Each is a dict: name, kind ("host", "sim" or "lab"), arch, mode, generation, simulated,
    usable, reason (None if usable), facts {name: text, number or bool}. Called once, in the
    process that writes the journal, before the first test.
    """


@pytest.hookspec(firstresult=True)
def pytest_kvm_command(config: pytest.Config) -> dict[str, list[str]] | None:
    """Return how a test of this session is run again: "command" before its node id, and "options".

    The node id and --target come between the two. Needed for tests that died before they could say it.
    """


@pytest.hookspec
def pytest_kvm_target_found(config: pytest.Config, target: dict[str, Any]) -> None:
    """Record what became known of a target while its tests ran: a lab host has to boot first.

    The dict is as in `pytest_kvm_targets` and takes the place of the one given there. Called
    in the process that writes the journal.
    """
