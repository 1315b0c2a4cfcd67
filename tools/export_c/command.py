# SPDX-License-Identifier: GPL-2.0-only
"""The command: which cases, on which target, into which files."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.export_c.claim import ExportOutcome, record
from tools.export_c.refusal import NotExportable
from tools.export_c.writer import write

_ABSENT = 1


def main(argv: Sequence[str]) -> int:
    """Write the programs that *argv* names; return 0, or 1 where a case has no program."""
    arguments = _parser().parse_args(argv)
    try:
        outcomes = record(arguments.nodeid, arguments.target)
        if arguments.into is None and len(outcomes) > 1:
            raise NotExportable(f"{len(outcomes)} cases match; name one of them, or a folder with --into")
    except NotExportable as reason:
        print(f"export_c: {reason}", file=sys.stderr)
        return _ABSENT
    written = [_write(outcome, arguments.into) for outcome in outcomes]
    return 0 if all(written) else _ABSENT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tools.export_c",
        description="Run a claim once and write it as one C program for /dev/kvm.",
        epilog="The program prints one TAP line and ends with 0 (it holds), 1 (it does not) or 4 (skipped).",
    )
    parser.add_argument("nodeid", nargs="+", help="a case, as pytest and the reports name it")
    parser.add_argument("--target", required=True, help="where the claim runs once to be recorded")
    parser.add_argument("--into", type=Path, metavar="FOLDER", help="write one file for each case there")
    return parser


def _write(outcome: ExportOutcome, folder: Path | None) -> bool:
    """Write the program of one case; return whether there is one."""
    try:
        if outcome.claim is None:
            raise NotExportable(outcome.reason)
        text = write(outcome.claim)
    except NotExportable as reason:
        print(f"export_c: {outcome.nodeid} has no program: {reason}", file=sys.stderr)
        return False
    if folder is None:
        print(text, end="", flush=True)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{file_name(outcome.claim.case)}.c").write_text(text, encoding="ascii")
    return True


def file_name(case: str) -> str:
    """Return the name of the file of *case*: its words with dashes between them."""
    return re.sub(r"[^\w.]+", "-", case.removeprefix("kvmtests/").replace(".py::", "-")).strip("-")
