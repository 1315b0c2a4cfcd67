# SPDX-License-Identifier: GPL-2.0-only
"""Run the suite on the chosen targets and write the reports (`make check`).

Exit status: 0 all well (skips and expected failures included), 1 something failed, 2 usage, which
includes a choice that no test matches, 4 tests match and none could run.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tools import streams
from tools.arguments import USAGE, Parser, Unusable, chosen, claims, jobs, named, paths
from tools.workers import WorkersOfClaims

ROOT = Path(__file__).resolve().parent.parent
NOTHING_RAN = 4


PLUGINS = ("xdist", "pytest_timeout")

ONE_PROCESS = "one process: starting others takes longer than a few claims do (JOBS=2 starts two)"

FEW_TARGETS = 2
"""Up to so many, the claims take a second or two a target, and starting another process as long."""


class SessionEnding:
    """Notes whether a session ended with status 4 because nothing ran.

    pytest itself uses 4 for wrong usage; the reporter sets it if every test was skipped. Only the
    second passes through `pytest_sessionfinish`.
    """

    def __init__(self) -> None:
        self.nothing_ran = False

    def pytest_report_header(self, config: pytest.Config) -> str | None:
        """Say that there are no worker processes, and why."""
        return ONE_PROCESS if config.getoption("numprocesses") == 0 else None

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int | pytest.ExitCode) -> None:
        """See whether the reporter changed the status to "nothing ran"."""
        self.nothing_ran = int(session.exitstatus) == NOTHING_RAN and int(exitstatus) != NOTHING_RAN


def main(argv: Sequence[str]) -> int:
    """Run pytest on kvmtests/ as *argv* says; return the exit status."""
    arguments = parse(argv)
    os.chdir(ROOT)
    try:
        words = pytest_arguments(arguments)
    except Unusable as error:
        sys.stderr.write(f"check: {error}.\n")
        return USAGE
    return run(words, WorkersOfClaims())


def pytest_arguments(arguments: argparse.Namespace) -> list[str]:
    """Return pytest's command line; `Unusable` for a file that is not there."""
    where = paths(arguments.pytest_arguments, ROOT)
    if arguments.jobs == "auto" and is_short(arguments, where):
        arguments.jobs = "0"
    words = claims(arguments, where)
    if not named(arguments, where):
        words.append("--benchmark-glance")
    for name in arguments.target:
        words += ["--target", name]
    return [*words, *arguments.pytest_arguments]


def is_short(arguments: argparse.Namespace, where: Sequence[str]) -> bool:
    """Return whether the run that *arguments* choose takes less time than starting worker processes."""
    if not where:
        named_claims = [word for word in arguments.pytest_arguments if word.startswith("kvmtests/")]
        return all("::" in word for word in named_claims)
    names = " ".join(arguments.target).replace(",", " ").split()
    return 0 < len(names) <= FEW_TARGETS and not arguments.all


def run(arguments: Sequence[str], *plugins: object) -> int:
    """Run pytest with *arguments* and *plugins*; return this command's exit status."""
    for name in PLUGINS:
        if importlib.util.find_spec(name) is None:  # As with the system's pytest; see tools/outside.py.
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    streams.hold()
    ending = SessionEnding()
    code = int(pytest.main(list(arguments), plugins=[ending, *plugins]))
    if code == pytest.ExitCode.NO_TESTS_COLLECTED:
        sys.stdout.flush()
        sys.stderr.write(f"no test matches {chosen(arguments)}.\n")
        return USAGE
    if ending.nothing_ran:
        return NOTHING_RAN
    return USAGE if code == pytest.ExitCode.USAGE_ERROR else code


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return the options in *argv*; ends the process with status 2 for a wrong one."""
    parser = Parser(prog="check", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--target", action="append", default=[], metavar="NAME", help="only this target (repeatable)"
    )
    parser.add_argument(
        "--all", action="store_true", help="also the claims marked thorough, on every simulated host"
    )
    parser.add_argument("--out", default="out", metavar="DIR", help="where reports go (default: out)")
    parser.add_argument(
        "--jobs",
        type=jobs,
        default="auto",
        metavar="N",
        help="worker processes (default: one per core, one more where claims sleep, none for a short run)",
    )
    parser.add_argument(
        "-k", dest="keyword", metavar="EXPRESSION", help="only tests that match, as pytest -k"
    )
    parser.add_argument(
        "pytest_arguments", nargs="*", metavar="-- ARGUMENTS", help="further pytest arguments"
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
