# SPDX-License-Identifier: GPL-2.0-only
"""Damage every file of the lab's cache in turn, in a copy, and see whether the lab mends it.

Each file is flipped in one byte, cut in its middle, emptied and removed; each link is removed, and leads
elsewhere. With ``--every 20`` that is done to one file of twenty. What can be made again
from the rest must come back without help and as it was; what only a mirror has must be one
sentence, and come back by `make lab LAB=--fetch`. The copy's own packages play the mirror.
Exit status: 0 all of it did, 1 something did not, 4 there is no cache.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fixtures.lab import cache, image, kernel, parts, unpacked_emulator
from fixtures.lab.errors import LabError, PartsMissing
from fixtures.lab.hosts import LabHost, find
from tools import lab
from tools.arguments import Parser, number_from
from tools.interruption import started
from tools.lab_mirror import in_cache, mirror

WRONG, NOTHING_RAN = 1, 4
FOLDERS = ("sets", "debs", "base", "kernels", "emulators")
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


def redirect(path: Path) -> None:
    """Let a link lead to nowhere."""
    path.unlink()
    path.symlink_to("nowhere")


KINDS: tuple[Callable[[Path], None], ...] = (flip, cut, empty, Path.unlink)
LINK_KINDS: tuple[Callable[[Path], None], ...] = (redirect, Path.unlink)


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
    made: list[str] = []
    for lab_host in lab_hosts:
        chosen = kernel.from_packages(parts.kernel_set(lab_host.arch, lab_host.kernel))
        modules = chosen.module_files(lab_host.all_modules)
        made += map(cache.digest, [image.base(lab_host.arch), chosen.image.read_bytes(), *modules])
        emulator = parts.emulator_set(lab_host)
        if emulator is not None:
            made += map(cache.digest, _contents(unpacked_emulator.unpacked(emulator)))
    return cache.digest("".join(made).encode())


def _contents(folder: Path) -> Iterator[bytes]:
    """Yield the name of each file and link below *folder*, and what is in it or where it leads."""
    for path in files_below(folder):
        yield os.fsencode(path.relative_to(folder))
        yield os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()


def files_below(folder: Path) -> list[Path]:
    """Return the files and links below *folder*, sorted."""
    return [path for path in sorted(folder.rglob("*")) if path.is_symlink() or path.is_file()]


def try_all(pristine: Path, scratch: Path, lab_hosts: Sequence[LabHost], every: int = 1) -> Damage:
    """Damage one of *every* files of *pristine*, in a copy at *scratch*; *pristine* stays as it is."""
    found = Damage()
    with in_cache(pristine):
        good = products(lab_hosts)
    copy = scratch / "cache"
    for path in (path for name in FOLDERS for path in files_below(pristine / name)[::every]):
        relative = path.relative_to(pristine)
        for kind in LINK_KINDS if path.is_symlink() else KINDS:
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
        if (pristine / name).is_dir():
            shutil.copytree(pristine / name, copy / name, symlinks=True, copy_function=os.link)
    (copy / relative).unlink()
    shutil.copy2(pristine / relative, copy / relative, follow_symlinks=False)


def main(argv: Sequence[str]) -> int:
    """Try the cache and the targets that *argv* names; return the exit status."""
    parser = Parser(prog="tools.lab_damage", description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, default=cache.root(), help="the cache that is copied")
    parser.add_argument(
        "--every", type=number_from(1), default=1, metavar="N", help="only one of N files of each folder"
    )
    parser.add_argument("target", nargs="*", default=["lab-arm64-vhe", "lab-x86_64-svm"], help="lab targets")
    arguments = parser.parse_args(argv)
    lab_hosts = [lab_host for name in arguments.target if (lab_host := find(name)) is not None]
    with tempfile.TemporaryDirectory(prefix="kvmtests-lab-") as name:
        try:
            pristine = copied(arguments.cache, Path(name) / "pristine", lab_hosts)
        except LabError as error:
            sys.stderr.write(f"lab_damage: {error}.\n")
            return NOTHING_RAN
        found = try_all(pristine, Path(name), lab_hosts, arguments.every)
    print(f"{found.cases} cases, {len(found.wrong)} of them wrong")
    for line in found.lines():
        print(line)
    return WRONG if found.wrong else 0


if __name__ == "__main__":
    sys.exit(started(main))
