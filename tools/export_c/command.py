# SPDX-License-Identifier: GPL-2.0-only
"""The command: which cases, on which target, into which files."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from fixtures.architectures import why_without
from fixtures.lab.hosts import LabHost, find
from fixtures.plain_text import plain
from fixtures.targets import INSIDE, named_target
from tools.export_c import libkvm_writer, writer
from tools.export_c.claim import Claim, ExportOutcome
from tools.export_c.recording import record
from tools.export_c.refusal import NotExportable

_ABSENT = 1


def main(argv: Sequence[str]) -> int:
    """Write the programs that *argv* names; return 0, or 1 where a case has no program."""
    arguments = _parser().parse_args(argv)
    lab_host = find(arguments.target) if INSIDE not in os.environ else None
    try:
        _check_architecture(arguments.target)
        if lab_host is not None:
            return _export_in_lab(lab_host, arguments)
        outcomes = record(arguments.nodeid, arguments.target)
        if arguments.into is None and len(outcomes) > 1:
            raise NotExportable(_several(len(outcomes)))
    except NotExportable as reason:
        print(f"export_c: {reason}", file=sys.stderr)
        return _ABSENT
    write = (libkvm_writer if arguments.libkvm else writer).write
    written = [_write(outcome, arguments.into, write) for outcome in outcomes]
    return 0 if all(written) else _ABSENT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tools.export_c",
        description="Run a claim once and write it as one C program for /dev/kvm.",
        epilog="The program prints one TAP line and ends with 0 (it holds), 1 (it does not) or 4 (skipped).",
    )
    parser.add_argument("nodeid", nargs="+", help="a case, as pytest and the reports name it")
    parser.add_argument(
        "--target",
        required=True,
        help="where the claim runs once to be recorded; a lab host is booted for it",
    )
    parser.add_argument(
        "--libkvm", action="store_true", help="write a file for the kernel's tools/testing/selftests/kvm"
    )
    parser.add_argument("--into", type=Path, metavar="FOLDER", help="write one file for each case there")
    return parser


def _check_architecture(name: str) -> None:
    target = named_target(name)
    if target is not None and (why := why_without(target.arch, "export_c")):
        raise NotExportable(why)


def _export_in_lab(lab_host: LabHost, arguments: argparse.Namespace) -> int:
    """Have the claims recorded inside *lab_host*, and write what comes out; return the exit status."""
    from tools.export_c import in_lab

    options = ["--libkvm"] if arguments.libkvm else []
    found = in_lab.export(lab_host, [*arguments.nodeid, "--target", lab_host.name, *options])
    sys.stderr.write(plain(found.said))
    if arguments.into is None and len(found.programs) > 1:
        raise NotExportable(_several(len(found.programs)))
    for name, text in found.programs.items():
        _keep(text, arguments.into, Path(name).name)
    return found.status


def _several(cases: int) -> str:
    return f"{cases} cases match; name one of them, or a folder with --into"


def _write(outcome: ExportOutcome, folder: Path | None, write: Callable[[Claim], str]) -> bool:
    """Write the program of one case; return whether there is one."""
    try:
        if outcome.claim is None:
            raise NotExportable(outcome.reason)
        text = _in_ascii(write(outcome.claim))
    except NotExportable as reason:
        print(f"export_c: {outcome.nodeid} has no program: {reason}", file=sys.stderr)
        return False
    _keep(text, folder, f"{file_name(outcome.claim.case)}.c")
    return True


def _in_ascii(text: str) -> str:
    """Return *text*, which has a claim's source in comments, with ASCII alone: µs becomes us."""
    return text.replace("µ", "u").encode("ascii", "replace").decode("ascii")


def _keep(text: str, folder: Path | None, name: str) -> None:
    if folder is None:
        print(text, end="", flush=True)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="ascii")


def file_name(case: str) -> str:
    """Return the name of the file of *case*: its words with dashes between them."""
    return re.sub(r"[^\w.]+", "-", case.removeprefix("kvmtests/").replace(".py::", "-")).strip("-")
