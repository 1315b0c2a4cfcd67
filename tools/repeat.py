# SPDX-License-Identifier: GPL-2.0-only
"""Run the claims many times, and report which verdicts change.

``.venv/bin/python -m tools.repeat -n 50 --busy -- --target host`` repeats the whole suite on this
host while a process of ours keeps another core busy. Every run leaves its reports below ``--out``.
Exit status: 0 no verdict changed, 1 some did, 2 usage.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from reports import read_journal
from reports.model import Verdict

ROOT = Path(__file__).resolve().parent.parent
CHANGED, USAGE = 1, 2
SPIN = "import os, sys; os.sched_setaffinity(0, {int(sys.argv[1])})\nwhile True: pass"

Verdicts = dict[tuple[str, str], Counter[Verdict]]
"""How often each test (target, node id) got each verdict."""


def main(argv: Sequence[str]) -> int:
    """Run the claims as often as *argv* says; return the exit status."""
    parser = argparse.ArgumentParser(prog="tools.repeat", description=__doc__.splitlines()[0])
    parser.add_argument("-n", type=int, default=50, metavar="N", help="how often (default: 50)")
    parser.add_argument("--busy", action="store_true", help="a process that computes all the time next to it")
    parser.add_argument(
        "--out", type=Path, default=Path("out/repeat"), metavar="DIR", help="where reports go"
    )
    parser.add_argument("arguments", nargs="*", metavar="-- ARGUMENTS", help="pytest arguments")
    options = parser.parse_args(argv)
    if options.n < 1:
        parser.error("-n has to be 1 or more")
    seen: Verdicts = defaultdict(Counter)
    try:
        with company() if options.busy else contextlib.nullcontext():
            for number in range(options.n):
                count(run(options.out / str(number), options.arguments), seen)
    except (KeyboardInterrupt, OSError) as error:
        print(f"repeat: {error or 'interrupted'}; {report(seen)}", file=sys.stderr)
        return USAGE
    print(report(seen))
    return CHANGED if changed(seen) or not seen else 0


def run(out: Path, arguments: Sequence[str]) -> Path:
    """Run the claims once in one process; return the journal. OSError if there is none."""
    command = [sys.executable, "-m", "pytest", "kvmtests", "-q", f"--report-dir={out.resolve()}", *arguments]
    subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.DEVNULL)
    journal = out / "journal.jsonl"
    journal.stat()
    return journal


def count(journal: Path, seen: Verdicts) -> None:
    """Add the verdicts of *journal* to *seen*."""
    for result in read_journal.read([journal]).results:
        seen[result.target, result.nodeid][result.verdict] += 1


def changed(seen: Verdicts) -> Mapping[tuple[str, str], Counter[Verdict]]:
    """Return the tests that did not get the same verdict in every run, one that was missing included."""
    runs = max((verdicts.total() for verdicts in seen.values()), default=0)
    return {test: verdicts for test, verdicts in seen.items() if max(verdicts.values()) < runs}


def report(seen: Verdicts) -> str:
    """Return a summary, with one line for each test whose verdict changed."""
    runs = max((verdicts.total() for verdicts in seen.values()), default=0)
    lines = [f"{runs} runs of {len(seen)} tests: {len(changed(seen))} changed their verdict"]
    for (target, nodeid), verdicts in sorted(changed(seen).items()):
        counts = ", ".join(f"{verdict} {times}" for verdict, times in sorted(verdicts.items()))
        lines.append(f"{target} {nodeid}: {counts}")
    return "\n".join(lines)


@contextlib.contextmanager
def company() -> Iterator[None]:
    """Keep the last core busy during the body."""
    core = max(os.sched_getaffinity(0))
    process = subprocess.Popen([sys.executable, "-c", SPIN, str(core)])
    try:
        yield
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
