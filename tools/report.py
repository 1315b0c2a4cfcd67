# SPDX-License-Identifier: GPL-2.0-only
"""Make one set of reports from journals of any hosts: make report FROM="a.jsonl b.jsonl" O=folder."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from reports import compare, summary
from reports.files import ReportError, write_reports
from reports.lock import Held, Lock
from tools import journals
from tools.arguments import Parser
from tools.journals import NotAJournal

USAGE = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Write the reports of the journals named in *argv*; return 0, or 2 with one sentence."""
    parser = Parser(prog="report", description=__doc__)
    parser.add_argument("journals", nargs="+", type=Path, metavar="JOURNAL", help="a session's journal.jsonl")
    parser.add_argument("--out", type=Path, default=Path("out"), metavar="DIR", help="where reports go")
    parser.add_argument("--baseline", type=Path, metavar="JOURNAL", help="say what changed since this one")
    options = parser.parse_args(argv)
    comparison = None
    try:
        run = journals.read(options.journals)
        if options.baseline is not None:
            comparison = compare.compare(journals.read([options.baseline]), run)
        with Lock(options.out):
            written = write_reports(run, options.out, comparison)
    except (OSError, ReportError, Held, NotAJournal) as error:
        print(f"report: {_sentence(error)}", file=sys.stderr)
        return USAGE
    for line in [*summary.benchmarks(run), *summary.lines(run)]:
        print(line)
    if comparison is not None:
        for line in compare.lines(comparison):
            print(line)
    print(f"reports in {options.out}/: {summary.places(written, options.out)}")
    return 0


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"cannot read the journal {error.filename}: {error.strerror}"
    return str(error)


if __name__ == "__main__":
    sys.exit(main())
