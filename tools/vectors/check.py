# SPDX-License-Identifier: GPL-2.0-only
"""Write vectors.json, and have each answer computed again in C and in Rust (`make vectors-check`).

Exit status: 0 everything agrees, 1 a checker disagrees, 2 usage, or a checker could not be built.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from reports.whole_file import ReportError, write_file
from tools.arguments import USAGE, Parser, number_from
from tools.interruption import started
from tools.vectors import document

CHECKERS = Path(__file__).resolve().parents[2] / "contrib/vectors"
BUILD = "build"
"""The folder of the programs in `CHECKERS`: its name is ours, so contrib's recipes may show it to a shell."""

PROGRAMS = {"C": "check-c", "Rust": "check-rust"}
DISAGREES = 1


class NotBuilt(Exception):
    """The checkers could not be built; the text is one sentence without a full stop."""


def main(argv: Sequence[str]) -> int:
    """Write the file into the folder that *argv* names and run both checkers on it; return the status."""
    parser = Parser(prog="vectors-check", description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="out", metavar="DIR", help="where vectors.json goes (default: out)")
    parser.add_argument(
        "--drawn",
        type=number_from(0),
        default=document.DRAWN,
        metavar="N",
        help=f"vectors drawn for each method (default: {document.DRAWN})",
    )
    arguments = parser.parse_args(argv)
    try:
        pieces = (f"{line}\n" for line in document.lines(drawn=arguments.drawn))
        vectors = write_file(Path(arguments.out) / "vectors.json", pieces)
        build(os.environ)
        return run(vectors.resolve())
    except (NotBuilt, ReportError) as error:
        sys.stderr.write(f"vectors-check: {str(error).rstrip('.')}.\n")
        return USAGE


def build(environment: Mapping[str, str]) -> None:
    """Build the checkers, the one in Rust only if there is a rustc; `NotBuilt` if that fails.

    The command line of the make that started us does not reach this one, except through the
    environment, where CC and CFLAGS are looked for.
    """
    inherited = {name: text for name, text in environment.items() if not name.startswith(("MAKE", "MFLAGS"))}
    command = ["make", "-s", "-j2", "--output-sync", f"BUILD={BUILD}", "all"]
    failed = "the checkers of contrib/vectors cannot be built"
    try:
        done = subprocess.run(
            command, cwd=CHECKERS, env=inherited, capture_output=True, text=True, check=False, timeout=600
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotBuilt(f"{failed}: {error}") from error
    if done.returncode:
        raise NotBuilt(f"{failed}:\n{done.stdout}{done.stderr}".rstrip())


def run(vectors: Path) -> int:
    """Run each checker that was built on the file *vectors*; return 0, or 1 if one disagrees."""
    status = 0
    for language, program in PROGRAMS.items():
        checker = CHECKERS / BUILD / program
        if not checker.exists():
            print(f"{language}: skipped, its compiler is not installed", flush=True)
            continue
        print(f"{language}:", flush=True)
        if subprocess.run([checker, vectors], check=False).returncode:
            status = DISAGREES
    return status


if __name__ == "__main__":
    sys.exit(started(main))
