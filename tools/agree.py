# SPDX-License-Identifier: GPL-2.0-only
"""Play one script on a kernel and on a simulated counterpart of its host, and compare the answers.

Draws scripts until the given number of steps was compared, shrinks what disagrees, prints it and
keeps it as a case; --replay plays kept cases again. Exit status: 0 all agree, 1 a disagreement,
2 usage, 4 no target is available.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fixtures.agreement.compare import Disagreement
from fixtures.agreement.counterpart import judge
from fixtures.agreement.players import ROOM, complaint, play
from fixtures.agreement.script import Script, load, save
from fixtures.architectures import why_without
from fixtures.facts import Fact
from fixtures.targets import Target, all_targets, probe
from tools.arguments import Parser, number_from
from tools.interruption import started

SCRIPTS_AT_A_TIME = 10
LEAST_KEPT, MOST_KEPT = 12, 20  # steps of a script that --keep writes
KINDS_KEPT = 7  # actions of different names in it, at least
SCRIPTS_OF_A_SEED = 3  # that are kept: those of one seed are alike
DRAWN_OF_A_SEED = 100
USAGE = 2
NOTHING_RAN = 4


@dataclass(slots=True)
class Count:
    """How many scripts and steps were compared."""

    scripts: int = 0
    steps: int = 0


class Unplayable(Exception):
    """A file holds no case that can be played; its text is one sentence for the user."""


class Disagreed(AssertionError):
    """A script to which a kernel and its counterpart gave different answers."""

    def __init__(self, script: Script, found: Disagreement) -> None:
        self.script = script
        self.found = found
        super().__init__(f"{found}")


def main(argv: Sequence[str]) -> int:
    """Search, replay or keep scripts as *argv* says; return the exit status."""
    arguments = _parse(argv)
    known = all_targets()
    unknown = [name for name in arguments.target if name not in known or known[name].elsewhere]
    if unknown:
        sys.stderr.write(f"agree: {unknown[0]} is not a target of this host (docs/agreement.md)\n")
        return USAGE
    try:
        return _run([known[name] for name in arguments.target], arguments)
    except Unplayable as error:
        sys.stderr.write(f"agree: {error}\n")
        return USAGE


def _run(targets: Sequence[Target], arguments: argparse.Namespace) -> int:
    cases = {path: kept(path) for path in arguments.replay}
    status = NOTHING_RAN
    for target in targets:
        found = probe(target)
        if not found.usable:
            print(f"{target.name}: left out, {found.reason}")
            continue
        if why := why_without(target.arch, ROOM):
            print(f"{target.name}: left out, {why}")
            continue
        if arguments.keep:
            keep_drawn(target, found.facts, arguments)
            return 0
        if arguments.replay:
            agreed = replay(target, found.facts, cases)
        else:
            agreed = search(target, found.facts, arguments)
        status = max(int(not agreed), status % NOTHING_RAN)
    return status


def check(script: Script, target: Target, facts: Mapping[str, Fact], count: Count) -> None:
    """Play *script* on *target*; `Disagreed` if its simulated counterpart answers otherwise."""
    transcript = play(script, target.make_backend())
    count.scripts += 1
    count.steps += len(script.actions)
    found = judge(transcript, facts)
    if found is not None:
        raise Disagreed(script, found)


def kept(path: Path) -> Script:
    """Return the case kept in *path*; `Unplayable` if the file cannot be read or holds none."""
    try:
        script = load(path)
    except OSError as error:
        raise Unplayable(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Unplayable(f"{path} is not a kept case: {type(error).__name__}: {error}") from error
    wrong = complaint(script)
    if wrong:
        raise Unplayable(f"{path} cannot be played: {wrong}")
    return script


def replay(target: Target, facts: Mapping[str, Fact], cases: Mapping[Path, Script]) -> bool:
    """Play *cases*; return whether all agree. `Unplayable` if one names an unknown register."""
    agreed = True
    for path, script in cases.items():
        if script.arch != target.arch:
            print(f"{target.name}: {path} is of {script.arch}")
            continue
        try:
            check(script, target, facts, Count())
            print(f"{target.name}: {path} agrees")
        except Disagreed as error:
            agreed = False
            print(f"{target.name}: {path}\n  {error}")
        except KeyError as error:
            raise Unplayable(f"{path} cannot be played: no action knows {error}") from error
    return agreed


def search(target: Target, facts: Mapping[str, Fact], arguments: argparse.Namespace) -> bool:
    """Draw scripts until enough steps were compared, or one disagrees; return whether all agree."""
    count = Count()
    seed = arguments.seed
    while count.steps < arguments.steps:
        try:
            draw(target, facts, count, seed, SCRIPTS_AT_A_TIME)
        except Disagreed as error:
            path = arguments.out / f"{target.name}-{seed}.json"
            save(path, error.script, disagreement=str(error.found), target=target.name, seed=seed)
            print(f"{target.name}, seed {seed}: {error}\n{error.script}\nkept in {path}")
            return False
        seed += 1
    print(
        f"{target.name}: {count.steps} steps in {count.scripts} scripts agree, "
        f"seeds {arguments.seed} to {seed - 1}"
    )
    return True


def draw(
    target: Target,
    facts: Mapping[str, Fact],
    count: Count,
    seed: int,
    scripts: int,
    *,
    shrink: bool = True,
) -> None:
    """Check *scripts* scripts of *seed*; `Disagreed` with one that disagrees, the smallest if *shrink*."""
    # Only a search needs hypothesis; cases are replayed without it.
    from fixtures.agreement import strategies

    drawn = strategies.scripts(target.arch, int(facts["counter_hz"]) // 1000, facts=facts)
    try:
        strategies.each(
            drawn, seed, scripts, lambda script: check(script, target, facts, count), shrink=shrink
        )
    except Disagreed as error:
        raise (
            smallest(error, lambda script: check(script, target, facts, count)) if shrink else error
        ) from None


def smallest(error: Disagreed, check_script: Callable[[Script], None]) -> Disagreed:
    """Return *error* of a script from which no single step can be taken without making it agree."""
    number = len(error.script.actions)
    while number:
        number -= 1
        steps = error.script.actions
        try:
            check_script(Script(error.script.arch, steps[:number] + steps[number + 1 :]))
        except Disagreed as smaller:
            error = smaller
            number = min(number, len(error.script.actions))
    return error


def keep_drawn(target: Target, facts: Mapping[str, Fact], arguments: argparse.Namespace) -> None:
    """Write scripts drawn for *target* into files, for lab hosts, which cannot draw scripts.

    Most that hypothesis draws look at one thing again and again; kept are those that do many.
    """
    from fixtures.agreement import strategies

    drawn = strategies.scripts(target.arch, int(facts["counter_hz"]) // 1000, most=MOST_KEPT, facts=facts)
    written, seed = 0, arguments.seed
    while written < arguments.keep:
        found: dict[str, Script] = {}

        def take(script: Script, found: dict[str, Script] = found) -> None:
            if _is_worth_keeping(script):
                found.setdefault(str(script), script)

        strategies.each(drawn, seed, DRAWN_OF_A_SEED, take)
        for script in list(found.values())[: min(SCRIPTS_OF_A_SEED, arguments.keep - written)]:
            save(arguments.out / f"drawn-{written:02}.json", script, seed=seed)
            written += 1
        seed += 1


def _is_worth_keeping(script: Script) -> bool:
    kinds = {action.name for action in script.actions}
    return len(script.actions) >= LEAST_KEPT and len(kinds) >= KINDS_KEPT


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser(prog="agree", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--target",
        action="append",
        default=[],
        metavar="NAME",
        help="this target (repeatable; default: host)",
    )
    parser.add_argument(
        "--steps", type=number_from(1), default=2000, metavar="N", help="compare at least N (default: 2000)"
    )
    parser.add_argument(
        "--seed", type=number_from(0), default=1, metavar="N", help="of the first scripts (default: 1)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("out/agreement"), metavar="DIR", help="where cases go"
    )
    parser.add_argument(
        "--replay", type=Path, nargs="+", default=[], metavar="CASE", help="play these instead"
    )
    parser.add_argument(
        "--keep", type=number_from(0), default=0, metavar="N", help="write N drawn scripts, play none"
    )
    arguments = parser.parse_args(argv)
    arguments.target = arguments.target or ["host"]
    return arguments


if __name__ == "__main__":
    sys.exit(started(main))
