# SPDX-License-Identifier: GPL-2.0-only
"""What the rack's command hands to execnet and pytest, without any host."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

import pytest

from tools import rack


def options(**given: object) -> argparse.Namespace:
    """Return the command's options, *given* ones in place of the defaults."""
    fields: dict[str, object] = {"python": "python3", "folder": "there", "target": [], "ssh_config": None}
    return argparse.Namespace(**{**fields, **given})


@pytest.mark.parametrize(
    "names", [["host"], ["two words", "it's"], ['say "x"', "$(touch x)", "--collect-only"]]
)
def test_targets_reach_the_boards_whole(names: list[str]) -> None:
    """PYTEST_ADDOPTS is split as a shell would, so each name is quoted for it."""
    (variable,) = (part for part in rack.parts("a", options(target=names)) if part.startswith("env:"))

    words = shlex.split(variable.removeprefix("env:PYTEST_ADDOPTS="))

    assert words == [word for name in names for word in ("--target", name)]


def test_host_key_checking_is_the_users() -> None:
    """ssh gets the user's settings file and no option of ours."""
    parts = rack.parts("root@board", options(ssh_config=Path("/etc/hosts")))

    assert parts[:2] == ["ssh=root@board", "id=board"]
    assert [part.partition("=")[0] for part in parts] == [
        "ssh", "id", "python", "chdir", "env:PYTEST_ADDOPTS", "ssh_config",
    ]  # fmt: skip


def test_part_with_a_separator_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """execnet would read two parts where one was meant: one sentence, status 2."""
    with pytest.raises(SystemExit) as ended:
        rack.main(["board", "--folder", "a//b"])

    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("rack: // separates the parts")
