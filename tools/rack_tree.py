# SPDX-License-Identifier: GPL-2.0-only
"""The suite as a board of a rack gets it: the claims, the harness, and pytest, in pure Python."""

from __future__ import annotations

import tarfile
import tempfile
from pathlib import Path

from tools import vendor

ROOMS = ("fixtures", "kvmtests", "reports")
LEXERS = ("__init__.py", "_mapping.py", "diff.py", "python.py")
"""Of pygments's hundreds, those that pytest imports: the others are half of the suite's size."""

FILES = ("conftest.py", "pytest.ini", "tools/__init__.py", "tools/rack_marks.py")


def build(root: Path, path: Path) -> Path:
    """Write the suite of the checkout at *root* to *path*, a tar.gz, and return it; `VendorError`."""
    with tempfile.TemporaryDirectory(prefix="kvmtests-vendor-") as folder:
        vendor.copy(Path(folder) / "vendor")
        with tarfile.open(path, "w:gz", compresslevel=9) as archive:
            for name in FILES:
                archive.add(root / name, name)
            for room in ROOMS:
                archive.add(root / room, room, filter=_sent)
            archive.add(Path(folder) / "vendor", "vendor", filter=_sent)
    return path


def _sent(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    path = Path(member.name)
    left_out = {"tests", "__pycache__"} & set(path.parts)
    unused = path.parent.match("pygments/lexers") and path.name not in LEXERS
    return None if left_out or unused or member.issym() else member
