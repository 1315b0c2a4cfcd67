# SPDX-License-Identifier: GPL-2.0-only
"""Run the claims on every board of a rack, over SSH, into one journal and one report.

``.venv/bin/python -m tools.rack board-a board-b -- -k offset`` is pytest-xdist's ``--dist each`` with the
options that this suite needs; docs/rack.md says what the boards need.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.arguments import Parser
from tools.check import ROOT, run

NOT_SENT = ("out", "docs", "kselftest_install")
"""Folders of a checkout that no board needs; names that begin with a dot are not sent anyway."""


def main(argv: Sequence[str]) -> int:
    """Run pytest on the boards that *argv* names; return its exit status."""
    split = argv.index("--") if "--" in argv else len(argv)
    parser = Parser(prog="rack", description=__doc__.splitlines()[0])
    parser.add_argument(
        "hosts", nargs="+", metavar="HOST", help="a board, as ssh knows it; targets become TARGET@HOST"
    )
    parser.add_argument("--out", type=Path, default=Path("out"), help="where reports go")
    parser.add_argument("--ssh-config", type=Path, help="settings for ssh (default: your own)")
    parser.add_argument("--python", default="python3", help="the boards' Python, with requirements/check.txt")
    parser.add_argument("--folder", default="kvmtests-rack", help="where on the boards the suite goes")
    parser.add_argument("--target", action="append", default=[], help="what to test there (default: host)")
    options = parser.parse_args(argv[:split])
    for host in options.hosts:
        if any("//" in part for part in parts(host, options)):
            parser.error(f"// separates the parts of what execnet is given, and cannot be in one: {host}")
    return run([*pytest_arguments(options), *argv[split + 1 :]])


def pytest_arguments(options: argparse.Namespace) -> list[str]:
    """Return pytest's arguments for *options*."""
    words = ["--dist=each", f"--report-dir={options.out.resolve()}", f"--rsyncdir={ROOT}"]
    words += [f"--rsyncignore={name}" for name in NOT_SENT]
    # pytest-xdist 3 has the only means to send the suite, and announces that 4 will not; the
    # pinned version does.
    words += ["-W", "ignore:The --rsyncdir:DeprecationWarning", "-p", "no:cacheprovider"]
    for host in options.hosts:
        words += ["--tx", specification(host, options)]
    return [str(ROOT / "kvmtests"), *words]


def specification(host: str, options: argparse.Namespace) -> str:
    """Return execnet's specification of *host*; its id is the board's name in all reports."""
    return "//".join(parts(host, options))


def parts(host: str, options: argparse.Namespace) -> list[str]:
    """Return the parts of execnet's specification of *host*."""
    # There, not here: this host would refuse a target that it does not have itself. pytest
    # splits the variable as a shell would.
    targets = shlex.join(word for target in options.target or ["host"] for word in ("--target", target))
    found = [
        f"ssh={host}",
        f"id={host.rpartition('@')[2]}",
        f"python={options.python}",
        f"chdir={options.folder}",
        f"env:PYTEST_ADDOPTS={targets}",
    ]
    if options.ssh_config is not None:
        found.append(f"ssh_config={options.ssh_config.resolve()}")
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
