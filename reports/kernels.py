# SPDX-License-Identifier: GPL-2.0-only
"""Kernel releases in order, and since which of them a claim fails."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .model import Verdict

_RELEASE = re.compile(r"(\d{1,9})\.(\d{1,9})(?:\.(\d{1,9}))?(?:[-.]?rc(\d{1,9}))?")
_DIGITS = re.compile(r"(\d{1,9})")
_FINAL = 1 << 32

VersionKey = tuple[int, int, int, int, tuple[tuple[int, str], ...]]


def in_order(release: str) -> VersionKey:
    """Return what sorts releases by version: 6.12-rc3, 6.12, 6.12.9, 6.12.117+deb12, 7.3.

    What is not a release comes first.
    """
    found = _RELEASE.search(release)
    if found is None:
        return -1, 0, 0, 0, ((0, release),)
    major, minor, patch, candidate = (int(each) if each else 0 for each in found.groups())
    rest = _DIGITS.split(release[found.end() :])
    more = tuple((int(part), "") if part.isdecimal() and part.isascii() else (0, part) for part in rest)
    return major, minor, patch, candidate or _FINAL, more


@dataclass(frozen=True, slots=True)
class Turn:
    """What a claim does from kernel to kernel; a field is empty where it does not apply.

    A claim that fails with the newest kernel has *first_bad*, and *last_good* if it passed before;
    one that was repaired has *last_bad* and *first_good*. Known issues count as failures.
    """

    last_good: str = ""
    first_bad: str = ""
    last_bad: str = ""
    first_good: str = ""
    flaky: tuple[str, ...] = ()  # kernels with which it both passed and failed

    @property
    def words(self) -> str:
        """The sentence for a reader, without a full stop; empty if nothing turned."""
        said = [f"flaky with {', '.join(self.flaky)}"] if self.flaky else []
        if self.first_bad and self.last_good:
            said.append(f"fails since {self.first_bad} (last good {self.last_good})")
        elif self.first_bad:
            said.append(f"fails since {self.first_bad} or longer")
        if self.first_good:
            said.append(f"repaired in {self.first_good} (last bad {self.last_bad})")
        return "; ".join(said)


def turn(verdicts: Mapping[str, Iterable[Verdict]]) -> Turn:
    """Return what a claim does, from its *verdicts* with each kernel; releases may come in any order."""
    states: list[tuple[str, str]] = []
    flaky = []
    for kernel in sorted(verdicts, key=in_order):
        seen = {failing(verdict) for verdict in verdicts[kernel]} - {None}
        if len(seen) == 2:
            flaky.append(kernel)
        elif seen:
            states.append((kernel, "bad" if seen == {True} else "good"))
    mixed = tuple(flaky)
    if not states:
        return Turn(flaky=mixed)
    newest = states[-1][1]
    same = len(states)
    while same and states[same - 1][1] == newest:
        same -= 1
    first = states[same][0]
    before = states[same - 1][0] if same else ""
    if newest == "bad":
        return Turn(last_good=before, first_bad=first, flaky=mixed)
    return Turn(last_bad=before, first_good=first, flaky=mixed) if before else Turn(flaky=mixed)


def failing(verdict: Verdict) -> bool | None:
    """Return whether *verdict* says that the kernel breaks the claim; None if it says nothing of it."""
    if verdict is Verdict.PASS or verdict is Verdict.XPASS:
        return False
    if verdict is Verdict.SKIP or verdict is Verdict.NOT_RUN:
        return None
    return True
