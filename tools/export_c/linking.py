# SPDX-License-Identifier: GPL-2.0-only
"""Compiles C programs, and links them so that they run where no library of this computer is."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fixtures.architectures import ARM64, X86_64

FLAGS = ("-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread", "-static")
BY_ARCHITECTURE = {ARM64.name: "aarch64-linux-gnu-gcc", X86_64.name: "gcc"}
"""The compiler for each."""


class NothingRan(Exception):
    """There is nothing to compare; the text is one sentence without a full stop."""


def compiled(folder: Path, names: Iterable[str], compiler: str, into: Path) -> None:
    """Link the programs *names* of *folder* statically; `NothingRan` with the compiler's words."""
    into.mkdir()

    def build(name: str) -> None:
        command = [compiler, *FLAGS, "-o", str(into / name), str(folder / f"{name}.c")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NothingRan(f"{name}.c does not compile: {done.stderr.strip()}")

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(build, names))
