# SPDX-License-Identifier: GPL-2.0-only
"""How one test is run again where nobody but the reporter is left to say it."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, NamedTuple

from .model import LOCAL

if TYPE_CHECKING:
    import pytest


class PytestCommand(NamedTuple):
    """The words of pytest's command line before a node id, and those behind its target."""

    words: tuple[str, ...] = (sys.executable, "-m", "pytest")
    options: tuple[str, ...] = ()

    def line(self, nodeid: str, target: str) -> str:
        """Return the shell command that runs *nodeid* on *target*, which may be `LOCAL`."""
        named = () if target == LOCAL else ("--target", target)
        return shlex.join((*self.words, nodeid, *named, *self.options))


def of(config: pytest.Config) -> PytestCommand:
    """Return what the harness says of its command line; pytest's own if it says nothing."""
    hook = getattr(config.hook, "pytest_kvm_command", None)
    told = hook(config=config) if hook is not None else None
    return PytestCommand(tuple(told["command"]), tuple(told["options"])) if told else PytestCommand()
