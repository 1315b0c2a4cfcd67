# SPDX-License-Identifier: GPL-2.0-only
"""Values of the commands' options that nothing could be done with."""

from __future__ import annotations

import importlib

import pytest

WRONG = {
    "agree": ["--steps=0", "--steps=-5", "--steps=many", "--keep=-1"],
    "bench": ["-n=1", "-n=abc"],
    "defects": ["--jobs=0", "--jobs=-1", "--limit=0", "--limit=-1", "--limit=nan", "--limit=inf"],
    "fuzz": ["--seconds=0", "--seconds=-1", "--cases=-1", "--seed=x"],
    "measure_calls": ["-n=0", "--rounds=0"],
    "measure_window": ["-n=1", "--rounds=0"],
    "rack": ["--minutes=0"],
    "repeat": ["-n=-1", "--rounds=0", "--load=-1"],
    "speed": ["-n=1"],
    "vectors.check": ["--drawn=-1"],
}
"""Arguments by the command that refuses them."""


@pytest.mark.parametrize(
    ("command", "argument"),
    [(command, argument) for command, arguments in WRONG.items() for argument in arguments],
)
def test_number_that_does_nothing_is_refused(
    command: str, argument: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A number with which a command would do nothing, or never end, is status 2 and one sentence."""
    main = importlib.import_module(f"tools.{command}").main

    with pytest.raises(SystemExit) as ended:
        main([argument])

    said = capsys.readouterr()
    assert (ended.value.code, said.out) == (2, "")
    assert said.err.count("\n") == 1
    assert "this is a number" in said.err
