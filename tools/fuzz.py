# SPDX-License-Identifier: GPL-2.0-only
"""Try hostile input: system calls, guests of random bytes, spoilt files of results (docs/fuzzing.md).

Each target is tried in a process of its own; if it dies or hangs, the seed and step that ended
it are named and another process continues after them. Exit status: 0 all went well, 1 a crash
or a disagreement, 2 usage, 4 nothing could be tried.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fixtures.fuzz import draw, images
from fixtures.targets import all_targets
from tools import fuzz_readers
from tools.arguments import Parser, duration, number_from
from tools.fuzz_child import CASE_LIMIT_S, NO_STEP, TRACE
from tools.interruption import started

ROOT = Path(__file__).resolve().parents[1]
KINDS = ("abi", "guests", "readers")
READERS = "readers"  # each is named like a target
START_S = 60  # until a process has begun, on a shared computer
MOST_DEATHS = 20
SHOWN = 64  # bytes of a guest's code
LAST_LINES = 3  # of what a process wrote before it died
LISTED = 20  # findings that are printed of one target
FOUND, USAGE, NOTHING_RAN = 1, 2, 4


@dataclass(slots=True)
class Tried:
    """The counts and findings of one kind of input on one target."""

    kind: str
    target: str
    counts: dict[str, Any] = field(default_factory=dict)
    crashes: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    absent: str = ""

    def add(self, counts: Mapping[str, Any]) -> None:
        """Add the counts of another process."""
        for name, value in counts.items():
            if isinstance(value, dict):
                mine = self.counts.setdefault(name, {})
                for key, number in value.items():
                    mine[key] = mine.get(key, 0) + number
            else:
                self.counts[name] = self.counts.get(name, 0) + value

    def lines(self) -> Iterator[str]:
        """Yield the lines to print, the counts first."""
        name = f"{self.kind} {self.target}"
        if self.absent:
            yield f"{name}: left out, {self.absent}"
            return
        counted = ", ".join(f"{_shown(value)} {key}" for key, value in self.counts.items() if value)
        found = f"{len(self.crashes)} crashes, {len(self.findings)} disagreements"
        yield f"{name}: {counted or 'nothing'}; {found}"
        for text in (*self.crashes, *self.findings)[:LISTED]:
            yield f"  {text}"


def main(argv: Sequence[str]) -> int:
    """Try, or show, the input that *argv* chooses; return the exit status."""
    arguments = _parse(argv)
    known = {name for name, target in all_targets().items() if target.elsewhere is None}
    unknown = [name for name in arguments.target if name not in known | fuzz_readers.READERS.keys()]
    if unknown:
        sys.stderr.write(f"fuzz: {unknown[0]} is neither a target of this host nor a reader\n")
        return USAGE
    if arguments.show:
        print(
            "\n".join(
                _case(kind, name, arguments.seed)
                for kind in arguments.kinds
                for name in _targets(kind, arguments.target, known)
            )
        )
        return 0
    jobs = [(kind, target) for kind in arguments.kinds for target in _targets(kind, arguments.target, known)]
    tried = []
    for kind, target in jobs:
        share_s = arguments.seconds / sum(other == kind for other, _ in jobs)
        tried.append(attempt(kind, target, arguments.seed, share_s, arguments.cases))
        print("\n".join(tried[-1].lines()), flush=True)
    if all(each.absent for each in tried):
        return NOTHING_RAN
    return FOUND if any(each.crashes or each.findings for each in tried) else 0


def attempt(kind: str, target: str, seed: int, seconds: float, cases: int = 0) -> Tried:
    """Try *kind* of input on *target* for *seconds*, or *cases* cases; a dead process is replaced."""
    tried = Tried(kind, target)
    end_s = time.monotonic() + seconds
    last = seed + cases
    while len(tried.crashes) < MOST_DEATHS:
        ended_at = _one_process(tried, seed, max(0.0, end_s - time.monotonic()), last - seed if cases else 0)
        if ended_at is None:
            break
        seed = ended_at + 1
        if seed >= last if cases else time.monotonic() >= end_s:
            break
    return tried


def _one_process(tried: Tried, seed: int, seconds: float, cases: int) -> int | None:
    """Run one process; return the seed at which it died, None if it did not die."""
    with (
        tempfile.NamedTemporaryFile() as trace,
        tempfile.TemporaryFile("w+") as said,
        tempfile.TemporaryFile("w+") as complained,
    ):
        trace.write(TRACE.pack(seed, NO_STEP))
        trace.flush()
        words = [sys.executable, "-m", "tools.fuzz_child", tried.kind, "--target", tried.target]
        words += [
            "--seed",
            str(seed),
            "--seconds",
            str(seconds),
            "--cases",
            str(cases),
            "--trace",
            trace.name,
        ]
        # Files, not pipes: nothing waits for a child that hangs in the kernel.
        with subprocess.Popen(words, cwd=ROOT, stdout=said, stderr=complained, text=True) as process:
            status = _wait(process, seconds + cases * CASE_LIMIT_S + CASE_LIMIT_S + START_S)
        said.seek(0)
        ended = _take(tried, said.read().splitlines())
        if ended:
            return None
        at, step = TRACE.unpack(Path(trace.name).read_bytes()[: TRACE.size])
        complained.seek(0)
        last_words = " | ".join(line.strip() for line in complained.read().splitlines()[-LAST_LINES:])
    tried.crashes.append(f"seed {at}, step {step}: {_ending(status)}; {last_words}")
    return int(at)


def _wait(process: subprocess.Popen[str], limit_s: float) -> int | None:
    try:
        return process.wait(limit_s)
    except subprocess.TimeoutExpired:
        process.kill()
        return None


def _take(tried: Tried, lines: Sequence[str]) -> bool:
    """Add the findings in a process's output; return whether it ended as it should."""
    for line in lines:
        record = json.loads(line)
        if "counts" in record:
            tried.add(record["counts"])
            return True
        if "absent" in record:
            tried.absent = record["absent"]
            return True
        tried.findings.append(f"seed {record['seed']}: {record['why']}")
    return False


def _ending(status: int | None) -> str:
    if status is None:
        return "hung, and was killed"
    if status < 0:
        return f"died of {signal.Signals(-status).name}"
    return f"ended with status {status}: one case took longer than {CASE_LIMIT_S} s, or Python gave up"


def _case(kind: str, name: str, seed: int) -> str:
    """Return what the case of *seed* consists of."""
    if kind == READERS:
        return f"{kind} {name}: files have no list of steps"
    target = all_targets()[name]
    if kind == "abi":
        return draw.case(target.arch, seed, real=not target.simulated).shown()
    guest = images.image(target.arch, seed)
    registers = ", ".join(map(hex, guest.registers))
    return f"{guest.arch}, {guest.flavour}, registers {registers}, code {guest.code[:SHOWN].hex()}…"


def _targets(kind: str, named: Sequence[str], known: set[str]) -> list[str]:
    of_kind = fuzz_readers.READERS.keys() if kind == READERS else known
    return [name for name in named if name in of_kind] or ([] if named else sorted(of_kind))


def _shown(value: object) -> str:
    if not isinstance(value, dict):
        return str(value)
    return "(" + ", ".join(f"{key} {number}" for key, number in sorted(value.items())) + ")"


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser(prog="tools.fuzz", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(KINDS)} (default: all)")
    parser.add_argument(
        "--seconds",
        type=duration,
        default=60,
        metavar="N",
        help="of each kind, shared by targets (default: 60)",
    )
    parser.add_argument(
        "--seed", type=number_from(0), default=1, metavar="N", help="of the first case (default: 1)"
    )
    parser.add_argument(
        "--cases", type=number_from(0), default=0, metavar="N", help="try N cases, whatever time it takes"
    )
    parser.add_argument(
        "--target",
        action="append",
        default=[],
        metavar="NAME",
        help="only this one (repeatable; default: all)",
    )
    parser.add_argument("--show", action="store_true", help="print the case of --seed on each --target")
    arguments = parser.parse_args(argv)
    for kind in arguments.kinds:
        if kind not in KINDS:
            parser.error(f"{kind!r} is not a kind of input; there are {', '.join(KINDS)}")
    arguments.kinds = arguments.kinds or list(KINDS)
    return arguments


if __name__ == "__main__":
    sys.exit(started(main))
