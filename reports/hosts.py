# SPDX-License-Identifier: GPL-2.0-only
"""Runs with pytest-xdist's ``--dist each``: every test on every host, all in one journal.

A host is called by the id of its ``--tx`` (``ssh=board-a//id=board-a``), or gw0, gw1 … where none
is given. Its records carry that name, from which the reader makes one run of each host.
"""

from __future__ import annotations

import platform
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

INPUT = "kvm_host"
"""The key by which the controller informs a worker that it is a host of its own."""

FOUND = "kvm_host"
"""The user property in which a worker's description of its host travels, with its first report."""


@dataclass
class _Host:
    name: str
    waiting: list[str] = field(default_factory=list)  # In the order in which the host runs them.
    running: str = ""


class Hosts:
    """The hosts of a session and what each has still to run, in the process that writes the journal."""

    def __init__(self) -> None:
        self._hosts: dict[int, _Host] = {}

    def name(self, node: Any) -> str:
        """Return the name of the host of xdist's *node*."""
        return self._of(node).name

    def collected(self, node: Any, nodeids: Sequence[str]) -> bool:
        """Keep what *node* will run, in order; return False for one that replaces a dead one."""
        host = self._of(node)
        if host.waiting:
            return False
        host.waiting = list(nodeids)
        return True

    def starts(self, nodeid: str) -> str:
        """Return the host that starts *nodeid*, empty if none can.

        xdist does not report the node, but each host runs its tests in the order of its collection.
        """
        for host in self._hosts.values():
            if host.waiting[:1] == [nodeid] and host.running != nodeid:
                host.running = nodeid
                return host.name
        return ""

    def ended(self, node: Any, nodeid: str) -> None:
        """Remove *nodeid* from what *node* has still to run."""
        host = self._of(node)
        if nodeid in host.waiting:
            host.waiting.remove(nodeid)

    def _of(self, node: Any) -> _Host:
        # A worker that died is replaced by one with another id and the same specification.
        spec = node.gateway.spec
        return self._hosts.setdefault(id(spec), _Host(str(node.gateway.id)))


def in_each_mode(config: pytest.Config) -> bool:
    """Return whether every host runs every test."""
    return getattr(config.option, "dist", "no") == "each"


def host_facts() -> dict[str, str]:
    """Return what this process says of the computer that it runs on, and of its Python."""
    return {
        "kernel": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "pytest": pytest.__version__,
    }


class HostDescription:
    """In a worker: the description of its host and its targets, sent with the first report."""

    def __init__(self, config: pytest.Config, facts: dict[str, str]) -> None:
        self._config = config
        self._facts = {"hostname": socket.gethostname(), **facts}
        self._sent = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add the description to the first report."""
        if not self._sent:
            self._sent = True
            targets: list[dict[str, Any]] = self._config.hook.pytest_kvm_targets(config=self._config) or []
            report.user_properties.append((FOUND, {"facts": self._facts, "targets": targets}))


def description(report: pytest.TestReport) -> dict[str, Any] | None:
    """Take the description of a host out of *report*; None if it has none."""
    for pair in report.user_properties:
        if pair[0] == FOUND:
            report.user_properties.remove(pair)
            assert isinstance(pair[1], dict)
            return pair[1]
    return None
