# SPDX-License-Identifier: GPL-2.0-only
"""A root file system as LKFT's, small: a shell, Python, the installed suite, and a login on the console.

It is an archive for the kernel (cpio), which tuxlava's boards take as well as an image of a disk: Debian's
kernels have the drivers of disks as modules.
"""

from __future__ import annotations

import gzip
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from fixtures.lab import cpio, deb, image, parts
from fixtures.lab.distribution import python_of
from fixtures.lab.parts import PartSet
from tools.lkft import overlay
from tools.lkft.job import ROOT, CannotRun, LavaJob

NAME = "rootfs.cpio.gz"
TREE = "opt/kvmtests"
"""Where the definition looks for the installed suite."""

INSTALL_S = 300
_COMMANDS = (
    "awk", "basename", "cat", "chmod", "cp", "cut", "date", "dirname", "echo", "env", "grep", "head", "id",
    "ls", "mkdir", "mktemp", "mount", "mv", "printf", "rm", "sed", "sh", "sleep", "sort", "tail", "tar",
    "tee", "test", "touch", "tr", "true", "uname", "wc", "wget", "which",
)  # fmt: skip
_SHELL, _LAVA = "busybox-static", "lava-dispatcher"

INIT = """\
#!/bin/sh
export PATH=/bin:/usr/bin HOME=/root PS1='root@lkft:~# '
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
cd /root
while :; do
	printf '\\nlkft login: '
	read -r name
	sh -i
done
"""
"""Process 1: a login without a password, as root."""


def packages(arch: str) -> PartSet:
    """Return the set of packages that the root file system needs next to Python."""
    return PartSet(f"lkft-{arch}", python_of(arch).suite, arch, lambda _archive: (_SHELL, _LAVA))


def fetch(arch: str, kernel: PartSet) -> None:
    """Fetch what the lab's cache lacks of *kernel*, Python and `packages`."""
    for part_set in (kernel, parts.python_set(arch), packages(arch)):
        parts.resolve(part_set)
        parts.fetch(part_set)


def write(path: Path, arch: str, job: LavaJob) -> None:
    """Write the root file system for *arch* to *path*, with LAVA's overlay for *job* in it."""
    shell, lava = _by_name(packages(arch).sound_files(), (_SHELL, _LAVA))
    entries = [*_shell(shell), *_python(arch), *_suite(), *overlay.entries(job, lava)]
    with gzip.open(path, "wb", compresslevel=1) as output:
        output.write(image.base(arch))
        output.write(cpio.archive(entries))


def _by_name(files: list[Path], names: tuple[str, ...]) -> list[Path]:
    return [next(path for path in files if path.name.startswith(f"{name}_")) for name in names]


def _shell(package: Path) -> Iterator[cpio.Entry]:
    for member in deb.members(package, "bin/busybox".__eq__):
        yield cpio.file("bin/busybox", member.data, executable=True)
    yield from (cpio.link(f"bin/{name}", "busybox") for name in _COMMANDS)
    yield from (cpio.folder(name) for name in ("dev", "proc", "root", "sys", "tmp"))
    yield cpio.file("init", INIT.encode(), executable=True)


def _python(arch: str) -> Iterator[cpio.Entry]:
    yield cpio.link("usr/bin/python3", f"python{python_of(arch).version}")


def _suite() -> Iterator[cpio.Entry]:
    """Yield the tree that `make install` makes of this checkout."""
    with tempfile.TemporaryDirectory(prefix="kvmtests-lkft-") as name:
        folder = Path(name)
        command = ["make", "-s", "install", f"INSTALL_PATH={folder}"]
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=INSTALL_S
        )
        if done.returncode:
            raise CannotRun(f"make install failed: {done.stderr.strip()[-300:]}")
        for path in sorted(folder.rglob("*")):
            place = f"{TREE}/{path.relative_to(folder)}"
            if path.is_file():
                executable = path.stat().st_mode & 0o111 != 0
                yield cpio.file(place, path.read_bytes(), int(path.stat().st_mtime), executable=executable)
