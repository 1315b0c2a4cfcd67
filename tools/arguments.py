# SPDX-License-Identifier: GPL-2.0-only
"""The parts that the command lines of several commands share."""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

USAGE = 2
SUITE = "kvmtests"
"""The folder of the claims, from the root."""

UNUSED = ("hypothesispytest", "doctest", "legacypath", "logging", "looponfail", "pastebin", "subtests")
"""The plug-ins that no claim uses: hypothesis takes half a second to load in each process, others 10 ms.

Only the command line keeps a plug-in from being imported; pytest.ini comes too late for that.
"""


class Parser(argparse.ArgumentParser):
    """A parser that reports a wrong command line in one sentence, without the list of all options."""

    def error(self, message: str) -> NoReturn:
        """Print *message* and end with status 2."""
        sys.stderr.write(f"{self.prog}: {message}; --help lists the options.\n")
        raise SystemExit(USAGE)


class Unusable(Exception):
    """The command line names something that does not exist; the text is a sentence without a full stop."""


def jobs(text: str) -> str:
    """Return *text*, a number of worker processes as pytest-xdist takes it."""
    if text in ("auto", "logical") or (text.isascii() and text.isdecimal()):
        return text
    raise argparse.ArgumentTypeError(f"JOBS is a number or auto, not {text!r}")


def number_from(least: int) -> Callable[[str], int]:
    """Return the type of an option that takes a whole number, *least* or more."""

    def number(text: str) -> int:
        if text.isascii() and text.isdecimal() and int(text) >= least:
            return int(text)
        raise argparse.ArgumentTypeError(f"this is a number from {least} on, not {text!r}")

    return number


def duration(text: str) -> float:
    """Return the number in *text*, of a unit of time: more than 0, and an end that comes."""
    with contextlib.suppress(ValueError):
        if 0 < (found := float(text)) < math.inf:
            return found
    raise argparse.ArgumentTypeError(f"this is a number above 0, not {text!r}")


def paths(words: Sequence[str], root: Path) -> list[str]:
    """Return where the claims are that pytest's *words* choose: all of them, unless words name some.

    Words that name some stay among *words*, so nothing has to be added. `Unusable` for a file that
    does not exist: pytest-xdist's workers would not report it.
    """
    named = [word for word in words if word.partition("::")[0].split("/")[0] == SUITE]
    for word in named:
        if not (root / word.partition("::")[0]).exists():
            raise Unusable(f"there is no {word.partition('::')[0]}")
    return [] if named else [SUITE]


def claims(arguments: argparse.Namespace, where: Sequence[str]) -> list[str]:
    """Return pytest's words for a run of the claims in *where*, empty where *arguments* name some.

    *arguments* has out, jobs, all, keyword and pytest_arguments, as `make check` and `make lab` have.
    """
    words = [*where, "--report-dir", arguments.out, "-n", arguments.jobs]
    for name in UNUSED:
        words += ["-p", f"no:{name}"]
    if not arguments.all and not named(arguments, where):
        words += ["-m", "not thorough"]
    if arguments.keyword:
        words += ["-k", arguments.keyword]
    return words


def named(arguments: argparse.Namespace, where: Sequence[str]) -> bool:
    """Return whether *arguments* name claims: those run, also the thorough ones among them."""
    return bool(arguments.keyword) or not where


def chosen(words: Sequence[str]) -> str:
    """Return what pytest's *words* choose among all tests, for a sentence."""
    given = [word for word in words if word.partition("::")[0].split("/")[0] == SUITE and word != SUITE]
    targets = _values(words, "--target")
    parts = [
        *(f"the expression {value!r}" for value in _values(words, "-k")),
        *([f"{' '.join(given)}"] if given else []),
    ]
    what = " and ".join(parts) or "the command line"
    return f"{what} on {', '.join(targets)}" if targets else what


def _values(words: Sequence[str], option: str) -> list[str]:
    following = [after for word, after in pairwise(words) if word == option]
    joined = [word.removeprefix(f"{option}=") for word in words if word.startswith(f"{option}=")]
    return following + joined
