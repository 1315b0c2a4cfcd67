# SPDX-License-Identifier: GPL-2.0-only
"""Write contrib/tmt/tests/FOLDER.fmf: one test of tmt for each module of claims.

Exit status: 0 the files are up to date (now), 1 with --check one was not.
"""

from __future__ import annotations

import argparse
import ast
import json
import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from fixtures.architectures import ROWS
from reports.whole_file import write_file
from tools import kselftest

ROOT = Path(__file__).resolve().parent.parent
PLACE = Path("contrib/tmt/tests")
STALE = 1
_HEAD = (
    "# SPDX-License-Identifier: GPL-2.0-only\n# Written by `python3 -m tools.tmt_tree` from kvmtests/{}.\n"
)
_PROCESSORS = {row.folder: row.uname_m for row in ROWS}


def main(argv: Sequence[str]) -> int:
    """Write the files, or with --check compare them; return the exit status."""
    parser = argparse.ArgumentParser(prog="tools.tmt_tree", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="write nothing; status 1 if a file is not up to date"
    )
    check = parser.parse_args(argv).check
    stale = []
    for name, text in files():
        path = ROOT / PLACE / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(str(PLACE / name))
            if not check:
                write_file(path, [text])
    if check and stale:
        sys.stderr.write(f"tmt_tree: write {', '.join(stale)} with `python3 -m tools.tmt_tree`.\n")
        return STALE
    print("written:", ", ".join(stale) or "nothing, every file is up to date")
    return 0


def files() -> Iterator[tuple[str, str]]:
    """Yield (name, text) of the file for each folder of claims."""
    for folder, subjects in groupby(kselftest.subjects(), key=lambda subject: subject.partition(".")[0]):
        yield f"{folder}.fmf", "".join([_HEAD.format(folder), *_all(folder), *map(_test, subjects)])


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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
