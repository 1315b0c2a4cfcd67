# SPDX-License-Identifier: GPL-2.0-only
"""Copy what the suite imports into a folder that an installed tree brings along.

Source is this environment, whose packages were installed by their hashes. Only pure Python goes
along, so the folder serves every architecture; what is compiled (the simulator's CPU emulator)
stays behind, and with it the simulated targets.
"""

from __future__ import annotations

import importlib.metadata
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from fixtures.lab.image import DISTRIBUTIONS


class VendorError(Exception):
    """A package cannot go along; its text is one sentence."""


def main(argv: Sequence[str]) -> int:
    """Fill the folder that *argv* names; 0, or 1 with one sentence."""
    try:
        copy(Path(argv[0]))
    except VendorError as error:
        sys.stderr.write(f"make: {error}.\n")
        return 1
    return 0


def copy(folder: Path, distributions: Iterable[str] = DISTRIBUTIONS) -> None:
    """Put all files of *distributions* into *folder*, in place of what is there.

    With their metadata: licences, and the entry points by which pytest finds plug-ins.
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
            # Commands lie outside of the folder of packages; byte code is this Python's alone.
            if ".." not in file.parts and file.suffix != ".pyc":
                destination = folder / file
                destination.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(str(file.locate()), destination)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
