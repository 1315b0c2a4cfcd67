# SPDX-License-Identifier: GPL-2.0-only
"""Run the benchmarks on the chosen targets, print their tables, write the reports (`make bench`).

Exit status: 0 all well, 1 a counter went back or a guest failed, 2 usage, 4 nothing could run.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.arguments import USAGE, Parser, Unusable, number_from, paths
from tools.check import ROOT, run


def main(argv: Sequence[str]) -> int:
    """Run pytest on the benchmarks that *argv* chooses; return the exit status."""
    arguments = _parse(argv)
    here = Path.cwd()
    os.chdir(ROOT)
    try:
        words = pytest_arguments(arguments, here)
    except Unusable as error:
        sys.stderr.write(f"bench: {error}.\n")
        return USAGE
    return run(words)


def pytest_arguments(arguments: argparse.Namespace, here: Path) -> list[str]:
    """Return pytest's command line; relative folders start at *here*. `Unusable` for a missing file."""
    where = paths(arguments.pytest_arguments, ROOT)
    words = [*where, "--benchmark", "--report-dir", str(here / arguments.out)]
    words += ["--benchmark-iterations", str(arguments.iterations)]
    if arguments.csv:
        words += ["--benchmark-csv", str(here / arguments.csv)]
    if arguments.single_exits:
        words.append("--benchmark-single-exits")
    for name in arguments.target:
        words += ["--target", name]
    if arguments.keyword:
        words += ["-k", arguments.keyword]
    return [*words, *arguments.pytest_arguments]


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser(prog="bench", description=__doc__.splitlines()[0])
    parser.add_argument(
        "-n", dest="iterations", type=number_from(2), default=10_000, metavar="N",
        help="samples of each benchmark (default: 10000)",
    )  # fmt: skip
    parser.add_argument(
        "-o", dest="csv", metavar="FOLDER",
        help="write every sample into CSV files there (reports keep 10000 of each metric)",
    )  # fmt: skip
    parser.add_argument(
        "--single-exits", action="store_true", help="leave the guest after each sample, for comparison"
    )
    parser.add_argument(
        "--target", action="append", default=[], metavar="NAME", help="only this target (repeatable)"
    )
    parser.add_argument("--out", default="out", metavar="DIR", help="where reports go (default: out)")
    parser.add_argument(
        "-k", dest="keyword", metavar="EXPRESSION", help="only tests that match, as pytest -k"
    )
    parser.add_argument(
        "pytest_arguments", nargs="*", metavar="-- ARGUMENTS", help="further pytest arguments"
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
