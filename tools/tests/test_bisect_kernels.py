# SPDX-License-Identifier: GPL-2.0-only
"""Bisection over packaged kernels: which are tried, what is named, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.lab import cache, parts
from tools import bisect_kernels, lab
from tools.bisect_kernels import KernelPair, Wrong, between, bisect
from tools.judgement import BisectStatus, Judgement

VERSIONS = [f"6.{number}.1+deb13" for number in range(30)]
CLAIM = "kvmtests/arm64/test_counter_offset.py::test_offset_holds_for_every_vcpu"


def verdicts(changed_at: int, skipped: frozenset[int], tried: list[str]) -> Callable[[str], Judgement]:
    """Return a judge to whom kernels before *changed_at* are bad; it notes which ones it judged."""

    def on(version: str) -> Judgement:
        tried.append(version)
        number = VERSIONS.index(version)
        if number in skipped:
            return Judgement(BisectStatus.SKIP, "it does not boot")
        return Judgement(BisectStatus.GOOD if number >= changed_at else BisectStatus.BAD, "")

    return on


@pytest.mark.parametrize("changed_at", range(1, 30))
def test_pair_is_found_wherever_it_lies(changed_at: int) -> None:
    """Of 30 kernels each change is found, with both ends and five more kernels booted."""
    tried: list[str] = []

    found = bisect(VERSIONS, verdicts(changed_at, frozenset(), tried), newer_is_good=True)

    assert found == KernelPair(VERSIONS[changed_at - 1], VERSIONS[changed_at], ())
    assert len(tried) == len(set(tried)) <= 7


def test_kernels_that_cannot_be_judged_are_passed_over() -> None:
    """Unjudged kernels next to the change are named; others change nothing."""
    found = bisect(VERSIONS, verdicts(18, frozenset((14, 15, 17, 25)), []), newer_is_good=True)

    assert found == KernelPair("6.16.1+deb13", "6.18.1+deb13", ("6.17.1+deb13",))


def test_end_that_is_not_as_said_is_refused() -> None:
    """Where the bad end is good there is nothing to look for, and a sentence says which end it is."""
    with pytest.raises(Wrong, match=r"6\.0\.1\+deb13 is not bad, but good"):
        bisect(VERSIONS, verdicts(0, frozenset(), []), newer_is_good=True)


@pytest.mark.parametrize(
    ("good", "bad", "ends"),
    [
        pytest.param("newest", "6.12", ("6.12.1+deb13", "6.29.1+deb13"), id="mended"),
        pytest.param("6.12", "newest", ("6.12.1+deb13", "6.29.1+deb13"), id="broken"),
        pytest.param("6.3.1+deb13", "6.7", ("6.3.1+deb13", "6.7.1+deb13"), id="exact"),
    ],
)
def test_ends_are_versions_or_series(good: str, bad: str, ends: tuple[str, str]) -> None:
    """An end is a version as Debian writes it, the newest one of a series, or the newest of all."""
    chosen = between(VERSIONS, good, bad)

    assert (chosen[0], chosen[-1]) == ends


@pytest.mark.parametrize("words", [("5.15", "6.12"), ("6.12", "6.12")], ids=["not-carried", "equal"])
def test_ends_that_cannot_be_are_refused(words: tuple[str, str]) -> None:
    """A kernel that Debian does not carry, and twice the same one, are sentences."""
    with pytest.raises(Wrong):
        between(VERSIONS, *words)


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["--target", "lab-arm64-vhe"], id="no-ends"),
        pytest.param(["--good", "6.1", "--bad", "6.12"], id="no-lab-host"),
        pytest.param(["--good", "6.1", "--bad", "6.12", "--target", "host"], id="not-a-lab-host"),
        pytest.param(["--good", "6.1", "--bad", "6.12", "--target", "lab-arm64-vhe@6.1"], id="with-kernel"),
    ],
)
def test_command_line_is_checked_before_anything_is_fetched(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    """What cannot be bisected is one sentence and status 2."""
    monkeypatch.setattr(parts, "offered", lambda arch: pytest.fail(f"fetched for {arch}"))

    assert lab.main(["--bisect", CLAIM, *words]) == 2

    assert capsys.readouterr().err.startswith("lab: a bisection needs ")


def test_kernel_by_version_comes_from_the_suite_that_offers_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version that was listed is fetched from its suite; a series and an unknown one from the usual one."""
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))
    parts._offered.cache_clear()
    cache.write_recorded(
        tmp_path / "offered/arm64.json",
        json.dumps({"7.0.4+deb13": "trixie", "6.1.0-44": "bookworm"}).encode(),
    )

    suites = [parts.kernel_set("arm64", each).suite for each in ("7.0.4+deb13", "6.1.0-44", "6.1", "newest")]
    parts._offered.cache_clear()

    assert suites == ["trixie", "bookworm", "bookworm", "trixie-backports"]


def test_versions_are_in_their_order() -> None:
    """Debian's versions are ordered by their numbers, not by their letters."""
    versions = [
        "6.12.100+deb13",
        "6.12.74+deb13+1",
        "7.0.10+deb13",
        "7.0.4+deb13",
        "6.1.0-44",
        "6.12.115+deb13.1",
    ]

    assert sorted(versions, key=parts.version_key) == [
        "6.1.0-44",
        "6.12.74+deb13+1",
        "6.12.100+deb13",
        "6.12.115+deb13.1",
        "7.0.4+deb13",
        "7.0.10+deb13",
    ]


def test_bisection_names_the_pair(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last line says from which kernel on the claim holds, in versions as Debian writes them."""
    monkeypatch.setattr(parts, "offered", lambda _arch: VERSIONS)
    monkeypatch.setattr(bisect_kernels, "_judge_on", lambda _target, _nodeid: verdicts(18, frozenset(), []))

    status = lab.main(["--bisect", CLAIM, "--good=newest", "--bad=6.3", "--target=lab-arm64-vhe"])

    assert status == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        "mended: fails up to 6.17.1+deb13, holds from 6.18.1+deb13"
    )
