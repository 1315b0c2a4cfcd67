# SPDX-License-Identifier: GPL-2.0-only
"""The bundle: a zip file that Python runs, the same bytes whenever and wherever one tree is built."""

from __future__ import annotations

import hashlib
import io
import json
import tomllib
import zipfile
from pathlib import Path
from typing import Any

from fixtures.precheck import bundled
from fixtures.precheck.known_issues import BUNDLED
from tools.precheck.closure import closure
from tools.precheck.older_python import SHIM, SHIM_SOURCE, lower

ENTRY = "fixtures.precheck.bundled"
SHEBANG = b"#!/usr/bin/env python3\n"
LARGEST = 1_000_000
"""Bytes that a bundle may have."""

_PACKAGE = "fixtures/precheck"
_MAIN = """\
# SPDX-License-Identifier: GPL-2.0-only
import sys

if sys.version_info < (3, 9):
    sys.stderr.write("kvmtests-precheck: Python 3.9 or newer is needed.\\n")
    sys.exit(2)

from fixtures.precheck.bundled import run

sys.exit(run())
"""
_WHEN = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip file can say


class TooLarge(Exception):
    """The bundle has more bytes than it may."""


def build(root: Path) -> bytes:
    """Return the bundle of the tree at *root*; `NotSelfContained`, `CannotLower`, `TooLarge`.

    Files are stored, not compressed: what a compressor writes depends on its version.
    """
    output = io.BytesIO()
    output.write(SHEBANG)
    with zipfile.ZipFile(output, "w", zipfile.ZIP_STORED) as archive:
        for name, text in sorted(files(root).items()):
            entry = zipfile.ZipInfo(name, _WHEN)
            entry.create_system = 3  # Unix, whose permissions external_attr holds
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, text.encode())
    data = output.getvalue()
    if len(data) > LARGEST:
        raise TooLarge(f"the bundle has {len(data)} bytes; it may have {LARGEST}")
    return data


def files(root: Path) -> dict[str, str]:
    """Return the contents of the bundle of the tree at *root*, by name."""
    modules = closure(root, ENTRY)
    contents = {
        "__main__.py": _MAIN,
        SHIM: SHIM_SOURCE,
        f"{_PACKAGE}/{BUNDLED}": known_issues(root),
        f"{_PACKAGE}/{bundled.SCHEMA}": (root / _PACKAGE / bundled.SCHEMA).read_text(encoding="utf-8"),
        **{
            str(path.relative_to(root)): lower(path.read_text(encoding="utf-8"), name)
            for name, path in modules.items()
        },
    }
    digest = hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()
    return {**contents, f"{_PACKAGE}/{bundled.BUILD}": digest[:16]}


def known_issues(root: Path) -> str:
    """Return kvmtests/known_issues.toml of *root* as the JSON that the bundle carries."""
    text = (root / "kvmtests/known_issues.toml").read_text(encoding="utf-8")
    issues: list[dict[str, Any]] = tomllib.loads(text)["issue"]
    kept = [{key: issue[key] for key in ("id", "when", "seen", "reference")} for issue in issues]
    return json.dumps(kept, indent=1) + "\n"
