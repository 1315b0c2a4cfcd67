# SPDX-License-Identifier: GPL-2.0-only
"""Node ids with and without the target that they run on."""

from __future__ import annotations


def without_target(nodeid: str, target: str) -> str:
    """Return *nodeid* without the name of *target* among its parameters."""
    name, bracket, parameters = nodeid.partition("[")
    if not bracket:
        return nodeid
    kept = parameters.removesuffix("]").removeprefix(target).strip("-")
    return f"{name}[{kept}]" if kept else name


def with_target(nodeid: str, target: str) -> str:
    """Return *nodeid* as pytest has it on *target*; reports and programs name a case without the target."""
    name, bracket, parameters = nodeid.partition("[")
    kept = parameters.removesuffix("]")
    if not bracket or kept == target or kept.startswith(f"{target}-"):
        return nodeid
    return f"{name}[{target}-{kept}]"
