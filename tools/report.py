# SPDX-License-Identifier: GPL-2.0-only
"""Make one set of reports from journals of any hosts: make report FROM="a.jsonl b.jsonl" O=folder.

Exit status: 0, with --baseline 1 where something is worse or gone, 2 usage.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from reports import checkout, compare, compare_lines, history, matching, summary
from reports.compare import Comparison
from reports.files import write_reports
from reports.history import History
from reports.lock import Held, Lock
from reports.model import Run
from reports.whole_file import ReportError
from tools import journals
from tools.arguments import Parser
from tools.interruption import started
from tools.journals import NotAJournal

USAGE = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Write the reports of the journals named in *argv*; return the exit status."""
    options = _parse(argv)
    try:
        run = journals.read(options.journals)
        facts = checkout.read(options.checkout) if options.checkout else checkout.NOTHING_KNOWN
        comparison = _comparison(run, options)
        past = _history(options)
        with Lock(options.out):
            written = write_reports(run, options.out, comparison, past, facts)
    except (
        OSError,
        ReportError,
        Held,
        NotAJournal,
        matching.MapError,
        checkout.CheckoutError,
    ) as error:
        print(f"report: {_sentence(error)}", file=sys.stderr)
        return USAGE
    for line in [*summary.benchmarks(run), *summary.lines(run)]:
        print(line)
    if past is not None:
        for line in history.lines(past):
            print(line)
    if comparison is not None:
        for line in compare_lines.lines(comparison):
            print(line)
    print(f"reports in {options.out}/: {summary.places(written, options.out)}")
    return 0 if comparison is None else comparison.status(allow_gone=options.allow_gone)


def add_comparison_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a comparison with a baseline, which `tools.compare` has too."""
    parser.add_argument(
        "--map",
        action="append",
        default=[],
        metavar="OLD=NEW",
        help="compare the baseline's target OLD with the target NEW; repeat for more",
    )
    parser.add_argument(
        "--allow-gone",
        action="store_true",
        help="exit 0 although tests of the baseline are gone, skipped now, or did not run",
    )


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(prog="report", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("journals", nargs="+", type=Path, metavar="JOURNAL", help="a session's journal.jsonl")
    parser.add_argument("--out", type=Path, default=Path("out"), metavar="DIR", help="where reports go")
    parser.add_argument(
        "--baseline", type=Path, metavar="JOURNAL", help="report what changed since this one; exit 1 if worse"
    )
    parser.add_argument(
        "--history",
        action="append",
        default=[],
        type=Path,
        metavar="PATH",
        help="show what each claim did in these runs: a journal, or a folder of them; repeat for more",
    )
    parser.add_argument(
        "--checkout",
        type=Path,
        metavar="FILE",
        help="where the kernels come from, for kcidb.json (docs/ci.md)",
    )
    add_comparison_options(parser)
    options = parser.parse_args(argv)
    if options.baseline is None and (options.map or options.allow_gone):
        parser.error("--map and --allow-gone compare with a baseline; name it with --baseline JOURNAL")
    return options


def _comparison(run: Run, options: argparse.Namespace) -> Comparison | None:
    if options.baseline is None:
        return None
    baseline = journals.read([options.baseline])
    return compare.compare(baseline, run, matching.parse(options.map))


def _history(options: argparse.Namespace) -> History | None:
    """Return the history of the journals named, those reported on among them; None if none is asked for."""
    return history.history(journals.past([*options.history, *options.journals])) if options.history else None


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"cannot read the journal {error.filename}: {error.strerror}"
    return str(error)


if __name__ == "__main__":
    sys.exit(started(main))
