# SPDX-License-Identifier: GPL-2.0-only
"""Runs with pytest-xdist's ``--dist each``: every test on every machine, all in one journal.

A machine is called by the id of its ``--tx`` (``ssh=board-a//id=board-a``), or gw0, gw1 … where
none is given. Its records carry that name; the reader makes one run of each machine out of them.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

FIELD = "machine"
"""The field of a record that names its machine."""

INPUT = "kvm_machine"
"""By this key the controller tells a worker that it is a machine of its own."""

FOUND = "kvm_machine"
"""The user property by which a worker's description of its machine travels, with its first report."""


@dataclass
class _Machine:
    name: str
    waiting: list[str] = field(default_factory=list)  # In the order in which the machine runs them.
    running: str = ""


class Machines:
    """Who is who, in the process that writes the journal."""

    def __init__(self) -> None:
        self._machines: dict[int, _Machine] = {}

    def name(self, node: Any) -> str:
        """Return what the machine of xdist's *node* is called."""
        return self._of(node).name

    def collected(self, node: Any, nodeids: Sequence[str]) -> bool:
        """Keep what *node* will run, in order; return False for one that stands in for a dead one."""
        machine = self._of(node)
        if machine.waiting:
            return False
        machine.waiting = list(nodeids)
        return True

    def starts(self, nodeid: str) -> str:
        """Return the machine that starts *nodeid*: xdist does not tell, but they keep their order."""
        for machine in self._machines.values():
            if machine.waiting[:1] == [nodeid] and machine.running != nodeid:
                machine.running = nodeid
                return machine.name
        return ""

    def ended(self, node: Any, nodeid: str) -> None:
        """Take *nodeid* off what *node* has before it."""
        machine = self._of(node)
        if nodeid in machine.waiting:
            machine.waiting.remove(nodeid)

    def _of(self, node: Any) -> _Machine:
        # A worker that died is replaced by one with another id and the same specification.
        spec = node.gateway.spec
        return self._machines.setdefault(id(spec), _Machine(str(node.gateway.id)))


def in_each_mode(config: pytest.Config) -> bool:
    """Return whether every machine runs every test."""
    return getattr(config.option, "dist", "no") == "each"


class Description:
    """In a worker: what its machine and its targets are, told with the first report."""

    def __init__(self, config: pytest.Config, facts: dict[str, str]) -> None:
        self._config = config
        self._facts = {"hostname": socket.gethostname(), **facts}
        self._told = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Send the description along."""
        if not self._told:
            self._told = True
            targets: list[dict[str, Any]] = self._config.hook.pytest_kvm_targets(config=self._config) or []
            report.user_properties.append((FOUND, {"facts": self._facts, "targets": targets}))


def description(report: pytest.TestReport) -> dict[str, Any] | None:
    """Take the description of a machine out of *report*, None if it brings none."""
    for pair in report.user_properties:
        if pair[0] == FOUND:
            report.user_properties.remove(pair)
            assert isinstance(pair[1], dict)
            return pair[1]
    return None
