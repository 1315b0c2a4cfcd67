# SPDX-License-Identifier: GPL-2.0-only
"""Find between which two of Debian's packaged kernels a claim changed: `make lab LAB="--bisect NODEID"`.

Both ends are judged first. A kernel that cannot be judged is passed over, and named where that
leaves more than two. Exit status: 0 the pair is found, 1 more than two are left, 2 the command line
is wrong or the ends do not differ as it says.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from fixtures.lab import parts
from fixtures.lab.errors import LabError
from fixtures.lab.hosts import NEWEST, find
from reports import read_journal
from tools import bisection
from tools.arguments import USAGE
from tools.judgement import BisectStatus, Judgement, judge

FOUND, NOT_FOUND = 0, 1

Judge = Callable[[str], Judgement]


class Wrong(Exception):
    """The ends cannot be bisected between; the text is one sentence without a full stop."""


class KernelPair(NamedTuple):
    """Two neighbouring kernels of different verdict, in the order of versions, and what lies between."""

    before: str
    after: str
    unjudged: tuple[str, ...]


def main(arguments: argparse.Namespace) -> int:
    """Judge `bisect` of *arguments* on kernels from `good` to `bad`; print each verdict and the pair."""
    try:
        target = _target(arguments)
        versions = between(parts.offered(find_arch(target)), arguments.good, arguments.bad)
        _say(f"{len(versions)} kernels from {versions[0]} to {versions[-1]} on {target}")
        newer_is_good = chosen(versions, arguments.good) == versions[-1]
        change = bisect(versions, _judge_on(target, arguments.bisect), newer_is_good=newer_is_good)
    except (LabError, Wrong) as error:
        sys.stderr.write(f"lab: {error}.\n")
        return USAGE
    words = ("mended", "fails", "holds") if newer_is_good else ("broken", "holds", "fails")
    _say(f"{words[0]}: {words[1]} up to {change.before}, {words[2]} from {change.after}")
    if change.unjudged:
        _say(f"Not judged, between the two: {', '.join(change.unjudged)}")
    return NOT_FOUND if change.unjudged else FOUND


def between(offered: Sequence[str], good: str, bad: str) -> list[str]:
    """Return the versions in *offered* from one end to the other, oldest first; `Wrong` if an end is none."""
    first, last = sorted(offered.index(chosen(offered, each)) for each in (good, bad))
    if first == last:
        raise Wrong(f"GOOD={good} and BAD={bad} are the same kernel, {offered[first]}")
    return list(offered[first : last + 1])


def chosen(offered: Sequence[str], name: str) -> str:
    """Return the version in *offered* that *name* means: itself, the newest of its series, or of all."""
    if name == NEWEST:
        return offered[-1]
    of_series = [version for version in offered if version == name or version.startswith(f"{name}.")]
    if not of_series:
        raise Wrong(f"Debian carries no kernel {name}; it has {', '.join(offered)}")
    return of_series[-1]


def bisect(versions: Sequence[str], judge_on: Judge, *, newer_is_good: bool) -> KernelPair:
    """Return where the verdict changes among *versions*; `Wrong` unless both ends are as said."""
    wanted = (BisectStatus.BAD, BisectStatus.GOOD) if newer_is_good else (BisectStatus.GOOD, BisectStatus.BAD)
    low, high = 0, len(versions) - 1
    for end, status in ((low, wanted[0]), (high, wanted[1])):
        found = judge_on(versions[end])
        if found.status is not status:
            raise Wrong(f"{versions[end]} is not {status.name.lower()}, but {_shown(found)}")
    passed_over: set[int] = set()
    while middle := _middle(low, high, passed_over):
        status = judge_on(versions[middle]).status
        if status is wanted[0]:
            low = middle
        elif status is wanted[1]:
            high = middle
        else:
            passed_over.add(middle)
    return KernelPair(versions[low], versions[high], tuple(versions[low + 1 : high]))


def _middle(low: int, high: int, passed_over: set[int]) -> int | None:
    """Return what is nearest to the middle and not passed over; None if nothing is left."""
    left = [each for each in range(low + 1, high) if each not in passed_over]
    return min(left, key=lambda each: abs(2 * each - low - high)) if left else None


def _judge_on(target: str, nodeid: str) -> Judge:
    symptom = ""

    def on(version: str) -> Judgement:
        nonlocal symptom
        began_s = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="kvmtests-bisect-") as name:
            out = Path(name)
            words = ["tools.lab", "--only", f"--target={target}@{version}", "--jobs=0", f"--out={out}"]
            try:
                bisection.run([sys.executable, "-m", *words, "--", nodeid], out, shown=False)
                found = judge(read_journal.read([out / "journal.jsonl"]).results, symptom)
            except bisection.Unjudged as unjudged:
                found = Judgement(BisectStatus.SKIP, str(unjudged))
        symptom = symptom or found.symptom
        _say(f"{version:<22} {_shown(found)} ({time.monotonic() - began_s:.0f} s)")
        return found

    return on


def _target(arguments: argparse.Namespace) -> str:
    if not arguments.good or not arguments.bad:
        raise Wrong("a bisection needs both ends, as in GOOD=newest BAD=6.12")
    if len(arguments.target) != 1 or find(arguments.target[0]) is None or "@" in arguments.target[0]:
        raise Wrong("a bisection needs one lab host without a kernel, as in TARGET=lab-arm64-protected")
    return str(arguments.target[0])


def find_arch(target: str) -> str:
    """Return the architecture of the lab host *target*."""
    lab_host = find(target)
    assert lab_host is not None, "looked at by _target()"
    return lab_host.arch


def _shown(judgement: Judgement) -> str:
    return f"{judgement.status.name.lower():<5} {judgement.reason}"


def _say(line: str) -> None:
    print(line, flush=True)
