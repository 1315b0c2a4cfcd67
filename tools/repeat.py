# SPDX-License-Identifier: GPL-2.0-only
"""Run the claims many times, and count how often each fails (`make repeat`).

``.venv/bin/python -m tools.repeat -n 2000 --rounds 50 -- --target host`` runs the suite 2,000 times
on this host, 50 times in each process; ``--load 4`` adds four processes per processor that compute
all the time. Each process leaves a folder below ``--out``, and a command that continues there counts
them all. Exit status: 0 no verdict changed, 1 some did, 2 usage.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from reports.whole_file import ReportError, write_file
from tools import flakiness
from tools.arguments import Parser, number_from
from tools.flakiness import BadCounts, Seen

ROOT = Path(__file__).resolve().parent.parent
PAGE = "flakiness.md"
CHANGED, USAGE = 1, 2
SPIN = "import os, sys; os.sched_setaffinity(0, {int(sys.argv[1])})\nwhile True: pass"


class NothingCounted(Exception):
    """A process of pytest left no results; the text is a sentence without a full stop."""


def main(argv: Sequence[str]) -> int:
    """Run the claims as often as *argv* says; return the exit status."""
    options = _parse(argv)
    out: Path = options.out
    seen = Seen()
    try:
        seen = flakiness.read(out)
        with company(options.load):
            for number, rounds in enumerate(sessions(options.n, options.rounds), first_free(out)):
                folder = out / str(number)
                run(folder, rounds, options.rounds > 1, options.arguments)
                flakiness.add(folder, seen)
        if seen.verdicts:
            write_file(out / PAGE, [flakiness.page(seen, len(os.sched_getaffinity(0)))])
    except (KeyboardInterrupt, OSError, BadCounts, NothingCounted, ReportError) as error:
        why = str(error) or "interrupted by Ctrl-C"
        print(f"repeat: {why}; {flakiness.summary(seen)}", file=sys.stderr)
        return USAGE
    print(flakiness.summary(seen))
    return CHANGED if seen.changed() or not seen.verdicts else 0


def sessions(runs: int, rounds: int) -> list[int]:
    """Return how many rounds each process runs, so that there are *runs* in all."""
    whole, rest = divmod(runs, rounds)
    return [rounds] * whole + ([rest] if rest else [])


def first_free(out: Path) -> int:
    """Return the number after the highest that a folder in *out* has."""
    return max((int(path.name) for path in out.glob("*/") if path.name.isdecimal()), default=-1) + 1


def run(folder: Path, rounds: int, in_rounds: bool, arguments: Sequence[str]) -> None:
    """Run the claims in one process, *rounds* times *in_rounds* or once with reports, into *folder*.

    `NothingCounted` if it left no results.
    """
    folder = folder.resolve()
    words = [f"--report-dir={folder}"]
    if in_rounds:
        words = ["-p", "no:reports.plugin", "-p", "no:cacheprovider", "-p", "tools.rounds"]
        words += ["--rounds", str(rounds), "--rounds-file", str(folder / flakiness.ROUNDS)]
    folder.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "kvmtests",
        "-q",
        "-p",
        "no:hypothesispytest",
        *words,
        *arguments,
    ]
    log = folder / "output.txt"
    with log.open("wb") as output:
        subprocess.run(command, cwd=ROOT, check=False, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    wanted = folder / (flakiness.ROUNDS if in_rounds else flakiness.JOURNAL)
    if not wanted.exists():
        raise NothingCounted(f"pytest left no {wanted}; {log} says why")


@contextlib.contextmanager
def company(load: int) -> Iterator[None]:
    """Keep every processor busy with *load* processes during the body."""
    processes = [
        subprocess.Popen([sys.executable, "-c", SPIN, str(core)])
        for core in os.sched_getaffinity(0)
        for _ in range(load)
    ]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser(prog="repeat", description=__doc__.splitlines()[0])
    parser.add_argument(
        "-n",
        type=number_from(0),
        default=50,
        metavar="N",
        help="how often; 0 only counts (default: 50)",
    )
    parser.add_argument(
        "--rounds",
        type=number_from(1),
        default=1,
        metavar="N",
        help="so many in each process, without reports",
    )
    parser.add_argument(
        "--load",
        type=number_from(0),
        default=0,
        metavar="N",
        help="N busy processes per processor",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("out/repeat"), metavar="DIR", help="where reports go"
    )
    parser.add_argument("arguments", nargs="*", metavar="-- ARGUMENTS", help="pytest arguments")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
