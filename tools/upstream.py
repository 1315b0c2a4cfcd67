# SPDX-License-Identifier: GPL-2.0-only
"""Run the kernel's own selftests and our claims on this host's KVM, and compare the verdicts.

``.venv/bin/python -m tools.upstream linux-source`` builds the programs about clocks and counters out of a
kernel tree, runs each, runs the claims that assert the same, and prints both verdicts; with
``--target lab-x86_64-vmx`` inside that lab host. Exit status 0 if they agree, 1 if not, 2 with one
sentence for a tree, a compiler or a lab host that is missing, 4 if nothing could be compared.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import tabulate

from fixtures.architectures import name_of_this_computer, why_without
from fixtures.lab import availability
from fixtures.lab.errors import LabError
from fixtures.lab.hosts import LabHost, find
from reports import read_journal
from reports.model import Result, Verdict
from tools import upstream_lab
from tools.arguments import Parser
from tools.interruption import started
from tools.upstream_programs import BY_ARCHITECTURE, Outcome, Selftest

ROOT = Path(__file__).resolve().parent.parent
SELFTESTS = Path("tools", "testing", "selftests", "kvm")
LIMIT_S = 600
"""Longest run of one program; the kernel's own runner gives them 120 s on an idle host."""

NOTHING_RAN = 4
HOST = "host"
PASS, FAIL, SKIP, ERROR, ABSENT = "pass", "fail", "skip", "error", "-"


class TreeError(Exception):
    """The programs cannot be built for the target; the text is one sentence for the user."""


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
    parser = Parser(prog="upstream", description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="a kernel tree, such as Debian's linux-source unpacked")
    parser.add_argument(
        "--out", type=Path, default=Path("out/upstream"), metavar="DIR", help="programs and logs"
    )
    parser.add_argument("--target", default=HOST, metavar="NAME", help="host (default), or a lab host")
    parser.add_argument(
        "--program", action="append", default=[], metavar="NAME", help="only this one; may be repeated"
    )
    options = parser.parse_args(argv)
    out = options.out.resolve()
    try:
        programs = chosen(options.program)
        lab_host = _lab_host(options.target)
        built = build(options.source.resolve(), out, programs, static=lab_host is not None)
    except (TreeError, LabError) as error:
        print(f"upstream: {error}", file=sys.stderr)
        return 2
    if lab_host is None:
        outcomes = {name: _run_here(path) for name, path in built.items()}
    else:
        outcomes = upstream_lab.run(lab_host, built, out, LIMIT_S)
    results = claims(out, programs, options.target)
    lines = [_line(program, outcomes.get(program.name), results, out) for program in programs]
    print(table(lines))
    status = status_of(lines)
    if status == NOTHING_RAN:
        print(
            f"upstream: nothing was compared, since no program and its claims both ran to a verdict; "
            f"{out} has the logs",
            file=sys.stderr,
        )
    return status


def chosen(names: Sequence[str]) -> list[Selftest]:
    """Return the programs called *names*, all without any; `TreeError` for one that is not compared here."""
    arch = name_of_this_computer()
    programs = {program.name: program for program in BY_ARCHITECTURE.get(arch, ())}
    if not programs:
        raise TreeError(why_without(arch, "upstream_programs") or f"no selftest is compared on {arch}")
    for name in names:
        if name not in programs:
            raise TreeError(f"no claim is compared with {name} on {arch}, only with {', '.join(programs)}")
    return [program for name, program in programs.items() if not names or name in names]


def status_of(lines: Sequence[ComparedTest]) -> int:
    """Return the exit status: 1 if two verdicts differ, 4 unless a program passed or failed as ours did."""
    if any(line.agreement == "NO" for line in lines):
        return 1
    return 0 if any(line.agreement == "yes" and line.theirs != SKIP for line in lines) else NOTHING_RAN


def build(source: Path, out: Path, programs: Sequence[Selftest], *, static: bool = False) -> dict[str, Path]:
    """Build what the tree at *source* has of *programs*, linked statically or not; return paths by name."""
    folder = source / SELFTESTS
    if not (folder / "Makefile").is_file():
        raise TreeError(f"{source} has no {SELFTESTS}; name a kernel tree")
    out.mkdir(parents=True, exist_ok=True)
    headers = out / "headers"
    _make(source, out, [f"O={headers}", "headers"])  # headers_install copies these with rsync
    options = [f"OUTPUT={out}", f"KHDR_INCLUDES=-isystem {headers}/usr/include"]
    if static:
        options.append("LDLIBS=-ldl -static")  # in place of -ldl
    built = {}
    for program in programs:
        found = [path for name in program.names for path in sorted(folder.glob(f"**/{name}.c"))]
        if found:
            target = out / found[0].relative_to(folder).with_suffix("")
            _make(folder, out, [*options, str(target)])
            built[program.name] = target
    return built


def claims(out: Path, programs: Sequence[Selftest], target: str) -> list[Result]:
    """Return the results on *target* of all claims that a program is compared with."""
    report = out / "claims"
    compared = {claim for program in programs for claim in program.claims}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--target",
        target,
        f"--report-dir={report}",
        *sorted(compared),
    ]
    subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.DEVNULL)
    return list(read_journal.read([report / "journal.jsonl"]).results)


def verdict_of(results: Sequence[Result], wanted: Sequence[str]) -> str:
    """Return the verdict of the claims *wanted*, node ids without parameters, as of one program."""
    verdicts = {result.verdict for result in results if result.nodeid.partition("[")[0] in wanted}
    if verdicts & {Verdict.FAIL, Verdict.CHANGED, Verdict.XFAIL, Verdict.TIMEOUT}:
        return FAIL
    if Verdict.ERROR in verdicts:
        return ERROR
    if verdicts & {Verdict.PASS, Verdict.XPASS}:
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


def _line(program: Selftest, outcome: Outcome | None, results: Sequence[Result], out: Path) -> ComparedTest:
    ours = verdict_of(results, program.claims)
    if outcome is None:
        return ComparedTest(program, ABSENT, "not in this tree", ours)
    (out / f"{program.name}.log").write_text(outcome.log)
    theirs = ERROR if outcome.status is None else judged(outcome.status, outcome.log)
    return ComparedTest(program, theirs, next(_last_words(outcome.log), ""), ours)


def _run_here(path: Path) -> Outcome:
    with tempfile.TemporaryFile() as output:
        try:
            status = subprocess.run(
                [str(path)],
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=LIMIT_S,
            ).returncode
        except subprocess.TimeoutExpired:
            return Outcome(None, f"did not end within {LIMIT_S} s")
        output.seek(0)
        return Outcome(status, output.read().decode(errors="replace"))


def _lab_host(target: str) -> LabHost | None:
    """Return the lab host called *target*, ready to boot; None for this host."""
    if target == HOST:
        return None
    lab_host = find(target)
    if lab_host is None or lab_host.arch != name_of_this_computer():
        raise TreeError(f"{target} is neither {HOST} nor a lab host for which this compiler builds")
    availability.check(lab_host)
    return lab_host


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
    sys.exit(started(main))
