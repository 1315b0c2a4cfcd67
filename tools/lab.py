# SPDX-License-Identifier: GPL-2.0-only
"""Test stock kernels: boot the lab's hosts under QEMU and run the suite inside them (`make lab`).

Says once what it fetches and how large that is; later runs need no network. Exit status: as
tools/check.py, and 2 where a part or a program is missing.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from fixtures.architectures import ARCHITECTURES
from fixtures.lab import availability, cache, image, kernel, knobs, own_kernel, packages, parts
from fixtures.lab.distribution import BY_ARCHITECTURE
from fixtures.lab.errors import BadKernel, LabError, of_system
from fixtures.lab.hosts import LAB_HOSTS, MATRIX, NEWEST, STANDARD, LabHost, find
from fixtures.lab.parts import PartSet
from fixtures.lab.vmlinux import bootable
from fixtures.targets import all_targets, probe
from reports import read_journal
from reports.model import Run
from reports.whole_file import write_file
from tools import bisect_kernels, lab_knobs, lab_matrix, lab_times
from tools.arguments import USAGE, Parser, Unusable, claims, jobs, paths
from tools.check import ROOT, run
from tools.moves import command as moves

MB = 1_000_000


def main(argv: Sequence[str]) -> int:
    """Fetch what is missing, run pytest as *argv* says; return the exit status."""
    arguments = _parse(argv)
    os.chdir(ROOT)
    if arguments.bisect:
        return bisect_kernels.main(arguments)
    if arguments.kernel:
        os.environ[own_kernel.IMAGE] = str(arguments.kernel.resolve())
    if arguments.modules:
        os.environ[own_kernel.MODULES] = str(arguments.modules.resolve())
    if arguments.params:
        os.environ[knobs.VARIABLE] = arguments.params
    try:
        lab_hosts, missing = ready(arguments)
    except (LabError, Unusable) as error:
        return _refuse(str(error))
    except OSError as error:
        return _refuse(of_system("the parts cannot be fetched and built", error))
    finally:
        for note in cache.take_notes():
            _say(f"lab: {note}.")
    if arguments.fetch:
        return 0
    keep_byte_code()
    if arguments.migrate:
        return moves.main(arguments)
    status = run(pytest_arguments(arguments, lab_hosts))
    conclude(arguments, missing)
    return status or (USAGE if missing else 0)


def ready(arguments: argparse.Namespace) -> tuple[list[LabHost], dict[str, str]]:
    """Fetch and build what *arguments* name: return the lab hosts, and why others are left out."""
    knobs.given()
    paths(arguments.pytest_arguments, ROOT)
    missing: dict[str, str] = {}
    lab_hosts = chosen(named(arguments), matrix=arguments.matrix, all_knobs=arguments.knobs)
    if arguments.matrix:
        lab_hosts, missing = fetched(lab_hosts, update=arguments.update)
    fetch(lab_hosts, update=arguments.update)
    prepare(lab_hosts)
    return lab_hosts, missing


def named(arguments: argparse.Namespace) -> Sequence[str]:
    """Return the targets that *arguments* name in one way or another; none: the standard ones."""
    if arguments.migrate:
        return moves.names(arguments)
    names: Sequence[str] = arguments.target
    return names or (list(LAB_HOSTS) if arguments.everything else [])


def chosen(names: Sequence[str], *, matrix: bool = False, all_knobs: bool = False) -> list[LabHost]:
    """Return the lab hosts among *names*, or the standard ones that can boot the kernel given.

    Each with every kernel of the *matrix*, or with the defaults and every set of KVM's parameters.
    Other targets in *names* are pytest's to judge.
    """
    lab_hosts = [lab_host for name in names or STANDARD if (lab_host := find(name)) is not None]
    own = own_kernel.given()
    if own is not None and not names:
        lab_hosts = [lab_host for lab_host in lab_hosts if _boots(own.image, lab_host.arch)]
    if own is not None and not lab_hosts:
        raise BadKernel(f"{own.image} is not a kernel for any of the lab's architectures")
    if matrix:
        series = [found for each in lab_hosts for suffix in _matrix(each) if (found := _with(each, suffix))]
        return list({lab_host.name: lab_host for lab_host in series}.values())
    return [each for lab_host in lab_hosts for each in _turned(lab_host)] if all_knobs else lab_hosts


def fetch(lab_hosts: Sequence[LabHost], *, update: bool = False) -> None:
    """Download what *lab_hosts* lack, saying beforehand what and how large."""
    own = own_kernel.given() is not None
    for lab_host in lab_hosts:  # before anything is fetched
        availability.check_own_kernel(lab_host)
    sets = {each.name: each for lab_host in lab_hosts for each in parts.sets_of(lab_host, own_kernel=own)}
    unknown = [each for each in sets.values() if update or not each.known()]
    if unknown:
        archives = sorted({(each.suite, ARCHITECTURES[each.arch].debian) for each in unknown})
        names = ", ".join(f"{suite} {arch}" for suite, arch in archives)
        _say(f"Fetching package lists of Debian ({names}), about {len(archives) * packages.INDEX_MB} MB")
    lacking = {each.name: parts.missing(parts.resolve(each, update=update)) for each in sets.values()}
    lacking = {name: found for name, found in lacking.items() if found}
    for name in sets.keys() - lacking.keys():
        parts.seal(sets[name])
    if not lacking:
        return
    total = sum(package.size for found in lacking.values() for package in found)
    _say(f"Fetching {total / MB:.0f} MB of Debian packages, once, into {cache.root()}:")
    for name, found in lacking.items():
        size = sum(package.size for package in found) / MB
        _say(f"  {name:<28}{size:6.1f} MB  {_what(sets[name], found)}")
    for name in lacking:
        parts.fetch(sets[name])


def fetched(lab_hosts: Sequence[LabHost], *, update: bool = False) -> tuple[list[LabHost], dict[str, str]]:
    """Download what *lab_hosts* lack, each by itself: return those that can boot, and why others cannot.

    `LabError`, the first of them, if none can. The others run: an archive may have deleted one package.
    """
    found: list[LabHost] = []
    missing: dict[str, str] = {}
    failures: list[LabError] = []
    for lab_host in lab_hosts:
        try:
            fetch([lab_host], update=update)
            found.append(lab_host)
        except LabError as error:
            failures.append(error)
            missing[lab_host.name] = str(error)
            _say(f"lab: {lab_host.name} is left out: {error}.")
    if failures and not found:
        raise failures[0]
    return found, missing


def prepare(lab_hosts: Sequence[LabHost]) -> None:
    """Build what is built once, and say what is still in the way; `LabError`."""
    for lab_host in lab_hosts:
        availability.check(lab_host)
    for arch in dict.fromkeys(lab_host.arch for lab_host in lab_hosts):
        image.base(arch)
    if own_kernel.given() is None:
        for arch, series in dict.fromkeys((lab_host.arch, lab_host.kernel) for lab_host in lab_hosts):
            kernel.from_packages(parts.kernel_set(arch, series))


def keep_byte_code() -> None:
    """Let pytest keep what it compiles, for this process and its workers: the lab hosts' archive takes it."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False


def conclude(arguments: argparse.Namespace, missing: Mapping[str, str]) -> None:
    """Print where the time went, and write the pages that *arguments* name; *missing*: as of `fetched`."""
    if arguments.timing:
        lab_times.main([arguments.out])
    matrix = partial(lab_matrix.page, missing=missing)
    pages: dict[str, tuple[bool, Callable[[Run], str], str]] = {
        lab_matrix.FILE: (arguments.matrix, matrix, "kernel by mode by subject"),
        lab_knobs.FILE: (arguments.knobs, lab_knobs.page, "what KVM's parameters change"),
    }
    for name, (wanted, page, words) in pages.items():
        if wanted:
            path = Path(arguments.out) / name
            write_file(path, [page(read_journal.read([Path(arguments.out) / "journal.jsonl"]))])
            _say(f"{words}: {path}")


def pytest_arguments(arguments: argparse.Namespace, lab_hosts: Iterable[LabHost]) -> list[str]:
    """Return pytest's command line: the lab hosts, and without named targets all of `make check`'s."""
    others = [name for name in arguments.target if find(name) is None]
    names = [*others, *(lab_host.name for lab_host in lab_hosts)]
    only = arguments.only or arguments.matrix or arguments.knobs or own_kernel.given() is not None
    if not arguments.target and not only:
        near = [target for target in all_targets().values() if target.elsewhere is None]
        names = [target.name for target in near if probe(target).usable] + names
    if arguments.jobs == "auto" and len(names) == 1 and not arguments.all:
        arguments.jobs = "0"  # one process boots a lab host, also in two copies; workers have nothing to do
    words = claims(arguments, paths(arguments.pytest_arguments, ROOT))
    for name in names:
        words += ["--target", name]
    return [*words, *arguments.pytest_arguments]


def _boots(kernel: Path, arch: str) -> bool:
    try:
        bootable(kernel.read_bytes(), arch)
    except BadKernel:
        return False
    except OSError as error:
        raise BadKernel(f"{kernel} cannot be read: {error.strerror}") from None
    return True


def _matrix(lab_host: LabHost) -> list[str]:
    """Return the kernels of the matrix that Debian has for *lab_host*, or just the one that its name has."""
    _, _, named_kernel = lab_host.name.partition("@")
    if named_kernel:
        return [named_kernel]
    return [suffix for suffix in MATRIX if suffix in {NEWEST, *BY_ARCHITECTURE[lab_host.arch].suites}]


def _with(lab_host: LabHost, suffix: str) -> LabHost | None:
    return find(f"{lab_host.name.partition('@')[0]}@{suffix}")


def _turned(lab_host: LabHost) -> list[LabHost]:
    """Return *lab_host*, and the same with each set of parameters that concerns it."""
    names = [f"{lab_host.name}{knobs.SEPARATOR}{each.name}" for each in knobs.sets_of(lab_host)]
    return [lab_host, *(found for name in names if (found := find(name)))]


def _what(part_set: PartSet, found: Sequence[packages.Package]) -> str:
    first = found[0].name.partition("_")[0]
    return first if len(part_set.known()) == 1 else f"{len(found)} packages"


def _refuse(sentence: str) -> int:
    sys.stderr.write(f"lab: {sentence}.\n")
    return USAGE


def _say(line: str) -> None:
    print(line, flush=True)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser(prog="lab", description=__doc__.splitlines()[0])
    parser.add_argument("--target", action="append", default=[], metavar="NAME", help="only this lab host")
    parser.add_argument("--only", action="store_true", help="leave out the host and the simulated targets")
    parser.add_argument("--matrix", action="store_true", help="each lab host with every kernel of the matrix")
    parser.add_argument(
        "--knobs", action="store_true", help="each lab host with each set of KVM's parameters"
    )
    parser.add_argument("--everything", action="store_true", help="every lab host, not the four alone")
    parser.add_argument("--migrate", action="store_true", help="move guests along routes of hosts")
    parser.add_argument("--guest", type=Path, metavar="FILE", help="with --migrate: one that has left a host")
    parser.add_argument("--params", metavar="WORDS", help="KVM's parameters for all lab hosts: kvm_amd.npt=0")
    parser.add_argument("--all", action="store_true", help="also the claims marked thorough")
    parser.add_argument("--timing", action="store_true", help="say where each lab host's time went")
    parser.add_argument("--kernel", type=Path, metavar="IMAGE", help="boot this build, not a package")
    parser.add_argument("--modules", type=Path, metavar="DIR", help="the build's modules, where KVM is one")
    parser.add_argument("--bisect", metavar="NODEID", help="between which two of Debian's kernels it changed")
    parser.add_argument("--good", metavar="VERSION", help="where it holds: 6.12, 7.0.10+deb13 or newest")
    parser.add_argument("--bad", metavar="VERSION", help="where it fails")
    parser.add_argument("--fetch", action="store_true", help="fetch and build the parts, run nothing")
    parser.add_argument("--update", action="store_true", help="look for newer packages in Debian")
    parser.add_argument("--out", default="out", metavar="DIR", help="where reports go (default: out)")
    parser.add_argument(
        "--jobs", type=jobs, default="auto", metavar="N", help="worker processes, each runs one lab host"
    )
    parser.add_argument("-k", dest="keyword", metavar="EXPRESSION", help="only tests that match")
    parser.add_argument("pytest_arguments", nargs="*", metavar="-- ARGUMENTS", help="pytest's own arguments")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
