# SPDX-License-Identifier: GPL-2.0-only
"""Run the kernel's own selftests and our claims on this host's KVM, and compare the verdicts.

``.venv/bin/python -m tools.upstream linux-source`` builds the programs about clocks and counters out of a
kernel tree, runs each, runs the claims that assert the same, and prints both verdicts. Exit
status 0 if they agree, 1 if not, 2 with one sentence for a tree or compiler that is missing.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import tabulate

from fixtures.architectures import name_of_this_computer
from reports import read_journal
from reports.model import Result, Verdict
from tools.upstream_programs import BY_ARCHITECTURE, Selftest

ROOT = Path(__file__).resolve().parent.parent
SELFTESTS = Path("tools", "testing", "selftests", "kvm")
LIMIT_S = 600
"""Longest run of one program; the kernel's own runner gives them 120 s on an idle host."""

PASS, FAIL, SKIP, ERROR, ABSENT = "pass", "fail", "skip", "error", "-"


class TreeError(Exception):
    """The programs cannot be built from the tree; the text is one sentence for the user."""


@dataclass(frozen=True, slots=True)
class ComparedTest:
    """One row of the table: a program, its verdict, and our claims' verdict."""

    program: Selftest
    theirs: str
    said: str  # the program's last words
    ours: str

    @property
    def agreement(self) -> str:
        """Return "yes", "NO", or "-" if one of them has no verdict."""
        if {self.theirs, self.ours} & {ERROR, ABSENT}:
            return "-"
        return "yes" if self.theirs == self.ours else "NO"


def main(argv: Sequence[str] | None = None) -> int:
    """Build, run and compare; return the exit status."""
    parser = argparse.ArgumentParser(prog="upstream", description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="a kernel tree, such as Debian's linux-source unpacked")
    parser.add_argument(
        "--out", type=Path, default=Path("out/upstream"), metavar="DIR", help="programs and logs"
    )
    options = parser.parse_args(argv)
    out = options.out.resolve()
    programs = BY_ARCHITECTURE.get(name_of_this_computer())
    if programs is None:
        print(f"upstream: no selftest is compared on {name_of_this_computer()}", file=sys.stderr)
        return 2
    try:
        built = build(options.source.resolve(), out, programs)
    except TreeError as error:
        print(f"upstream: {error}", file=sys.stderr)
        return 2
    results = claims(out, programs)
    lines = [_line(program, built.get(program.name), results, out) for program in programs]
    print(table(lines))
    return 0 if all(line.agreement != "NO" for line in lines) else 1


def build(source: Path, out: Path, programs: Sequence[Selftest]) -> dict[str, Path]:
    """Build what the tree at *source* has of *programs*; return their paths by name."""
    folder = source / SELFTESTS
    if not (folder / "Makefile").is_file():
        raise TreeError(f"{source} has no {SELFTESTS}; name a kernel tree")
    out.mkdir(parents=True, exist_ok=True)
    headers = out / "headers"
    _make(source, out, ["headers_install", f"INSTALL_HDR_PATH={headers}"])
    built = {}
    for program in programs:
        found = sorted(folder.glob(f"**/{program.name}.c"))
        if found:
            target = out / found[0].relative_to(folder).with_suffix("")
            _make(folder, out, [f"OUTPUT={out}", f"KHDR_INCLUDES=-isystem {headers}/include", str(target)])
            built[program.name] = target
    return built


def claims(out: Path, programs: Sequence[Selftest]) -> list[Result]:
    """Return the results on target host of all claims that a program is compared with."""
    report = out / "claims"
    modules = {claim.partition("::")[0] for program in programs for claim in program.claims}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--target",
        "host",
        f"--report-dir={report}",
        *sorted(modules),
    ]
    subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.DEVNULL)
    return list(read_journal.read([report / "journal.jsonl"]).results)


def verdict_of(results: Sequence[Result], wanted: Sequence[str]) -> str:
    """Return the verdict of the claims *wanted*, node ids without parameters, as of one program."""
    verdicts = {result.verdict for result in results if result.nodeid.partition("[")[0] in wanted}
    if verdicts & {Verdict.FAIL, Verdict.XFAIL, Verdict.XPASS, Verdict.TIMEOUT}:
        return FAIL
    if Verdict.ERROR in verdicts:
        return ERROR
    if Verdict.PASS in verdicts:
        return PASS
    return SKIP if verdicts else ABSENT


def judged(status: int, log: str) -> str:
    """Return the verdict of a program by its exit *status*: 0, 4 for a skip, anything else a failure.

    A guest that KVM could not emulate never reached its assertions: that is an error.
    """
    if status in (0, 4):
        return SKIP if status else PASS
    return ERROR if "INTERNAL_ERROR" in log else FAIL


def table(lines: Sequence[ComparedTest]) -> str:
    """Return the table of both verdicts, in Markdown."""
    rows = [(line.program.name, line.theirs, line.said, line.ours, line.agreement) for line in lines]
    heads = ("upstream program", "verdict", "says", "our claims", "agree")
    return tabulate.tabulate(rows, heads, tablefmt="github")


def _line(program: Selftest, path: Path | None, results: Sequence[Result], out: Path) -> ComparedTest:
    ours = verdict_of(results, program.claims)
    if path is None:
        return ComparedTest(program, ABSENT, "not in this tree", ours)
    log = (out / f"{program.name}.log").resolve()
    with log.open("wb") as output:
        try:
            command = [str(path)]
            status = subprocess.run(
                command,
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=LIMIT_S,
            ).returncode
        except subprocess.TimeoutExpired:
            return ComparedTest(program, ERROR, f"did not end within {LIMIT_S} s", ours)
    text = log.read_text(errors="replace")
    return ComparedTest(program, judged(status, text), next(_last_words(text), ""), ours)


def _last_words(text: str) -> Iterator[str]:
    """Yield lines that may say why a program ended so, the latest first."""
    for line in reversed(text.splitlines()):
        if line.strip() and not line.startswith(("# Totals", "Random seed")):
            yield line.strip().replace("|", "/")


def _make(folder: Path, out: Path, arguments: Sequence[str]) -> None:
    log = out / "make.log"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "O"))}
    with log.open("ab") as output:
        try:
            subprocess.run(
                ["make", "-s", "-C", str(folder), *arguments],
                check=True,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        except FileNotFoundError as error:
            raise TreeError("make is not installed") from error
        except subprocess.CalledProcessError as error:
            raise TreeError(f"building {arguments[-1]} failed; {log} says why") from error


if __name__ == "__main__":
    sys.exit(main())
