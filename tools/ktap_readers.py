# SPDX-License-Identifier: GPL-2.0-only
"""The verdict and name that each kernel CI's reader takes from one line of a KTAP file.

Every rule was observed by running the reader named, or read in its source: the KUnit parser
and the kselftest runner of Linux 6.12, prove (TAP::Harness) 3.44, tap.py 3.2 as LKFT's wrapper
uses it, npm's tap-parser 18.3, the netdev CI's reader.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

READERS = ("KUnit", "prove", "LKFT", "tap-parser", "netdev")
NAME_LIMIT = 200

_RESULT = re.compile(r"(?P<bad>not )?ok(?:\b|$) ?(?P<number>\d+)?(?: - | |$)?(?P<rest>.*)\Z")
_DIRECTIVE = re.compile(r"#\s*(\w+)", re.ASCII)
_STRICT_DIRECTIVE = re.compile(r" # (\w+)")
_BRACKETED = re.compile(r"\[\d{1,5}\]")
_FOLD = re.compile(r"[^A-Za-z0-9_-]+")
_VALUE = re.compile(r"\d")

MOST_DIGITS = 18  # of a result's number; Python converts no integer of thousands of digits


@dataclass(frozen=True, slots=True)
class ResultLine:
    """One result line, split at the first ``#``."""

    ok: bool
    number: int | None
    name: str
    comment: str  # From the first # on, or "".

    @property
    def directive(self) -> str:
        """The first word after the first ``#``, upper case."""
        match = _DIRECTIVE.match(self.comment)
        return match[1].upper() if match else ""


def parse(line: str) -> ResultLine | None:
    """Return the result that *line*, not indented, holds; None if it holds none."""
    match = _RESULT.match(line)
    if match is None:
        return None
    name, mark, comment = match["rest"].partition("#")
    number = int(match["number"][-MOST_DIGITS:]) if match["number"] else None
    return ResultLine(match["bad"] is None, number, name.strip(), mark + comment)


def kunit(line: ResultLine) -> str:
    """The KUnit parser: a result needs number and name, SKIP counts anywhere after the name."""
    if line.number is None or not line.name or (line.comment and not line.comment.startswith("# ")):
        return "not seen"
    if re.search(r"# SKIP\b", line.comment):
        return "skip"
    return "pass" if line.ok else "fail"


def prove(line: ResultLine) -> str:
    """TAP::Harness: a skip has to be ok, a TODO may fail."""
    if line.directive == "TODO":
        return "pass"
    if line.ok and line.directive.startswith("SKIP"):
        return "skip"
    return "pass" if line.ok else "fail"


def lkft(line: ResultLine) -> str:
    """LKFT's wrapper over tap.py: pass, fail and skip only; a skip that is not ok failed."""
    if line.ok and line.directive.startswith("SKIP"):
        return "skip"
    return "pass" if line.ok else "fail"


def tap_parser(line: ResultLine) -> str:
    """npm's tap-parser: a skip is a skip either way."""
    if line.directive == "SKIP":
        return "skip"
    if line.directive == "TODO":
        return "pass"
    return "pass" if line.ok else "fail"


def netdev(line: ResultLine) -> str:
    """The netdev CI: SKIP for both words, nothing else is known."""
    if line.directive == "SKIP":
        return "skip"
    return "pass" if line.ok else "fail"


def netdev_program(output: str, status: int) -> str:
    """Return the netdev CI's verdict on one program: *output* is the whole log, *status* the program's.

    A search of the log for words, then the exit status (contest/remote of nipa, 2026).
    """
    failed = re.search(r"\[(?:FAIL|fail)\]| FAIL:|\nnot ok \d+( \d+)? selftests: |\n# not ok 1", output)
    skipped = re.search(r"\[(?:SKIP|skip)\]| # SKIP|SKIP:", output)
    passed = re.search(
        r"\[(?:OKAY|PASS| OK |OK| ok |pass)\]|PASSED all |\nok \d+( \d+)? selftests: "
        r"|# Totals: pass:[1-9]\d* fail:0 (xfail:0 )?(xpass:0 )?skip:0 error:0",
        output,
    )
    if failed or status not in (0, 4):
        return "fail"
    return "skip" if skipped or not passed or status else "pass"


VERDICTS: dict[str, Callable[[ResultLine], str]] = dict(
    zip(READERS, (kunit, prove, lkft, tap_parser, netdev), strict=True)
)


def lkft_name(line: ResultLine) -> str:
    """Return the name that LKFT publishes: slugged, with a skip's reason at its end."""
    reason = re.sub(r"^#\s*SKIP\S*\s*", "", line.comment, flags=re.IGNORECASE) if lkft(line) == "skip" else ""
    name = _BRACKETED.sub("", f"{line.name} {reason}".strip())
    return _FOLD.sub("_", name).strip("_")


def about_name(name: str) -> Iterator[tuple[str, str]]:
    """Yield (reader, what happens to it) for each reader that changes or refuses *name*."""
    if not name:
        yield "KUnit, LKFT", "a result without a name is not seen, or published as unknown"
        return
    if re.search(r"\s", name):
        yield "LAVA", "the case is refused: its name holds white space"
    for sign, what in (("=", "the case is refused as malformed"), (">", "the name is cut there")):
        if sign in name:
            yield "LAVA", f"{what}: {sign}"
    if "/" in name:
        yield "SQUAD, LAVA", "the slash makes part of the name a suite or a folder"
    if len(name) > NAME_LIMIT:
        yield "SQUAD", f"a name of {len(name)} characters, with its suite, may be dropped silently"
    if re.match(r"\d+\b", name):
        yield "netdev", "the leading number is taken off the name"
    if not name.isascii():
        yield "LKFT, KCIDB", "characters beyond ASCII become an underscore, or are refused"


def about_directive(line: ResultLine) -> Iterator[tuple[str, str]]:
    """Yield (reader, what happens) for each reader that does not know the text after the name of *line*."""
    if not line.comment:
        return
    word = line.directive
    if not _STRICT_DIRECTIVE.match(f" {line.comment}") or (word == "SKIP" and "# SKIP" not in line.comment):
        yield "KUnit", "the directive is not known in this form: upper case, after space, #, space"
    if word in ("XFAIL", "XPASS", "TIMEOUT", "ERROR") or word not in ("SKIP", "TODO"):
        yield "tap-parser", f"the text after # becomes part of the name: {line.comment}"
    if word == "SKIP" and _VALUE.search(line.comment) and re.search(r"\b\d+\b", line.comment):
        yield "LKFT", "the reason is published as part of the name, and its numbers change from run to run"


TRIGGERS: tuple[tuple[re.Pattern[str], str, str], ...] = (
    (re.compile(r"\[(?:FAIL|fail)\]| FAIL:"), "netdev", "the whole program counts as failed"),
    (re.compile(r"\[(?:SKIP|skip)\]|SKIP:"), "netdev", "the whole program counts as skipped"),
    (re.compile(r"^# not ok 1\b"), "netdev", "the whole program counts as failed"),
    (re.compile(r"^# Subtest:"), "KUnit", "a phantom group begins"),
    (
        re.compile(r"reboot: System halted|List of all partitions:"),
        "KUnit",
        "input ends here",
    ),
    (re.compile(r"<LAVA_SIGNAL_"), "LAVA", "the text is executed as a signal"),
    (
        re.compile(r"[\x00-\x08\x0b-\x1f\x7f]"),
        "JUnit, LAVA",
        "a control character breaks the file that is made from it",
    ),
)
"""Texts in a comment that a reader acts on: pattern, reader, what happens."""
