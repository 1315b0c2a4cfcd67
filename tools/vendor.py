# SPDX-License-Identifier: GPL-2.0-only
"""Copy the packages that the suite imports into a folder that goes with an installed tree.

They come from this environment, which installed them by their hashes. Only pure Python is copied, so
the folder works on every architecture; compiled packages (the simulator's CPU emulator) are left
out, and simulated targets with them.
"""

from __future__ import annotations

import importlib.metadata
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from fixtures.lab.image import DISTRIBUTIONS


class VendorError(Exception):
    """A package cannot be copied; the text is one sentence without a full stop."""


def main(argv: Sequence[str]) -> int:
    """Fill the folder that *argv* names; 0, or 1 with one sentence."""
    try:
        copy(Path(argv[0]))
    except VendorError as error:
        sys.stderr.write(f"make: {error}.\n")
        return 1
    return 0


def copy(folder: Path, distributions: Iterable[str] = DISTRIBUTIONS) -> None:
    """Put all files of *distributions* into *folder*, replacing what is there.

    Their metadata comes along: licences, and the entry points by which pytest finds plug-ins.
    `VendorError` for one that is not installed here, or that is compiled.
    """
    shutil.rmtree(folder, ignore_errors=True)
    for name in distributions:
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError as error:
            raise VendorError(f"{name} is not installed in this environment") from error
        if "Root-Is-Purelib: true" not in (distribution.read_text("WHEEL") or ""):
            raise VendorError(f"{name} is compiled and would run on this architecture only")
        for file in distribution.files or ():
            # Commands lie outside of the folder of packages; byte code only works with this Python.
            if ".." not in file.parts and file.suffix != ".pyc":
                destination = folder / file
                destination.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(str(file.locate()), destination)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
