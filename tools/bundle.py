# SPDX-License-Identifier: GPL-2.0-only
"""Write one tar with the suite, its packages and the lab's, for computers without a network (`make bundle`).

Unpacked there, `make check` and `make lab` run as in a checkout: tools/venv.py installs from the
bundle's wheels, and the lab finds its packages in the tree (fixtures/lab/cache.py). Exit status: 0,
or 2 with one sentence on what is missing.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from fixtures.lab import cache, parts
from fixtures.lab.errors import LabError, PartsMissing, of_system
from fixtures.lab.hosts import STANDARD, LabHost, find
from fixtures.lab.parts import PartSet
from tools import bundle_tar
from tools.arguments import USAGE, Parser
from tools.bundle_tar import FILE, README, Content
from tools.interruption import started
from tools.venv import PACKAGES, ROOT

MB = 1_000_000
DOWNLOAD_S = 30 * 60
"""For pip to download the packages, in s, on a slow line."""

TREE = (
    "LICENSE", "Makefile", "README.md", "config", "conftest.py", "contrib", "docs", "fixtures", "kvmtests",
    "pyproject.toml", "pytest.ini", "reports", "requirements", "settings", "tools",
)  # fmt: skip
"""What of the checkout is sent."""

LAB = cache.CARRIED.relative_to(ROOT)
WHEELS = PACKAGES.relative_to(ROOT)

_README = """\
# kvmtests, for computers without a network

    make check      # test KVM: this host and the simulated ones; reports in out/
    make lab        # {lab}

Nothing is fetched: the first command installs the packages in `{wheels}` into `.venv`. They are
for Python {python} on {architecture}. Also needed: {programs}.
README.md describes the suite, docs/ the rest.
"""


class CannotBundle(Exception):
    """There can be no bundle; the text is one sentence without a full stop."""


def main(argv: Sequence[str]) -> int:
    """Write the bundle that *argv* describes; return the exit status."""
    arguments = _parse(argv)
    path = Path(arguments.out) / FILE
    try:
        lab_hosts = [] if arguments.without_lab else chosen(arguments.target)
        packages = lab_packages(lab_hosts)
        with tempfile.TemporaryDirectory(prefix="kvmtests-bundle-") as folder:
            wheels = download(Path(folder))
            members = [
                # First, so that `make clean` knows a bundle.
                (README, Content(readme(lab_hosts).encode())),
                *suite(ROOT),
                *((f"{WHEELS}/{wheel.name}", Content.fixed(wheel)) for wheel in wheels),
                *((f"{LAB}/{name}", Content.fixed(package)) for name, package in packages.items()),
            ]
            print(f"{len(wheels)} Python packages, {_size(wheels)}", flush=True)
            print(f"{len(packages)} files of the lab's cache, {_size(packages.values())}", flush=True)
            size = bundle_tar.write(path, members)
    except (CannotBundle, LabError) as error:
        return _refuse(str(error))
    except OSError as error:
        return _refuse(of_system(f"{path} cannot be written", error))
    print(f"{path}: {size / MB:.0f} MB")
    return 0


def chosen(names: Iterable[str]) -> list[LabHost]:
    """Return the lab hosts called *names*, without names the standard ones; `CannotBundle`."""
    found = {name: find(name) for name in names or STANDARD}
    for name, lab_host in found.items():
        if lab_host is None:
            raise CannotBundle(f"{name} is not a lab host; simulated targets need nothing of the lab's cache")
    return [lab_host for lab_host in found.values() if lab_host]


def lab_packages(lab_hosts: Iterable[LabHost]) -> dict[str, Path]:
    """Return the files that *lab_hosts* need, by their place in the lab's cache; `CannotBundle`."""
    found = {}
    for lab_host in lab_hosts:
        try:
            files = [path for each in parts.sets_of(lab_host) for path in _files_of(each)]
        except PartsMissing as error:
            raise CannotBundle(f"{lab_host.name} cannot be included: {error}") from None
        found.update({str(path.relative_to(cache.root())): path for path in files})
    return found


def _files_of(part_set: PartSet) -> list[Path]:
    packages = part_set.sound_files()
    parts.seal(part_set)
    return [part_set.list_file, cache.record_of(part_set.list_file), *packages]


def download(folder: Path) -> list[Path]:
    """Fetch the packages of requirements/check.txt into *folder*, for this Python; `CannotBundle`."""
    requirements = ROOT / "requirements/check.txt"
    words = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "download"]
    words += [
        "--require-hashes",
        "--no-deps",
        "--only-binary=:all:",
        "-d",
        str(folder),
        "-r",
        str(requirements),
    ]
    try:
        done = subprocess.run(
            words,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=DOWNLOAD_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise CannotBundle(f"pip did not download the packages within {DOWNLOAD_S} s") from None
    if done.returncode:
        sys.stderr.write(done.stdout)
        raise CannotBundle(f"pip could not download what {requirements.relative_to(ROOT)} names")
    return sorted(folder.iterdir())


def suite(root: Path) -> Iterator[tuple[str, Content]]:
    """Yield the files of the checkout at *root* by name: no byte code, links, or what commands made."""
    for top in TREE:
        inner = (Path(above, name) for above, _, names in os.walk(root / top) for name in names)
        for path in [root / top] if (root / top).is_file() else inner:
            name = path.relative_to(root)
            if path.is_file() and not path.is_symlink() and not _is_made(name):
                yield str(name), Content.of(path)


def _is_made(name: Path) -> bool:
    return (
        "__pycache__" in name.parts or "node_modules" in name.parts or name.match("contrib/vectors/build/*")
    )


def readme(lab_hosts: Sequence[LabHost]) -> str:
    """Return the text that says what to do with a bundle for *lab_hosts*."""
    names = ", ".join(lab_host.name for lab_host in lab_hosts)
    installed = {each.program.name for each in lab_hosts if parts.emulator_set(each) is None}
    return _README.format(
        lab=f"the same claims on {names}"
        if names
        else "not possible here: no packages of the lab are included",
        wheels=WHEELS,
        python=".".join(platform.python_version_tuple()[:2]),
        architecture=parts.host_arch(),
        programs=", ".join(["python3-venv", "make", *sorted(installed)]),
    )


def _size(files: Iterable[Path]) -> str:
    return f"{sum(path.stat().st_size for path in files) / MB:.1f} MB"


def _refuse(sentence: str) -> int:
    sys.stderr.write(f"bundle: {sentence}.\n")
    return USAGE


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser(prog="bundle", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--target", action="append", default=[], metavar="NAME", help="this lab host (default: four)"
    )
    parser.add_argument("--without-lab", action="store_true", help="only what `make check` needs")
    parser.add_argument("--out", default="out", metavar="DIR", help="where it goes (default: out)")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(started(main))
