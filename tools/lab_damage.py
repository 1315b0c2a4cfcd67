# SPDX-License-Identifier: GPL-2.0-only
"""Damage every file of the lab's cache in turn, in a copy, and see whether the lab mends it.

Each file is flipped in one byte, cut in its middle, emptied and removed. What can be made again
from the rest must come back without help and as it was; what only a mirror has must be one
sentence, and come back by `make lab LAB=--fetch`. The copy's own packages play the mirror.
Exit status: 0 all of it did, 1 something did not, 4 there is no cache.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fixtures.lab import cache, image, kernel, parts
from fixtures.lab.errors import LabError, PartsMissing
from fixtures.lab.hosts import LabHost, find
from fixtures.lab.packages import Archive, Package
from tools import lab

WRONG, NOTHING_RAN = 1, 4
FOLDERS = ("sets", "debs", "base", "kernels")
"""Of the cache; what apt keeps is apt's, see fixtures/tests/test_lab_download.py."""


def flip(path: Path) -> None:
    """Change one byte in the middle."""
    data = bytearray(path.read_bytes())
    if data:
        data[len(data) // 2] ^= 0x20
    path.write_bytes(data)


def cut(path: Path) -> None:
    """End the file in its middle."""
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    """Leave nothing in the file."""
    os.truncate(path, 0)


KINDS: tuple[Callable[[Path], None], ...] = (flip, cut, empty, Path.unlink)


@dataclass(slots=True)
class Damage:
    """What came of all damage."""

    mended: Counter[str] = field(default_factory=Counter)  # without help, by folder
    reported: Counter[str] = field(default_factory=Counter)  # by a sentence, and mended by fetching
    harmless: Counter[str] = field(default_factory=Counter)  # the part was not needed
    wrong: list[str] = field(default_factory=list)

    @property
    def cases(self) -> int:
        """Return how many files were damaged, each kind of damage counted."""
        return sum((self.mended + self.reported + self.harmless).values()) + len(self.wrong)

    def lines(self) -> Iterator[str]:
        """Yield a line for each folder, and one for each case that went wrong."""
        for folder in sorted(self.mended.keys() | self.reported.keys() | self.harmless.keys()):
            yield (
                f"{folder}: {self.mended[folder]} mended without help, {self.reported[folder]} reported and "
                f"mended by fetching, {self.harmless[folder]} not needed"
            )
        yield from self.wrong


def copied(original: Path, pristine: Path, lab_hosts: Sequence[LabHost]) -> Path:
    """Copy what *lab_hosts* need of the cache *original* to *pristine* and build from it; `LabError`."""
    sets = {each.name: each for lab_host in lab_hosts for each in parts.sets_of(lab_host)}.values()
    with in_cache(original):
        files = [path for each in sets for path in (each.list_file, *each.sound_files())]
    try:
        for path in files:
            (pristine / path.parent.name).mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, pristine / path.parent.name)
    except OSError:
        raise PartsMissing(f"the cache at {original} cannot be copied to {pristine}") from None
    with in_cache(pristine):
        for each in sets:
            parts.seal(each)
        lab.prepare(lab_hosts)
    return pristine


def products(lab_hosts: Sequence[LabHost]) -> str:
    """Return the checksum of all that boots on *lab_hosts*; `LabError` says what is in the way."""
    made = b""
    for lab_host in lab_hosts:
        chosen = kernel.from_packages(parts.kernel_set(lab_host.arch, lab_host.kernel))
        modules = chosen.module_files(lab_host.all_modules)
        made += b"".join([image.base(lab_host.arch), chosen.image.read_bytes(), *modules])
    return cache.digest(made)


def try_all(pristine: Path, scratch: Path, lab_hosts: Sequence[LabHost]) -> Damage:
    """Damage every file of *pristine* in turn, in a copy at *scratch*; *pristine* stays as it is."""
    found = Damage()
    with in_cache(pristine):
        good = products(lab_hosts)
    copy = scratch / "cache"
    files = [path for name in FOLDERS for path in sorted((pristine / name).rglob("*")) if path.is_file()]
    for path in files:
        relative = path.relative_to(pristine)
        for kind in KINDS:
            renew(pristine, copy, relative)
            kind(copy / relative)
            with in_cache(copy), mirror(pristine):
                _judge(found, f"{kind.__name__} {relative}", relative.parts[0], lab_hosts, good)
                cache.take_notes()
    return found


def _judge(found: Damage, case: str, folder: str, lab_hosts: Sequence[LabHost], good: str) -> None:
    try:
        if products(lab_hosts) != good:
            found.wrong.append(f"{case}: what boots is damaged, and nothing was said")
            return
        (found.mended if cache.take_notes() else found.harmless)[folder] += 1
        return
    except LabError as error:
        sentence = str(error)
    except Exception as error:  # noqa: BLE001  # what must not happen is counted, not raised
        found.wrong.append(f"{case}: {error!r}")
        return
    try:
        with contextlib.redirect_stdout(None):
            lab.fetch(lab_hosts)
        if "\n" in sentence or "--fetch" not in sentence or products(lab_hosts) != good:
            found.wrong.append(f"{case}: {sentence}")
            return
    except Exception as error:  # noqa: BLE001  # as above
        found.wrong.append(f"{case}: {sentence}; fetching: {error!r}")
        return
    found.reported[folder] += 1


def renew(pristine: Path, copy: Path, relative: Path) -> None:
    """Make *copy* as *pristine* is: links to its files, and a file of its own at *relative*."""
    shutil.rmtree(copy, ignore_errors=True)
    for name in FOLDERS:
        shutil.copytree(pristine / name, copy / name, copy_function=os.link)
    (copy / relative).unlink()
    shutil.copy2(pristine / relative, copy / relative)


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
    kept = {name: getattr(Archive, name) for name in ("update", "resolve", "download", "names")}
    with in_cache(pristine):
        known = [package for path in parts.lists() for package in parts.listed(path)]

    def resolve(_archive: Archive, names: Sequence[str]) -> list[Package]:
        return [_newest(known, _archive.arch, name) for name in names]

    def download(_archive: Archive, names: Sequence[str], folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            package = _newest(known, _archive.arch, name.partition("=")[0])
            shutil.copy2(pristine / "debs" / package.name, folder / package.name)

    def names(_archive: Archive, prefix: str) -> list[str]:
        found = [package.name.partition("_")[0] for package in known]
        return [name for name in found if name.startswith(prefix)]

    try:
        for name, stand_in in {"update": lambda _archive: None, "resolve": resolve, "download": download,
                               "names": names}.items():  # fmt: skip
            setattr(Archive, name, stand_in)
        parts._fresh_archive.cache_clear()
        yield
    finally:
        for name, real in kept.items():
            setattr(Archive, name, real)
        parts._fresh_archive.cache_clear()


def _newest(known: Sequence[Package], arch: str, name: str) -> Package:
    return next(
        package
        for package in known
        if package.name.startswith(f"{name}_") and package.name.endswith(f"_{arch}.deb")
    )


def main(argv: Sequence[str]) -> int:
    """Try the cache and the targets that *argv* names; return the exit status."""
    parser = argparse.ArgumentParser(prog="tools.lab_damage", description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, default=cache.root(), help="the cache that is copied")
    parser.add_argument("target", nargs="*", default=["lab-arm64-vhe", "lab-x86_64-svm"], help="lab targets")
    arguments = parser.parse_args(argv)
    lab_hosts = [lab_host for name in arguments.target if (lab_host := find(name)) is not None]
    with tempfile.TemporaryDirectory(prefix="kvmtests-lab-") as name:
        try:
            pristine = copied(arguments.cache, Path(name) / "pristine", lab_hosts)
        except LabError as error:
            sys.stderr.write(f"lab_damage: {error}.\n")
            return NOTHING_RAN
        found = try_all(pristine, Path(name), lab_hosts)
    print(f"{found.cases} cases, {len(found.wrong)} of them wrong")
    for line in found.lines():
        print(line)
    return WRONG if found.wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
