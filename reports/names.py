# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's name of a test: stable, and of characters that every kernel CI keeps.

pytest's node id holds brackets, slashes, colons and values' texts; LAVA, LKFT, SQUAD and
KCIDB cut, fold or refuse those. A kernel name matches ``[A-Za-z][A-Za-z0-9_.-]*``, has at
most `NAME_LIMIT` characters, and depends on nothing but node id and target. Where a
character had to go, six digits of the node id's SHA-256 keep the names apart.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache

from .model import LOCAL, Result, Run, is_none

NAME_LIMIT = 150
"""Longest kernel name: SQUAD drops 256 characters of suite and test without a word."""

FULL_LIMIT = 200
"""Longest name of target, subject and test together, and of a file."""

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)*\Z")
_OTHER = re.compile(r"[^A-Za-z0-9_-]+")
_FOLD = re.compile(r"[^A-Za-z0-9]+")


def digest(text: str) -> str:
    """Return six hexadecimal digits that stand for *text*, lone surrogates included."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:6]


def identity(run: Run) -> str:
    """Return what names this run among all others: 16 hexadecimal digits."""
    text = "\n".join(f"{session.host} {session.started_ns}" for session in run.sessions)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@lru_cache(maxsize=1 << 15)
def fold(name: str) -> str:
    """Return *name* as the coarsest reader sees it: names are distinct when their folds are."""
    return _FOLD.sub("-", name).strip("-")


def slug(text: str, source: str | None = None) -> str:
    """Return *text* as a kernel name; unchanged if it is one.

    Where that loses something, the digest of *source* (default: *text*) is appended.
    """
    if len(text) <= NAME_LIMIT and _PLAIN.match(text):
        return text
    parts = (_OTHER.sub("_", part).strip("_") for part in text.split("."))
    bare = ".".join(part for part in parts if part)
    if not bare[:1].isalpha():
        bare = f"t_{bare}"
    return f"{bare[: NAME_LIMIT - 7].rstrip('.')}-{digest(text if source is None else source)}"


@lru_cache
def target_slug(target: str) -> str:
    """Return the target's name as a kernel name: host@board, lab-arm64-vhe@6.1 and …+npt-off get a dot."""
    if is_none(target):
        return target_slug(target.replace(LOCAL, LOCAL.replace(" ", "-"), 1))
    return slug(target.replace("@", ".").replace("+", "."), target)


def kernel_name(nodeid: str, target: str) -> str:
    """Return the kernel name of the test *nodeid* on *target*, whose word the name drops."""
    _, separator, inner = without(nodeid, target).partition("::")
    return _inner_name(inner) if separator else "collection"


@lru_cache(maxsize=4096)
def _inner_name(inner: str) -> str:
    # The same text comes once for each target, one soon after the other.
    function, _, params = inner.partition("[")
    name = function.replace("::", ".")
    params = params.removesuffix("]")
    return slug(f"{name}.{params}" if params else name, f"::{inner}")


def subject_of(nodeid: str) -> str:
    """Return the subject a node id's file stands for: kvmtests/x86/test_clock.py is x86.clock."""
    return _subject(nodeid.partition("::")[0])


@lru_cache
def _subject(path: str) -> str:
    folder, _, module = path.removesuffix(".py").removeprefix("kvmtests/").rpartition("/")
    module = module.removeprefix("test_")
    return slug(f"{folder.replace('/', '.')}.{module}" if folder else module)


def target_of(nodeid: str, targets: Sequence[str]) -> str:
    """Return which of *targets* is a word of the node id's parameters, the longest first.

    `LOCAL` if none is.
    """
    _, _, params = nodeid.partition("[")
    params = f"-{params.removesuffix(']')}-"
    found = (name for name in sorted(targets, key=len, reverse=True) if f"-{name}-" in params)
    return next(found, LOCAL)


def shortened(name: str, source: str, limit: int = FULL_LIMIT) -> str:
    """Return *name*, or its beginning and the digest of *source* where it is longer than *limit*."""
    return name if len(name) <= limit else _marked(name, source, limit)


class DistinctNames:
    """The names of one file, or of files in one folder: no reader confuses any two of them."""

    def __init__(self, limit: int = FULL_LIMIT) -> None:
        self._limit = limit
        self._taken: set[str] = set()

    def add(self, name: str, source: str) -> str:
        """Return *name*, with the digest of *source* if it is too long, or taken in another case or fold."""
        found = shortened(name, source, self._limit)
        if fold(found).lower() in self._taken:
            found = _marked(name, source, self._limit)
        self._taken.add(fold(found).lower())
        return found


def _marked(name: str, source: str, limit: int) -> str:
    return f"{name[: limit - 7].rstrip('.')}-{digest(source)}"


def distinct(results: Sequence[Result]) -> list[Result]:
    """Return *results* with names that no reader confuses, in the same order.

    Names whose folds meet inside one subject of one target, or which repeat the subject's
    or the target's own name (the KUnit parser gives up there), get their digest.
    """
    first: dict[tuple[str, str, str], int] = {}
    clashing: set[int] = set()
    for index, result in enumerate(results):
        earlier = first.setdefault((result.target, result.subject, fold(result.name)), index)
        if earlier != index:
            clashing |= {earlier, index}
        elif result.name in (result.subject, result.target):
            clashing.add(index)
    renamed = list(results)
    for index in clashing:
        result = results[index]
        same = without(result.nodeid, result.target)
        renamed[index] = result._replace(name=f"{result.name[: NAME_LIMIT - 7]}-{digest(same)}")
    return renamed


def without(nodeid: str, target: str) -> str:
    """Return *nodeid* without the word *target* among its parameters: the same for all targets.

    `LOCAL` is not a target, and never such a word.
    """
    test, bracket, params = nodeid.partition("[")
    if not bracket or target == LOCAL:
        return nodeid
    framed = f"-{params.removesuffix(']')}-"
    # "lab-arm64-vhe@6.1" is a target's own name, and stands so in the node id; "host@board" may
    # be what a merge of several hosts made of it, which stands there as it was.
    word = target
    while f"-{word}-" not in framed and "@" in word:
        word = word.rpartition("@")[0]
    return f"{test}[{framed.replace(f'-{word}-', '-', 1)[1:-1]}]"
