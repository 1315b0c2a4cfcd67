# SPDX-License-Identifier: GPL-2.0-only
"""The files contrib/tmt/tests/FOLDER.fmf: one test of tmt for each module of claims (tools/promises.py)."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from fixtures.architectures import ROWS
from tools import kselftest

ROOT = Path(__file__).resolve().parent.parent
PLACE = ROOT / "contrib/tmt/tests"
_HEAD = (
    "# SPDX-License-Identifier: GPL-2.0-only\n"
    "# Written by `.venv/bin/python -m tools.promises` from the modules of kvmtests/{}.\n"
)
_PROCESSORS = {row.folder: row.uname_m for row in ROWS}


def files() -> Iterator[tuple[Path, str]]:
    """Yield path and text of the file for each folder of claims."""
    for folder, subjects in groupby(kselftest.subjects(), key=lambda subject: subject.partition(".")[0]):
        yield PLACE / f"{folder}.fmf", "".join([_HEAD.format(folder), *_all(folder), *map(_test, subjects)])


def _all(folder: str) -> Iterator[str]:
    """Yield what the tests of *folder* share: tmt calls an architecture as `uname -m` does."""
    processor = _PROCESSORS.get(folder)
    if processor is None:
        yield "tag: [any-architecture]\n"
        return
    yield f"tag: [{processor}]\n"
    yield "adjust:\n"
    yield f"  - when: arch is defined and arch != {processor}\n"
    yield f"    because: these claims are about KVM on {processor}\n"
    yield "    enabled: false\n"


def _test(subject: str) -> str:
    folder, _, stem = subject.partition(".")
    text = (ROOT / kselftest.module_of(subject)).read_text(encoding="utf-8")
    said = (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
    title = f"{folder}: {stem.replace('_', ' ')}"
    return (
        f"\n/{stem}:\n"
        f"    summary: {json.dumps(title)}\n"
        f"    description: {json.dumps(said, ensure_ascii=False)}\n"
        f"    environment+:\n"
        f"        SUBJECT: {subject}\n"
    )
