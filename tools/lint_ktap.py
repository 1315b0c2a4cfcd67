# SPDX-License-Identifier: GPL-2.0-only
"""Report what each kernel CI would read from a KTAP file: verdict flips, lost names, numbering.

Exit status: 0 every reader agrees, 1 something was found, 2 the file cannot be read.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tools import ktap_readers
from tools.arguments import Parser
from tools.interruption import started
from tools.ktap_readers import READERS, ResultLine

USAGE = 2

_VERSION = re.compile(r"(K?TAP) version (\d+)\s*\Z")
_PLAN = re.compile(r"1\.\.(\d{1,9})\b")
_COUNTS = " ".join(
    rf"{verdict}:(\d{{1,9}})" for verdict in ("pass", "fail", "xfail", "xpass", "skip", "error")
)
_TOTALS = re.compile(rf"# Totals: {_COUNTS}\Z")


@dataclass(frozen=True, slots=True)
class Finding:
    """One way in which a reader takes a line that was probably not meant."""

    line: int
    reader: str
    text: str


@dataclass(slots=True)
class Lint:
    """The findings and counts of one file, line by line."""

    findings: list[Finding] = field(default_factory=list)
    counts: dict[str, Counter[str]] = field(default_factory=lambda: {reader: Counter() for reader in READERS})
    results: int = 0
    indented: int = 0
    documents: int = 0
    planned: int | None = None
    names: dict[str, int] = field(default_factory=dict)
    published: dict[str, int] = field(default_factory=dict)
    last: str = ""

    def say(self, line: int, reader: str, text: str) -> None:
        """Add a finding."""
        self.findings.append(Finding(line, reader, text))

    def take(self, number: int, line: str) -> None:
        """Add the findings of one line."""
        self.last = line or self.last
        for pattern, reader, text in ktap_readers.TRIGGERS:
            # A nested document's own "# Subtest:" is indented, and meant.
            if line.lstrip().startswith("#") and pattern.search(line):
                self.say(number, reader, text)
        if line.startswith(" "):
            self.indented += ktap_readers.parse(line.strip()) is not None
        elif version := _VERSION.match(line):
            self._version(number, version[1], version[2])
        elif plan := _PLAN.match(line):
            self._plan(number, int(plan[1]))
        elif (result := ktap_readers.parse(line)) is not None:
            self._result(number, result)

    def end(self, text: str) -> None:
        """Add the findings that concern the file as a whole."""
        count = text.count("\n") + 1
        if not self.documents:
            self.say(1, "KUnit", "no version line: nothing is found at all")
        if self.planned is None:
            self.say(count, "prove", "no plan: the file fails")
        elif self.planned != self.results:
            more = self.results > self.planned
            what = "results beyond the plan are dropped" if more else "missing results count as crashed"
            self.say(count, "KUnit", f"{self.planned} planned, {self.results} results: {what}")
            self.say(count, "prove, tap-parser", f"{self.planned} planned, {self.results} results: failure")
        if self.indented:
            self.say(1, "all but KUnit", f"{self.indented} indented results are dropped")
        if text and not text.endswith("\n"):
            self.say(count, "kselftest", "no newline at the end: the runner's own line joins a comment")
        self._totals(count)

    def _version(self, number: int, kind: str, version: str) -> None:
        self.documents += 1
        if self.documents > 1:
            self.say(number, "KUnit", "a second document in one file is ignored")
            self.say(number, "prove", "a second version line fails the file")
        if (kind, version) == ("TAP", "14"):
            self.say(number, "prove", "TAP version 14 is rejected")
        if kind == "KTAP":
            self.say(number, "netdev", "under the runner no result is found after a KTAP version line")

    def _plan(self, number: int, planned: int) -> None:
        if self.planned is not None:
            self.say(number, "prove", "a second plan fails the file")
        if self.results:
            self.say(number, "KUnit", "a plan after results: the parser of 6.12 never ends")
        if planned == 0:
            self.say(number, "KUnit", "no test ran: the exit status is 1")
        self.planned = planned

    def _result(self, number: int, result: ResultLine) -> None:
        self.results += 1
        if result.number is None:
            self.say(number, "KUnit", "a result without a number is not seen")
        elif result.number != self.results:
            self.say(
                number, "prove, tap-parser", f"number {result.number} where {self.results} is due: failure"
            )
        verdicts = {reader: judge(result) for reader, judge in ktap_readers.VERDICTS.items()}
        for reader, verdict in verdicts.items():
            self.counts[reader][verdict] += 1
        if len(set(verdicts.values())) > 1:
            verdict_of_each = ", ".join(f"{reader} {verdict}" for reader, verdict in verdicts.items())
            self.say(number, "verdict flips", verdict_of_each)
        for reader, text in (*ktap_readers.about_name(result.name), *ktap_readers.about_directive(result)):
            self.say(number, reader, text)
        self._collisions(number, result)

    def _collisions(self, number: int, result: ResultLine) -> None:
        published = ktap_readers.lkft_name(result)
        if result.name in self.names:
            self.say(number, "GitLab", f"same name as line {self.names[result.name]}: only the first is kept")
        elif published in self.published:
            where = self.published[published]
            self.say(number, "LKFT", f"published under the name of line {where}: {published}")
        self.names.setdefault(result.name, number)
        self.published.setdefault(published, number)

    def _totals(self, line: int) -> None:
        totals = _TOTALS.match(self.last)
        if totals is None:
            self.say(line, "netdev", "the last line is not a Totals line: one sign of a pass is missing")
        elif not self.indented and sum(map(int, totals.groups())) != self.results:
            self.say(line, "people", f"the Totals line does not count {self.results} results")


def lint(text: str) -> Lint:
    """Return the findings and counts of *text*."""
    found = Lint()
    for number, line in enumerate(text.split("\n"), 1):
        found.take(number, line)
    found.end(text)
    return found


def lines(name: str, found: Lint) -> Iterator[str]:
    """Yield the findings for people, then what each reader counts."""
    for finding in sorted(found.findings, key=lambda finding: finding.line):
        yield f"{name}:{finding.line}: {finding.reader}: {finding.text}"
    for reader in READERS:
        counted = ", ".join(f"{number} {verdict}" for verdict, number in sorted(found.counts[reader].items()))
        yield f"{name}: {reader} counts {counted or 'nothing'}"


def main(argv: Sequence[str] | None = None) -> int:
    """Lint the files named in *argv*; return the exit status."""
    parser = Parser(prog="lint_ktap", description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a KTAP or TAP file")
    status = 0
    for path in parser.parse_args(argv).files:
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            print(f"lint_ktap: cannot read {path}: {error.strerror}", file=sys.stderr)
            return USAGE
        found = lint(text)
        for line in lines(str(path), found):
            print(line)
        status = max(status, int(bool(found.findings)))
    return status


if __name__ == "__main__":
    sys.exit(started(main))
