# SPDX-License-Identifier: GPL-2.0-only
"""The lab's kernel matrix as a page: kernel by mode by subject, from the journals of its runs.

`make lab LAB=--matrix` writes it next to the reports, as lab-matrix.md; docs/lab-matrix.md is one of these.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from tabulate import tabulate

from reports import read_journal
from reports.model import ReportTarget, Result, ResultEnding, Run, Verdict, by_target, counts
from tools.arguments import Parser
from tools.interruption import started

FILE = "lab-matrix.md"
EMULATORS = {"qemu": "QEMU", "bochs": "Bochs"}  # by the fact that has their version
NOTHING = 4
LETTERS = {
    Verdict.XFAIL: "k",
    Verdict.SKIP: "s",
    Verdict.FAIL: "FAIL",
    Verdict.CHANGED: "changed",
    Verdict.XPASS: "XPASS",
    Verdict.ERROR: "ERROR",
    Verdict.TIMEOUT: "TIMEOUT",
}
_FOLDER = re.compile(r"\w+://(?:\S*/|\S+)")  # on a mirror, which need not be the reader's
HEAD = """# Kernels in the lab

Written by `make lab LAB=--matrix` (`tools/lab_matrix.py`) from the journals of runs.

A cell counts the claims of a subject: those that hold, then `k` known issues, `s` skipped for an
interface that the kernel does not have; failures, and what a stopped run left out, are spelled
out. An empty cell: no claim of the subject concerns that kernel's mode.
"""


def main(argv: Sequence[str]) -> int:
    """Print the page for the journals that *argv* names; 4 if no lab host was judged in them."""
    return print_page("lab_matrix", __doc__ or "", page, argv)


def print_page(name: str, doc: str, make: Callable[[Run], str], argv: Sequence[str]) -> int:
    """Print what *make* makes of the journals in *argv*; return the status of the command *name*."""
    parser = Parser(prog=f"tools.{name}", description=doc.splitlines()[0])
    parser.add_argument("journals", nargs="+", type=Path, metavar="JOURNAL")
    run = read_journal.read(parser.parse_args(argv).journals)
    if not judged(run):
        sys.stderr.write(f"{name}: no lab host was judged in these journals.\n")
        return NOTHING
    print(make(run), end="")
    return 0


def page(run: Run, missing: Mapping[str, str] | None = None) -> str:
    """Return the page, in Markdown: what booted, a table for each architecture, the known issues met.

    *missing* has a sentence for each lab host that was not fetched: why not. Of an address in it the page
    has the file's name, such as a package's.
    """
    lab_hosts = judged(run)
    parts = [HEAD, _booted(lab_hosts, missing or {})]
    for arch in dict.fromkeys(target.arch for target, _ in lab_hosts):
        here = [(target, results) for target, results in lab_hosts if target.arch == arch]
        parts += [f"## {arch}\n", by_subject(here)]
    parts += ["## Known issues met\n", _issues(lab_hosts)]
    return "\n".join(parts)


def judged(run: Run) -> list[tuple[ReportTarget, list[Result]]]:
    """Return the lab hosts of *run* that have results, with them, by architecture and name."""
    found = [(target, results) for target, results in by_target(run) if target.kind == "lab" and results]
    return sorted(found, key=lambda each: (each[0].arch, each[0].name.partition("@")[0]))


def _booted(lab_hosts: Iterable[tuple[ReportTarget, list[Result]]], missing: Mapping[str, str]) -> str:
    heads = ["lab host", "kernel", "mode that came", "emulator", "claims", "seconds"]
    rows = []
    for target, results in lab_hosts:
        facts = dict(target.facts)
        seconds = sum(result.duration_ns for result in results) / 1e9
        came = [facts.get("kernel", "did not boot"), target.mode or "-", _emulator(facts)]
        rows.append([target.name, *came, cell(results), f"{seconds:.0f}"])
    rows += [[name, "not fetched", "-", "", f"{_FOLDER.sub('', why)}.", ""] for name, why in missing.items()]
    return table(rows, heads)


def _emulator(facts: Mapping[str, object]) -> str:
    return next((f"{name} {facts[key]}" for key, name in EMULATORS.items() if facts.get(key)), "")


def by_subject(lab_hosts: Sequence[tuple[ReportTarget, list[Result]]]) -> str:
    """Return the table of a row for each subject and a column for each of *lab_hosts*."""
    subjects = sorted({result.subject for _, results in lab_hosts for result in results})
    rows = [
        [subject, *(cell([one for one in results if one.subject == subject]) for _, results in lab_hosts)]
        for subject in subjects
    ]
    return table(rows, ["subject", *(_column(target) for target, _ in lab_hosts)])


def _column(target: ReportTarget) -> str:
    lab_host, _, series = target.name.partition("@")
    return f"{lab_host.removeprefix(f'lab-{target.arch}-')} {series}".strip()


def cell(results: Iterable[Result]) -> str:
    """Return how many of *results* hold, and the counts of all other verdicts in short words."""
    results = list(results)
    ran = [one for one in results if one.ending is not ResultEnding.NOT_RUN]
    counted = counts(ran)
    words = [str(counted[Verdict.PASS])] if counted.get(Verdict.PASS) else []
    words += [f"{counted[verdict]} {word}" for verdict, word in LETTERS.items() if counted.get(verdict)]
    if len(ran) < len(results):
        words.append(f"{len(results) - len(ran)} not run")
    return ", ".join(words)


def _issues(lab_hosts: Iterable[tuple[ReportTarget, list[Result]]]) -> str:
    met: dict[str, dict[str, None]] = {}
    for target, results in lab_hosts:
        for result in results:
            if result.known_issue:
                met.setdefault(result.known_issue, {})[target.name] = None
    return table([[name, ", ".join(where)] for name, where in sorted(met.items())], ["known issue", "on"])


def table(rows: Sequence[Sequence[object]], heads: Sequence[str]) -> str:
    """Return *rows* under *heads* as a table in Markdown."""
    return tabulate(rows, headers=heads, tablefmt="github", disable_numparse=True) + "\n"


if __name__ == "__main__":
    sys.exit(started(main))
