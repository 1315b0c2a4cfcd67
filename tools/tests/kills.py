# SPDX-License-Identifier: GPL-2.0-only
"""Kill parts of `make check` or `make lab` at random moments; judge what the run leaves.

    .venv/bin/python -m tools.tests.kills check 100
    .venv/bin/python -m tools.tests.kills lab 10 --seed 7 -- TARGET=lab-arm64-vhe K=physical

Main process, workers, emulator or make get a signal. Whatever the moment: no result that the
journal held is lost, no process is left, no report of an earlier run stays next to the new journal,
and where tests are lacking the status and every report say so. Exit status: 0 all held, 1 something
did not, 2 usage.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.tests import processes

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 120.0
"""Until a run has ended: a test may reach its own limit first, and the computer may be busy."""

SIGNALS: dict[str, tuple[signal.Signals, ...]] = {
    "make": (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL),
    "main": (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL),
    "worker": (signal.SIGKILL,),
    "emulator": (signal.SIGKILL,),
}
ROLES = {"check": ("make", "main", "worker"), "lab": ("make", "main", "worker", "emulator")}
SELECTION = {
    "check": ("TARGET=sim-arm64-vhe", "K=physical", "JOBS=2"),
    "lab": ("TARGET=lab-arm64-vhe", "K=physical", "LAB=--only"),
}
REPORTS = ("results.ktap", "results.tap", "junit.xml", "report.html")
_STOPPED = re.compile(r"(?i)not finished|not[ -]run|interrupted|stopped")


@dataclass(frozen=True, slots=True)
class Kill:
    """What is done to one run."""

    seed: int
    role: str
    signal: signal.Signals
    moment: float  # as a share of an undisturbed run
    counts_results: bool  # a share of its results; otherwise of its time, start and end included

    @classmethod
    def drawn(cls, seed: int, roles: Sequence[str]) -> Kill:
        """Return the kill of *seed*."""
        chance = random.Random(f"kill {seed}")  # noqa: S311 - repeatable, not secret
        role = chance.choice(roles)
        return cls(seed, role, chance.choice(SIGNALS[role]), chance.random(), chance.random() < 0.7)

    def __str__(self) -> str:
        of = "results" if self.counts_results else "time"
        return f"seed {self.seed}, {self.role} {self.signal.name} at {self.moment:.0%} of the {of}"


@dataclass(frozen=True, slots=True)
class Whole:
    """What an undisturbed run takes and brings."""

    seconds: float
    results: int


@dataclass(slots=True)
class Tally:
    """What became of all runs."""

    runs: Counter[str] = field(default_factory=Counter)
    late: Counter[str] = field(default_factory=Counter)  # by role, where the run ended before
    recorded: int = 0  # results in the journals when the signals were sent
    stopped: int = 0  # runs that lack results
    findings: list[str] = field(default_factory=list)

    def spared(self) -> Iterator[str]:
        """Yield the roles that no run was seen to have: a judge that kills nobody finds nothing."""
        killed = {name.partition(" ")[0] for name in self.runs}
        yield from (
            f"no {role} was found to kill in {self.late[role]} runs" for role in self.late.keys() - killed
        )

    def lines(self) -> Iterator[str]:
        """Yield the counts, then what did not hold."""
        kinds = ", ".join(f"{name} {count}" for name, count in sorted(self.runs.items()))
        yield (
            f"{self.runs.total()} kills ({kinds}), {self.late.total()} runs had ended before; "
            f"{self.recorded} results were recorded at those moments; "
            f"{self.stopped} runs were stopped; {len(self.findings)} findings"
        )
        yield from self.findings


class RawJournal:
    """The records of a journal as far as they are whole, read without the readers that are judged here."""

    def __init__(self, path: Path) -> None:
        """Read *path*; an absent file is an empty journal."""
        lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
        self.first = lines[0] if lines and lines[0].endswith(b"\n") else b""
        self.results: dict[str, str] = {}
        self.collected: set[str] = set()
        for line in lines:
            if line.endswith(b"\n"):
                self._take(json.loads(line))

    def _take(self, record: Mapping[str, Any]) -> None:
        if record["type"] == "result":
            self.results[record["nodeid"]] = record["verdict"]
        elif record["type"] == "collection":
            self.collected |= set(record["nodeids"])

    @property
    def lacking(self) -> set[str]:
        """The tests that were collected and have no result."""
        return self.collected - self.results.keys()


class MakeRun:
    """`make KIND` in a process of its own, with a folder of reports that an earlier run left."""

    def __init__(self, kind: str, words: Sequence[str], out: Path) -> None:
        """Start it."""
        self.out = out
        self.mark = uuid.uuid4().hex
        self.started_ns = time.time_ns()
        self.before = RawJournal(out / "journal.jsonl").first
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
        self.output = (out.parent / f"{out.name}.output").open("w+", encoding="utf-8", errors="replace")
        self._make = subprocess.Popen(
            ["make", kind, f"O={out}", *words],
            cwd=ROOT,
            env={**environment, processes.VARIABLE: self.mark, "TERM": "dumb"},
            stdin=subprocess.DEVNULL,
            stdout=self.output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def kill(self, kill: Kill, whole: Whole) -> Mapping[str, str] | None:
        """Send the signal when it is time; return the results recorded then, None if the run ended before."""
        due_s = time.monotonic() + (0 if kill.counts_results else kill.moment * whole.seconds)
        due_results = int(kill.moment * whole.results) if kill.counts_results else 0
        while self._make.poll() is None:
            if time.monotonic() < due_s or len(self.journal().results) < due_results:
                time.sleep(0.01)
                continue
            chosen = [found for found in processes.of_run(self.mark) if found.role == kill.role]
            if chosen:
                recorded = self.journal().results
                try:
                    os.kill(chosen[kill.seed % len(chosen)].pid, kill.signal)
                except ProcessLookupError:
                    continue
                return recorded
            time.sleep(0.01)
        return None

    def journal(self) -> RawJournal:
        """Return this run's journal; an empty one while the earlier run's is still there."""
        found = RawJournal(self.out / "journal.jsonl")
        return found if found.first != self.before else RawJournal(Path(os.devnull))

    def end(self) -> tuple[int | None, list[processes.Process]]:
        """Wait; return make's status, None where it does not end, and the processes that are left."""
        left = processes.left_after(self.mark, LIMIT_S)
        status = self._make.poll()
        for process in left:
            os.kill(process.pid, signal.SIGKILL)
        self._make.wait()
        self.output.close()
        return status, left


def main(argv: Sequence[str]) -> int:
    """Kill runs as *argv* says; return the exit status."""
    arguments = parsed(argv)
    words = arguments.words or SELECTION[arguments.kind]
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="kills-") as name:
        folder = Path(name)
        whole = _undisturbed(arguments.kind, words, folder / "earlier")
        print(f"an undisturbed run has {whole.results} results in {whole.seconds:.1f} s", flush=True)
        for seed in range(arguments.seed, arguments.seed + arguments.count):
            kill = Kill.drawn(seed, arguments.role or ROLES[arguments.kind])
            out = folder / f"run-{seed}"
            shutil.copytree(folder / "earlier", out)
            found = list(judged(MakeRun(arguments.kind, words, out), kill, whole, tally))
            tally.findings += [f"{kill}: {text}" for text in found]
            print(f"{kill}: {'; '.join(found) or 'nothing found'}", flush=True)
            shutil.rmtree(out)
    tally.findings += tally.spared()
    print("\n".join(tally.lines()))
    return 1 if tally.findings else 0


def _undisturbed(kind: str, words: Sequence[str], out: Path) -> Whole:
    """Run once, which is the earlier run of all others."""
    out.mkdir()
    began_s = time.monotonic()
    run = MakeRun(kind, words, out)
    while processes.of_run(run.mark):
        time.sleep(0.05)
    status, _ = run.end()
    took_s = time.monotonic() - began_s
    results = RawJournal(out / "journal.jsonl").results
    if not results:
        raise SystemExit(f"kills: make {kind} {' '.join(words)} ran no test (status {status}).")
    return Whole(took_s, len(results))


def judged(run: MakeRun, kill: Kill, whole: Whole, tally: Tally) -> Iterator[str]:
    """Yield what does not hold of *run*, to which *kill* is done."""
    recorded = run.kill(kill, whole)
    status, left = run.end()
    journal = run.journal()
    if recorded is None:
        tally.late[kill.role] += 1
        return
    tally.runs[f"{kill.role} {kill.signal.name}"] += 1
    tally.recorded += len(recorded)
    if left:
        yield f"left after {LIMIT_S:g} s: {', '.join(map(str, left))}"
    lost = [nodeid for nodeid, verdict in recorded.items() if journal.results.get(nodeid) != verdict]
    if lost:
        yield f"{len(lost)} of {len(recorded)} recorded results lost, {lost[0]} first"
    if journal.first:
        yield from (f"{name} of the earlier run is still there" for name in _old_reports(run))
    if journal.lacking:
        tally.stopped += 1
        yield from _unreported(run, status)


def _old_reports(run: MakeRun) -> list[str]:
    paths = [run.out / name for name in REPORTS]
    return [path.name for path in paths if path.exists() and path.stat().st_mtime_ns < run.started_ns]


def _unreported(run: MakeRun, status: int | None) -> Iterator[str]:
    """Yield where a run that lacks results does not say so."""
    if status == 0:
        yield "status 0 of a stopped run"
    folder = run.out
    if not (folder / REPORTS[0]).exists():  # it was killed: reports can be made from its journal
        folder = run.out / "reported"
        words = [sys.executable, "-m", "tools.report", "--out", str(folder), str(run.out / "journal.jsonl")]
        subprocess.run(words, cwd=ROOT, capture_output=True, check=False)
    for name in REPORTS:
        path = folder / name
        if not path.exists():
            yield f"{name} is missing"
        elif not _STOPPED.search(path.read_text(encoding="utf-8")):
            yield f"{name} does not say that the run was stopped"


def parsed(argv: Sequence[str]) -> argparse.Namespace:
    """Return the options in *argv*."""
    parser = argparse.ArgumentParser(prog="tools.tests.kills", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("kind", choices=sorted(ROLES))
    parser.add_argument("count", type=int, help="how many runs")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the first run (default: 1)")
    parser.add_argument(
        "--role", action="append", choices=sorted(SIGNALS), help="kill only these (repeatable)"
    )
    parser.add_argument(
        "words", nargs="*", metavar="-- VARIABLE=VALUE", help="for make, in place of a few tests"
    )
    return parser.parse_intermixed_args(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
