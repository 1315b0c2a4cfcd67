# SPDX-License-Identifier: GPL-2.0-only
"""Print which claims are known to fail on a host, in the form of a CI system.

Exit status: 0, or 2 for a wrong command line, a file that cannot be used, or claims that cannot be collected.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from fixtures import known_issues
from fixtures.facts import Fact
from fixtures.known_issues import KnownIssuesError
from tools.arguments import USAGE, Parser
from tools.interruption import started
from tools.known_issues import expunge, openqa, predicted, skipgen, squad
from tools.known_issues.predicted import ExpectedFailure, NotCollected

FORMS = ("skipgen", "squad", "json", "expunge")


def main(argv: Sequence[str]) -> int:
    """Print the list that *argv* describes; return the exit status."""
    parser = _parser()
    options = parser.parse_args(argv)
    if options.form == "squad" and not (options.project and options.environment):
        parser.error("squad needs --project GROUP/PROJECT and --environment NAME")
    facts = {"kind": "host", **dict(options.fact)}
    try:
        ours = known_issues.read(predicted.ROOT / known_issues.FILE, str(known_issues.FILE))
        issues = known_issues.merged([ours, *map(known_issues.read, options.known_issues)])
        found = list(predicted.failures(issues, predicted.cases(), facts))
    except (KnownIssuesError, NotCollected) as error:
        sys.stderr.write(f"known_issues: {error}\n")
        return USAGE
    for line in _lines(found, options):
        print(line)
    return 0


def _parser() -> Parser:
    parser = Parser(prog="known_issues", description=__doc__.splitlines()[0])
    parser.add_argument("--form", required=True, choices=FORMS, help="json is openQA's, expunge kdevops's")
    parser.add_argument(
        "--fact", type=_fact, action="append", default=[], metavar="NAME=VALUE",
        help="of the host, as in arch=arm64, mode=nvhe, kernel=6.12 (repeatable); results.csv and the"
        " journal of a run have all; what is not given stays open",
    )  # fmt: skip
    parser.add_argument("--known-issues", type=Path, action="append", default=[], metavar="FILE")
    parser.add_argument("--pages", default="", metavar="URL", help="skipgen, squad: where docs/ can be read")
    parser.add_argument("--board", action="append", default=[], help="skipgen: only these (repeatable)")
    parser.add_argument("--branch", action="append", default=[], help="skipgen: only these (repeatable)")
    parser.add_argument("--server", default="https://qa-reports.linaro.org", metavar="URL", help="squad")
    parser.add_argument("--project", action="append", default=[], metavar="GROUP/PROJECT", help="squad")
    parser.add_argument("--environment", action="append", default=[], help="squad: as SQUAD calls the board")
    return parser


def _fact(text: str) -> tuple[str, Fact]:
    """Return name and value of *text*; a number and a truth value are ones."""
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"a fact is NAME=VALUE, not {text!r}")
    if value in ("true", "false"):
        return name, value == "true"
    return name, int(value) if value.isascii() and value.isdecimal() and name != "kernel" else value


def _lines(found: Sequence[ExpectedFailure], options: argparse.Namespace) -> Iterator[str]:
    pages = f"{options.pages.rstrip('/')}/" if options.pages else ""
    if options.form == "expunge":
        return expunge.lines(found)
    if options.form == "json":
        return openqa.lines(found)
    if options.form == "skipgen":
        return skipgen.lines(found, pages, options.board, options.branch)
    return squad.lines(found, options.server, pages, options.project, options.environment)


if __name__ == "__main__":
    sys.exit(started(main))
