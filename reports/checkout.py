# SPDX-License-Identifier: GPL-2.0-only
"""Where the kernels under test come from, as a file says: what a journal cannot know (`--checkout FILE`).

The file is TOML. At its top `origin`, who submits, and `logs`, the URL below which the run's folder
lava/ can be read; then a table ``[[checkout]]`` for each kernel, docs/ci.md shows one.
"""

from __future__ import annotations

import fnmatch
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from .text import one_line

ORIGIN = "kvm_counters"
"""Who submits, unless the file says so: ``[a-z0-9_]+``."""

WANTED = ("tree_name", "git_repository_url", "git_repository_branch", "git_commit_hash", "start_time")
"""What dashboards sort checkouts by."""

Fields = Mapping[str, str | float]


class CheckoutError(Exception):
    """The file cannot be used; the text is one sentence without a full stop."""


@dataclass(frozen=True, slots=True)
class KernelSource:
    """What a file says of one kernel: fields of KCIDB's checkout and build."""

    kernel: str  # a pattern of releases, as `uname -r` prints them
    checkout: Fields
    build: Fields
    build_id: str = ""  # of a build that KCIDB has already: then nothing of ours describes it


@dataclass(frozen=True, slots=True)
class SubmissionFacts:
    """What a file says of a submission."""

    origin: str = ORIGIN
    logs: str = ""
    sources: tuple[KernelSource, ...] = ()

    def source(self, release: str) -> KernelSource | None:
        """Return what is known of the kernel *release*: the first table whose pattern it matches."""
        found = (source for source in self.sources if fnmatch.fnmatchcase(release, source.kernel))
        return next(found, None) if release else None


NOTHING_KNOWN = SubmissionFacts()


def read(path: Path) -> SubmissionFacts:
    """Return what the file *path* says; `CheckoutError` if it cannot be read, or says anything else."""
    try:
        with path.open("rb") as file:
            content = tomllib.load(file)
    except OSError as error:
        raise CheckoutError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise CheckoutError(f"{path} is not TOML: {one_line(str(error))}") from None
    try:
        return _facts(content)
    except CheckoutError as error:
        raise CheckoutError(f"{path}: {error}") from None


def _facts(content: Mapping[str, Any]) -> SubmissionFacts:
    tables = content.get("checkout", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise CheckoutError("checkout is a table for each kernel, [[checkout]]")
    top = _known({"origin": _origin, "logs": _url}, {k: v for k, v in content.items() if k != "checkout"})
    origin, logs = top.get("origin", ORIGIN), top.get("logs", "")
    return SubmissionFacts(str(origin), str(logs), tuple(map(_source, tables)))


def _source(table: Mapping[str, Any]) -> KernelSource:
    build = table.get("build", {})
    if not isinstance(build, dict):
        raise CheckoutError("build is a table, [checkout.build]")
    kernel = _text(table.get("kernel", "*"))
    checkout = _known(_CHECKOUT, {k: v for k, v in table.items() if k not in ("kernel", "build")})
    described = _known({**_BUILD, "id": _build_id}, build)
    build_id = str(described.get("id", ""))
    if build_id and (checkout or len(described) > 1):
        raise CheckoutError(f"{build_id} was described by its submitter: next to it only kernel may stand")
    return KernelSource(kernel, checkout, {k: v for k, v in described.items() if k != "id"}, build_id)


def _known(forms: Mapping[str, Callable[[object], str | float]], given: Mapping[str, Any]) -> Fields:
    for name in given:
        if name not in forms:
            raise CheckoutError(f"{one_line(name)!r} is not known; known are {', '.join(forms)}")
    found = {}
    for name, value in given.items():
        try:
            found[name] = forms[name](value)
        except CheckoutError as error:
            raise CheckoutError(f"{name} is {error}, not {one_line(str(value))[:80]!r}") from None
    return found


def _text(value: object) -> str:
    if isinstance(value, str) and value == one_line(value):
        return value
    raise CheckoutError("a text of one line")


def _matching(pattern: str, words: str) -> Callable[[object], str]:
    compiled = re.compile(pattern)

    def read(value: object) -> str:
        if isinstance(value, str) and compiled.fullmatch(value):
            return value
        raise CheckoutError(words)

    return read


def _time(value: object) -> str:
    try:
        time = value if isinstance(value, datetime) else datetime.fromisoformat(_text(value))
    except (ValueError, CheckoutError):
        time = None
    if time is None or time.tzinfo is None:
        raise CheckoutError("a time with its zone, as in 2026-11-27T12:00:00Z")
    return time.isoformat()


def _seconds(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e9:
        return value
    raise CheckoutError("a number of seconds")


_url = _matching(r"https?://[!-~]{1,2000}", "a URL that begins with https:// or http://")
_origin = _matching(r"[a-z0-9_]+", "letters a to z, digits and _")
_build_id = _matching(r"[a-z0-9_]+:[!-~]+", "origin:name, as in KCIDB")

_CHECKOUT: Mapping[str, Callable[[object], str | float]] = {
    "tree_name": _text,
    "git_repository_url": _matching(r"https://[!-~]{1,2000}", "a URL that begins with https://"),
    "git_repository_branch": _text,
    "git_commit_hash": _matching(r"[0-9a-f]{40}", "40 hexadecimal digits"),
    "git_commit_name": _text,
    "patchset_hash": _matching(r"(?:[0-9a-f]{64})?", "64 hexadecimal digits, or empty without patches"),
    "start_time": _time,
    "log_url": _url,
    "comment": _text,
}
_BUILD: Mapping[str, Callable[[object], str | float]] = {
    "config_name": _text,
    "config_url": _url,
    "compiler": _text,
    "command": _text,
    "start_time": _time,
    "duration": _seconds,
    "log_url": _url,
}
