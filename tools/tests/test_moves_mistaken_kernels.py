# SPDX-License-Identifier: GPL-2.0-only
"""Hosts whose kernel is wrong about its counter's frequency are visited again, and then not judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.sim import SimBackend, SimConfig
from fixtures.sim.targets import TARGETS
from fixtures.sim.x86.parts import calibrated
from fixtures.targets import Target, probe, simulated
from tools.moves import command, hosts
from tools.moves.command import GuestRoute
from tools.moves.results import GuestMove, NoMove, Outcome

RIGHT = TARGETS["sim-x86_64"]
WRONG = replace(RIGHT, parts=calibrated(RIGHT, -656_914))
MISTAKE = "its kernel takes its counter for one of "


def booting(name: str, *boots: SimConfig) -> Target:
    """Return a target that is one of *boots* after the other, each time that KVM is opened to visit it."""
    target = simulated(name, boots[-1])
    coming = iter(boots)
    found = probe(target)  # a visit probes first, which would be a boot as well
    return replace(target, make_backend=lambda: SimBackend(next(coming)), elsewhere=lambda: found.facts)


def moved(out: Path, *targets: Target) -> Sequence[Outcome]:
    """Return what comes of a guest's moves along *targets*."""
    return list(command.moved(GuestRoute(targets), hosts.common_clock(), (), out, 1))


@pytest.mark.parametrize("wrong_first", [True, False], ids=["source", "destination"])
def test_kernel_that_calibrates_better_the_second_time_is_judged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong_first: bool
) -> None:
    """One wrong calibration is said, and costs a second boot; all rows then hold."""
    boots = {"mistaken": (WRONG, RIGHT), "right": (RIGHT,)}
    names = ("mistaken", "right") if wrong_first else ("right", "mistaken")

    [move] = moved(tmp_path, *(booting(name, *boots[name]) for name in names))

    assert isinstance(move, GuestMove)
    assert all(each.row.holds for each in move.rows)
    said = capsys.readouterr().out
    assert said.startswith(f"mistaken is visited again: {MISTAKE}")
    assert said.count("\n") == 1


def test_kernel_that_is_wrong_twice_is_not_judged(tmp_path: Path) -> None:
    """Its rows do not fail: the host cannot be judged, and the guest is kept."""
    targets = booting("right", RIGHT), booting("mistaken", WRONG, WRONG)

    [outcome] = moved(tmp_path, *targets)

    assert isinstance(outcome, NoMove)
    assert outcome.reason.startswith(MISTAKE)
    assert outcome.reason.endswith(" kHz, on the second visit as well")
    assert outcome.guest == str(tmp_path / "guests/1-1-right.json")


def test_route_that_begins_on_a_mistaken_kernel_moves_nothing(tmp_path: Path) -> None:
    """A guest that such a host saved would carry the mistake along."""
    [outcome] = moved(tmp_path, booting("mistaken", WRONG, WRONG), booting("right", RIGHT))

    assert isinstance(outcome, NoMove)
    assert (outcome.source, outcome.guest) == ("", "")


def test_host_with_a_time_of_its_own_is_believed(tmp_path: Path) -> None:
    """In an emulator whose time is what its processor does, the common clock says nothing of a counter."""
    found = hosts.visited(booting("mistaken", WRONG), hosts.common_clock(), None, tmp_path)

    assert found.mistake.startswith(MISTAKE)
    assert replace(found, own_time=True).mistake == ""
