# SPDX-License-Identifier: GPL-2.0-only
"""`make speed`: which ratios it says have grown, and what it measures. No test looks at a time."""

from __future__ import annotations

import json
import sys

import pytest

from tools import measure_calls, speed
from tools.speed import CommandFailed, Ratio

EARLIER = {"one claim": 4.0, "KVM_RUN": 1.5}


@pytest.mark.parametrize(
    ("ratio", "sentences"),
    [
        pytest.param(3.0, [], id="smaller"),
        pytest.param(5.0, [], id="a-quarter-larger"),
        pytest.param(5.1, ["one claim grew from 4.00 to 5.10 of bare pytest"], id="larger"),
    ],
)
def test_ratio_that_grew_by_more_than_a_quarter_is_named(ratio: float, sentences: list[str]) -> None:
    """Only growth of more than a quarter is worth a sentence."""
    assert speed.grown([Ratio("one claim", "bare pytest", "1 s", ratio)], EARLIER) == sentences


def test_ratio_without_an_earlier_one_has_not_grown() -> None:
    """What is measured for the first time is only shown."""
    new = Ratio("collecting", "bare pytest", "1 s", 100.0)

    assert speed.grown([new], EARLIER) == []
    assert speed.table([new], EARLIER).splitlines()[-1].split() == [
        "collecting",
        "bare",
        "pytest",
        "1",
        "s",
        "100.00",
    ]


def test_processor_time_is_that_of_the_command() -> None:
    """A command that computes costs more than one that sleeps, however long that takes."""
    computes = speed.processor_s([sys.executable, "-c", "sum(range(30_000_000))"])
    sleeps = speed.processor_s([sys.executable, "-c", "import time; time.sleep(1)"])

    assert computes > sleeps


def test_command_that_fails_is_a_sentence() -> None:
    """A failed command has no cost: its status and its last line are said."""
    with pytest.raises(CommandFailed, match=r"ended with status 3: gone$"):
        speed.processor_s([sys.executable, "-c", "import sys; print('gone'); sys.exit(3)"])


def test_earlier_ratios_are_of_what_is_measured() -> None:
    """Each row that the repository keeps is one that a run on a host with KVM has."""
    kept = set(json.loads(speed.EARLIER.read_text(encoding="utf-8")))
    commands = {name for name in kept if name.startswith(("make check", "one claim", "collecting"))}
    calls = {measure_calls.TITLES[name] for name in speed.CALLS}

    assert kept - commands == calls | {"the window around a guest's reading"}
    assert len(commands) == 5
