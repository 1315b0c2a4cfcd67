# SPDX-License-Identifier: GPL-2.0-only
"""Inject each defect into the simulated targets and see which claims notice it (`make defects`).

Exit status: 0 each defect was noticed, 1 one was not, 2 usage, the suite fails without defects, or
the run was stopped; what had been judged by then is written all the same.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from fixtures.defects.defect import Defect
from fixtures.defects.table import DEFECTS
from fixtures.sim.targets import TARGETS
from reports import defects as reported
from reports import html_defects
from reports.lock import Held, Lock
from reports.whole_file import ReportError, write_file
from tools.arguments import Parser, duration, number_from
from tools.defect_jobs import Job, JobOutcome, run_all, warm_up
from tools.defect_searches import find_assertions, find_thin
from tools.defect_verdicts import DefectVerdict, silent_claims, summary, table, thin_lines, verdict_on, write
from tools.stopping import Stop

ROOT = Path(__file__).resolve().parent.parent
UNNOTICED = 1
USAGE = 2


def main(argv: Sequence[str]) -> int:
    """Run the defects that *argv* names, or all; return the exit status."""
    arguments = _parse(argv)
    os.chdir(ROOT)
    if arguments.page is not None:
        return _render(arguments.page, Path(arguments.out))
    wanted = [DEFECTS[name] for name in arguments.defects or DEFECTS if name in DEFECTS]
    unknown = set(arguments.defects) - set(DEFECTS)
    if unknown:
        print(f"defects: there is no defect {', '.join(sorted(unknown))}; docs/defects.md lists all")
        return USAGE
    try:
        with Stop() as stop, Lock(Path(arguments.out)):
            return _run(wanted, arguments, stop)
    except Held as error:
        print(f"defects: {error}")
        return USAGE


def _run(wanted: Sequence[Defect], arguments: argparse.Namespace, stop: Stop) -> int:
    """Inject the defects *wanted* until all are judged or a signal comes; return the exit status."""
    started_s = time.monotonic()
    targets = sorted({target for defect in wanted for target in defect.targets})
    if trouble := warm_up({TARGETS[target].arch: target for target in targets}.values()):
        print(trouble)
        return USAGE
    if search := arguments.search:
        return int(search(wanted, targets, arguments, stop))
    broken = _baseline(targets, arguments, stop) if arguments.baseline else frozenset()
    verdicts = _judge(wanted, arguments, broken, stop)
    if not verdicts:
        print(f"defects: stopped by {stop.by} before any defect was judged")
        return USAGE
    seconds = time.monotonic() - started_s
    stopped = reported.Stopped(stop.by, len(wanted)) if len(verdicts) < len(wanted) else None
    print(table(verdicts))
    print(summary(verdicts, seconds) + (f"; {stopped.sentence(len(verdicts))}" if stopped else ""))
    try:
        written = write(verdicts, Path(arguments.out), seconds, everything=arguments.all, stopped=stopped)
    except ReportError as error:
        print(error)
        return USAGE
    print(f"reports in {arguments.out}/: {' '.join(path.name for path in written)}")
    if stopped:
        return USAGE
    if arguments.all:
        print("claims that failed for none of them:", *silent_claims(verdicts), sep="\n  ")
        print("rules that hang on a single test function:", *thin_lines(verdicts), sep="\n  ")
    troubles = [f"{verdict.id}: {verdict.trouble}" for verdict in verdicts if verdict.trouble]
    if broken or troubles:
        print("fails without a defect, and shows nothing:", *sorted(broken), *troubles, sep="\n  ")
        return USAGE
    return 0 if all(verdict.noticed for verdict in verdicts) else UNNOTICED


def _render(source: Path, folder: Path) -> int:
    """Write the page of the defects.json in *source* into *folder*; return the exit status."""
    try:
        found = reported.parse(source.read_bytes())
        print(write_file(folder / "defects.html", html_defects.page(found)))
    except (OSError, reported.DefectsError, ReportError) as error:
        print(f"{source}: {error.strerror if isinstance(error, OSError) else error}")
        return USAGE
    return 0


def _baseline(targets: Sequence[str], arguments: argparse.Namespace, stop: Stop) -> frozenset[str]:
    """Return the claims that fail without a defect."""
    jobs = [Job(target, "", (target,), ("kvmtests",)) for target in targets]
    outcomes = run_all(jobs, arguments.jobs, 4 * arguments.limit, stop=stop).values()
    names = {name for outcome in outcomes for name in outcome.names}
    return frozenset(names | {outcome.trouble for outcome in outcomes if outcome.trouble})


def _judge(
    defects: Sequence[Defect], arguments: argparse.Namespace, broken: frozenset[str], stop: Stop
) -> list[DefectVerdict]:
    """Run the module of the claim that is there for a defect first; all claims if that notices nothing.

    Return the verdicts of those defects whose runs ended before a signal came.
    """
    outcomes: dict[str, JobOutcome] = {}
    if not arguments.all:
        first = [_job(defect, defect.targets[:1], (_module(defect),)) for defect in defects]
        outcomes = _without(run_all(first, arguments.jobs, arguments.limit, stop=stop), broken)
    rest = [defect for defect in defects if defect.id not in outcomes or not outcomes[defect.id].names]
    everything = [
        _job(
            defect,
            defect.targets[:1] if arguments.all else defect.targets,
            (_folder(defect), "kvmtests/common"),
        )
        for defect in rest
    ]
    outcomes = {name: outcome for name, outcome in outcomes.items() if outcome.names}
    outcomes |= _without(run_all(everything, arguments.jobs, 4 * arguments.limit, stop=stop), broken)
    return [verdict_on(defect, outcomes[defect.id]) for defect in defects if defect.id in outcomes]


def _without(outcomes: dict[str, JobOutcome], broken: frozenset[str]) -> dict[str, JobOutcome]:
    for outcome in outcomes.values():
        outcome.notices = [notice for notice in outcome.notices if notice.name not in broken]
    return outcomes


def _job(defect: Defect, targets: tuple[str, ...], paths: tuple[str, ...]) -> Job:
    return Job(defect.id, defect.id, targets, paths, first=f"kvmtests/{defect.noticed_by}")


def _module(defect: Defect) -> str:
    return "kvmtests/" + defect.noticed_by.split("::")[0]


def _folder(defect: Defect) -> str:
    return "kvmtests/" + defect.noticed_by.split("/")[0]


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser(prog="defects", description=__doc__.splitlines()[0])
    parser.add_argument("defects", nargs="*", metavar="ID", help="only these (default: all)")
    parser.add_argument(
        "--out", default="out", metavar="DIR", help="where defects.json and defects.html go (default: out)"
    )
    parser.add_argument(
        "--jobs",
        type=number_from(1),
        default=os.cpu_count() or 1,
        metavar="N",
        help="processes (default: one per core)",
    )
    parser.add_argument(
        "--limit", type=duration, default=60.0, metavar="S", help="seconds for the claims of one module"
    )
    parser.add_argument("--all", action="store_true", help="run every claim of one target for every defect")
    _add_searches(parser)
    parser.add_argument(
        "--no-baseline", dest="baseline", action="store_false", help="do not run the suite without a defect"
    )
    parser.add_argument(
        "--page", type=Path, metavar="FILE", help="run nothing: write the page of this earlier defects.json"
    )
    return parser.parse_args(argv)


def _add_searches(parser: argparse.ArgumentParser) -> None:
    searches = parser.add_mutually_exclusive_group()
    searches.add_argument(
        "--thin",
        dest="search",
        action="store_const",
        const=find_thin,
        help="name the rules that only one test function holds, in thin.md",
    )
    searches.add_argument(
        "--assertions",
        dest="search",
        action="store_const",
        const=find_assertions,
        help="name the assertions that no defect makes fail, in assertions.md",
    )
    parser.add_argument(
        "--earlier",
        metavar="FILE",
        help="with these two: build on thin.json or assertions.json of an earlier run",
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
