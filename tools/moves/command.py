# SPDX-License-Identifier: GPL-2.0-only
"""GuestMove guests along routes of hosts, and judge their clocks on each: `make lab LAB=--migrate`.

A move is cold: the guest is saved on one host and kept as a file; the next host boots with it. Exit
status: 0 every clock is where it should be, 1 one is not or a host of a route cannot be judged, 2 the
command line is wrong, 4 no guest moved at all.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fixtures import known_issues
from fixtures.architectures import why_without
from fixtures.known_issues import FILE, KnownIssue
from fixtures.lab.image import ROOT
from fixtures.moves import document
from fixtures.moves.common_clock import CommonClock
from fixtures.moves.document import BadGuest, GuestDocument
from fixtures.targets import Target, named_target
from reports import read_journal
from reports.files import write_reports
from reports.journal import JournalError
from reports.lock import Held, Lock
from reports.whole_file import ReportError, write_file
from tools.arguments import USAGE, Unusable
from tools.check import NOTHING_RAN
from tools.moves import journal, page
from tools.moves.hosts import HostVisit, NoVisit, common_clock, visited
from tools.moves.results import GuestMove, NoMove, Outcome, as_data, judged

ROUTES = (
    ("lab-x86_64-svm@6.1", "lab-x86_64-svm@newest", "lab-x86_64-svm@6.1"),
    ("lab-x86_64-svm", "lab-x86_64-vmx", "lab-x86_64-svm"),
    ("lab-arm64-vhe", "lab-arm64-nvhe", "lab-arm64-protected"),
    ("lab-arm64-vhe-ecv", "lab-arm64-nvhe-ecv"),
)
"""The routes without TARGET=: kernels, TSC frequencies, modes, and CNTPOFF_EL2 against traps."""

DIFFERS = 1
GUESTS = "guests"
TABLE, DATA = "moves.md", "moves.json"


@dataclass(frozen=True, slots=True)
class GuestRoute:
    """Targets that a guest visits in this order; *guest* has already left another host."""

    targets: tuple[Target, ...]
    guest: GuestDocument | None = None


def names(arguments: argparse.Namespace) -> list[str]:
    """Return the targets that *arguments* choose, each once."""
    return list(dict.fromkeys(name for route in _named(arguments) for name in route))


def routes(arguments: argparse.Namespace) -> list[GuestRoute]:
    """Return the routes that *arguments* choose; `Unusable` says why that is none."""
    guest = _guest(arguments.guest) if arguments.guest else None
    found = [GuestRoute(tuple(_target(name) for name in each), guest) for each in _named(arguments)]
    for route in found:
        if len(route.targets) + (guest is not None) < 2:
            raise Unusable('a guest needs two hosts to move, as in TARGET="lab-arm64-vhe lab-arm64-nvhe"')
        archs = [each.arch for each in route.targets]
        archs = list(dict.fromkeys(archs if guest is None else [guest.arch, *archs]))
        if len(archs) > 1:
            raise Unusable(f"a guest of {archs[0]} cannot move to a host of {archs[1]}")
        if why := why_without(archs[0], "moves"):
            raise Unusable(why)
    return found


def main(arguments: argparse.Namespace) -> int:
    """GuestMove guests as *arguments* say, write tables and reports, and return the exit status."""
    out = Path(arguments.out)
    try:
        chosen = routes(arguments)
        issues = known_issues.read(ROOT / FILE, str(FILE))
    except (Unusable, known_issues.KnownIssuesError) as error:
        return _refuse(str(error))
    began_ns, common = time.time_ns(), common_clock()
    outcomes: list[Outcome] = []
    try:
        with Lock(out):
            for number, route in enumerate(chosen, start=1):
                for outcome in moved(route, common, issues, out, number):
                    outcomes.append(outcome)
                    _say(outcome)
            status = _status(outcomes)
            _write(out, outcomes, journal.RunTimes(began_ns, time.time_ns()), status)
    except (ReportError, JournalError, Held) as error:
        return _refuse(str(error).rstrip("."))
    except OSError as error:
        return _refuse(f"{out} cannot be used: {error.strerror}")
    return status


def moved(
    route: GuestRoute, common: CommonClock, issues: Sequence[KnownIssue], out: Path, number: int
) -> Iterator[Outcome]:
    """Yield what comes of each move along *route*, the *number*th; each guest is kept below *out*.

    The first host that cannot be judged ends the route.
    """
    guest, kept = route.guest, ""
    for step, target in enumerate(route.targets, start=1):
        place = f"{number}-{step}-{target.name}"
        began_ns = time.monotonic_ns()
        source = guest.host if guest else ""
        try:
            found = believed(target, common, guest, out / "lab" / place)
        except NoVisit as error:
            yield NoMove(source, target, str(error), kept)
            return
        left = found.visit.leaving
        kept = str(write_file(out / GUESTS / f"{place}.json", [document.render(left)]))
        if guest is not None:
            yield GuestMove(
                source=source,
                destination=target,
                kernels=(guest.kernel, left.kernel),
                frequencies=(guest.saved.frequency, left.saved.frequency),
                facts=found.facts,
                rows=tuple(judged(found.visit.rows, target, found.facts, issues)),
                blackout_ns=found.visit.blackout_ns,
                uncertain_ns=found.visit.uncertain_ns,
                took_ns=time.monotonic_ns() - began_ns,
            )
        guest = left


def believed(target: Target, common: CommonClock, guest: GuestDocument | None, logs: Path) -> HostVisit:
    """Visit *target* with *guest*, and again where its kernel is wrong about its counter's frequency.

    A lab host boots for each visit, and its kernel calibrates again. `NoVisit` where that was wrong as well.
    """
    found = visited(target, common, guest, logs)
    if not found.mistake:
        return found
    print(f"{target.name} is visited again: {found.mistake}.", flush=True)
    found = visited(target, common, guest, logs.with_name(f"{logs.name}-again"))
    if found.mistake:
        raise NoVisit(f"{found.mistake}, on the second visit as well")
    return found


def _status(outcomes: Sequence[Outcome]) -> int:
    moves = [each for each in outcomes if isinstance(each, GuestMove)]
    if not moves:
        return NOTHING_RAN
    bad = any(each.verdict.bad for move in moves for each in move.rows)
    return DIFFERS if bad or len(moves) < len(outcomes) else 0


def _write(out: Path, outcomes: Sequence[Outcome], times: journal.RunTimes, status: int) -> None:
    took_ns = times.ended_ns - times.began_ns
    text = page.page(outcomes, took_ns)
    print(f"\n{text}")
    journal.write(out / "journal.jsonl", outcomes, times, status)
    write_reports(read_journal.read([out / "journal.jsonl"]), out)
    write_file(out / DATA, [json.dumps(as_data(outcomes, took_ns), indent=2), "\n"])
    write_file(out / TABLE, [text])
    print(f"moves in {out}/: {TABLE} {DATA} {GUESTS}/ and the reports of a run")


def _named(arguments: argparse.Namespace) -> Sequence[Sequence[str]]:
    return [arguments.target] if arguments.target else ROUTES


def _target(name: str) -> Target:
    target = named_target(name)
    if target is None:
        raise Unusable(f"there is no target {name}; .venv/bin/python -m pytest --list-targets lists them")
    return target


def _guest(path: Path) -> GuestDocument:
    try:
        return document.read(path.read_text(encoding="utf-8"))
    except (BadGuest, UnicodeDecodeError) as error:
        reason = str(error) if isinstance(error, BadGuest) else "it is not UTF-8"
        raise Unusable(f"{path} cannot be moved: {reason}") from None
    except OSError as error:
        raise Unusable(f"{path} cannot be read: {error.strerror}") from None


def _say(outcome: Outcome) -> None:
    if isinstance(outcome, NoMove):
        print(page.failure(outcome), flush=True)
        return
    held = sum(each.row.holds for each in outcome.rows)
    print(f"{outcome.title}: {held} of {len(outcome.rows)} hold, {page.length(outcome.took_ns)}", flush=True)


def _refuse(sentence: str) -> int:
    sys.stderr.write(f"lab: {sentence}.\n")
    return USAGE
