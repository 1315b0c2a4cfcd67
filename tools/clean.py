# SPDX-License-Identifier: GPL-2.0-only
"""Remove what the commands made (`make clean`): the environment, caches, programs, and reports.

A file is removed only if one of our commands wrote it. In a folder of reports that means: the folder
holds a journal of ours, or a file that our commands write without one and that its content shows to
be ours, and the file has a name that we give. All other files stay, and so do their folders. Links
are not followed. Runs on a bare python3.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from reports import earlier, lock
from tools import bundle_tar

ROOT = Path(__file__).resolve().parent.parent
USAGE = 2

CACHES = (".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis")
"""Folders that linters and tests make in this checkout."""

ROOMS = ("fixtures", "kvmtests", "reports", "tools")

PROGRAM = "# The claims of one module as a program of kselftest."
"""The line that identifies every copy of tools/kselftest_program.sh."""

CHECKERS = ("check-c", "check-rust")
"""What `make vectors-check` builds in contrib/vectors/build."""

JOURNAL = "journal.jsonl"

WITHOUT_JOURNAL = {
    "defects.json": ("defects.json", "defects.html"),
    "mutants.json": ("mutants.json", "mutants.html"),  # of the last release
    "vectors.json": ("vectors.json",),
    "kvmtests-precheck": ("kvmtests-precheck",),
    bundle_tar.FILE: (bundle_tar.FILE,),
}
"""What commands leave in a folder without a journal, by the file whose content is looked at."""

REPORTS = (
    "results.ktap", "results.tap", "results.csv", "junit.xml", "junit-located.xml", "report.html",
    "kcidb.json", "lava/results.txt", "lab-matrix.md", "lab-knobs.md", "moves.md", "moves.json",
    *earlier.FORMER_NAMES,
    *(f"{folder}/{earlier.LIST}" for folder in earlier.FOLDERS),
    *(name for names in WITHOUT_JOURNAL.values() for name in names),
)  # fmt: skip
"""Files of fixed name in a folder of reports, next to its journal."""

PATTERNS = (
    "bench/*.csv", "lava/*.log", "squad/*.tests.json", "squad/*.metrics.json", "squad/*.metadata.json",
    "agreement/*.json", "lab/*/console-*.log", "lab/*/records-*.jsonl",
    "lab/*/timing.json", "lab/*/initramfs", "guests/*.json",
    "lab/*/*/console-*.log", "lab/*/*/records-*.jsonl", "lab/*/*/timing.json", "lab/*/*/initramfs",
)  # fmt: skip
"""Files of which a run leaves any number."""

LAST = (f"{JOURNAL}.unfinished", JOURNAL, lock.FILE)
"""What shows that a folder is ours is removed last, because cleaning may be interrupted."""

_TEMPORARY = re.compile(r"\.(?P<name>.+)\.[a-z0-9_]{8}")  # of a writer that was killed


def main(argv: Sequence[str]) -> int:
    """Clean the checkout, and the folder of reports that *argv* names; 0, or 2 with a sentence."""
    parser = argparse.ArgumentParser(prog="clean", description=__doc__.splitlines()[0])
    parser.add_argument(
        "folder", metavar="DIR", help="reports to remove; a relative path starts at the checkout"
    )
    folder = ROOT / parser.parse_args(argv).folder
    try:
        left = clean_reports(folder)
        clean_checkout(ROOT)
    except lock.Held as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(f"cannot remove {error.filename}: {error.strerror}")
    if left:
        sys.stderr.write(f"clean: {folder} stays, {left}.\n")
    return 0


def clean_checkout(root: Path) -> None:
    """Remove caches, byte code, built programs and the environment from the checkout *root*."""
    for cache in _byte_code(root):
        for file in cache.glob("*.pyc*"):
            file.unlink()
        _remove_empty(cache)
    for program in root.glob("kvm_*.sh"):
        if _is_file(program) and PROGRAM in program.read_text(encoding="utf-8", errors="replace"):
            program.unlink()
    for name in CACHES:
        _remove_tree(root / name)
    for checker in CHECKERS:
        if _is_file(program := root / "contrib/vectors/build" / checker):
            program.unlink()
    _remove_empty(root / "contrib/vectors/build")
    environment = root / ".venv"
    if (environment / "pyvenv.cfg").is_file() or (environment / "pycache").is_dir():
        _remove_tree(environment)


def clean_reports(folder: Path) -> str:
    """Remove our files from *folder* and from the benchmarks in it.

    Return why it was left alone, or "" if it was cleaned; `lock.Held` while a run writes there.
    """
    if not os.path.lexists(folder):
        return ""
    if not _is_folder(folder):
        return "it is a link, or not a folder"
    inner = _clean(folder / "benchmarks")
    if _clean(folder) or inner:
        _remove_empty(folder)
        return ""
    return "it holds no journal of ours" if any(folder.iterdir()) else ""


def _clean(folder: Path) -> bool:
    """Remove our files from *folder*, and the folder if it is empty then; return whether it was ours."""
    files = ours(folder)
    if not files:
        return False
    with lock.Lock(folder):
        for file in files:
            file.unlink()
    for inner in ("squad", "lava", "bench", "agreement", "guests", "lab/*/*", "lab/*", "lab"):
        for each in folder.glob(inner):
            _remove_empty(each)
    (folder / lock.FILE).unlink(missing_ok=True)
    _remove_empty(folder)
    return True


def ours(folder: Path) -> list[Path]:
    """Return the files in *folder* that our commands wrote, in the order in which to remove them."""
    if not _is_folder(folder):
        return []
    if not any(_begins_as_ours(folder / name) for name in LAST[:2]):
        known = [names for first, names in WITHOUT_JOURNAL.items() if _content_is_ours(folder / first)]
        return [folder / name for names in known for name in names if _is_file(folder / name)]
    found = [folder / name for name in REPORTS]
    found += [path for pattern in PATTERNS for path in sorted(folder.glob(pattern))]
    found += [path for path in sorted(folder.glob("**/.*")) if _is_temporary(path, folder)]
    found += [folder / name for name in LAST[:2]]
    return [path for path in found if _is_file(path) and _is_below(path, folder)]


def _begins_as_ours(journal: Path) -> bool:
    if not _is_file(journal):
        return False
    with journal.open("rb") as lines:
        record = _json(lines.readline(1 << 20))
    return isinstance(record, dict) and record.get("type") == "session" and "version" in record


def _content_is_ours(path: Path) -> bool:
    if path.suffix != ".json":
        return _is_file(path) and (bundle_tar.is_bundle(path) or _is_precheck(path))
    record = _json(path.read_bytes()) if _is_file(path) else None
    if not isinstance(record, dict) or "version" not in record:
        return False
    return isinstance(record.get("defects"), list) or record.get("format") == "kvmtests-vectors"


def _is_precheck(path: Path) -> bool:
    """Return whether `make precheck` wrote *path*."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return "fixtures/precheck/bundled.py" in archive.namelist()


def _json(text: bytes) -> object:
    try:
        found: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found


def _is_temporary(path: Path, folder: Path) -> bool:
    match = _TEMPORARY.fullmatch(path.name)
    if match is None:
        return False
    name = (path.parent / match["name"]).relative_to(folder)
    return str(name) in REPORTS or any(name.match(pattern) for pattern in PATTERNS)


def _is_below(path: Path, folder: Path) -> bool:
    """Whether no folder on the way from *folder* to *path* is a link."""
    between = [parent for parent in path.parents if folder in parent.parents]
    return all(_is_folder(parent) for parent in between)


def _byte_code(root: Path) -> Iterator[Path]:
    yield root / "__pycache__"
    for room in ROOMS:
        yield from (root / room).rglob("__pycache__")


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _remove_tree(path: Path) -> None:
    if _is_folder(path):
        shutil.rmtree(path)


def _remove_empty(folder: Path) -> None:
    if _is_folder(folder):
        with contextlib.suppress(OSError):
            folder.rmdir()


def _fail(sentence: str) -> int:
    sys.stderr.write(f"clean: {sentence}.\n")
    return USAGE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
