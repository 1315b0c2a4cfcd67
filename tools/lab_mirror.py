# SPDX-License-Identifier: GPL-2.0-only
"""Another cache in place of the user's, and one whose packages play Debian's mirror."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote

from fixtures.lab import cache, parts
from fixtures.lab.errors import PartsMissing
from fixtures.lab.packages import Archive, Package


@contextlib.contextmanager
def in_cache(folder: Path) -> Iterator[None]:
    """Let the lab's cache be *folder* meanwhile."""
    before = os.environ.get(cache.VARIABLE)
    os.environ[cache.VARIABLE] = str(folder)
    try:
        yield
    finally:
        del os.environ[cache.VARIABLE]
        if before is not None:
            os.environ[cache.VARIABLE] = before


@contextlib.contextmanager
def mirror(pristine: Path) -> Iterator[None]:
    """Let the packages of *pristine* be what Debian carries meanwhile; nothing uses the network."""
    kept = {name: getattr(Archive, name) for name in ("update", "resolve", "download", "names", "closure")}
    with in_cache(pristine):
        sets = [parts.listed(path) for path in parts.lists()]
    known = [package for each in sets for package in each]

    def resolve(archive: Archive, names: Sequence[str]) -> list[Package]:
        return _of_one_set(sets, archive.arch, names)

    def download(_archive: Archive, names: Sequence[str], folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for package in known:
            if _name(package) in names or _with_version(package) in names:
                shutil.copy2(pristine / "debs" / package.name, folder / package.name)

    def closure(_archive: Archive, name: str) -> list[str]:
        return next(names for each in sets if name in (names := list(map(_name, each))))

    def names(_archive: Archive, prefix: str) -> list[str]:
        return [name for name in map(_name, known) if name.startswith(prefix)]

    try:
        for name, stand_in in {"update": lambda _archive: None, "resolve": resolve, "download": download,
                               "names": names, "closure": closure}.items():  # fmt: skip
            setattr(Archive, name, stand_in)
        parts._fresh_archive.cache_clear()
        yield
    finally:
        for name, real in kept.items():
            setattr(Archive, name, real)
        parts._fresh_archive.cache_clear()


def _of_one_set(sets: Sequence[Sequence[Package]], arch: str, names: Sequence[str]) -> list[Package]:
    """Return the packages called *names*, each the one of the set that has all, as several have a libc6."""
    for each in sets:
        found = {_name(package): package for package in each if _is_for(package, arch)}
        if found.keys() >= set(names):
            return [found[name] for name in names]
    raise PartsMissing(f"no list has all of: {', '.join(names)}")


def _is_for(package: Package, arch: str) -> bool:
    return package.name.endswith((f"_{arch}.deb", "_all.deb"))


def _name(package: Package) -> str:
    return package.name.partition("_")[0]


def _with_version(package: Package) -> str:
    """Return what apt calls just this version of *package*."""
    return "=".join(unquote(package.name).split("_")[:2])
