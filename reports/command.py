# SPDX-License-Identifier: GPL-2.0-only
"""The command that runs one test again, for tests that died before they could say it themselves."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, NamedTuple

from .model import LOCAL

if TYPE_CHECKING:
    import pytest


class PytestCommand(NamedTuple):
    """The words of pytest's command line before a node id, and those after its target."""

    words: tuple[str, ...] = (sys.executable, "-m", "pytest")
    options: tuple[str, ...] = ()

    def line(self, nodeid: str, target: str) -> str:
        """Return the shell command that runs *nodeid* on *target*, which may be `LOCAL`."""
        named = () if target == LOCAL else ("--target", target)
        return shlex.join((*self.words, nodeid, *named, *self.options))


def of(config: pytest.Config) -> PytestCommand:
    """Return what the harness says of its command line; pytest's own if it says nothing."""
    hook = getattr(config.hook, "pytest_kvm_command", None)
    words = hook(config=config) if hook is not None else None
    return PytestCommand(tuple(words["command"]), tuple(words["options"])) if words else PytestCommand()
