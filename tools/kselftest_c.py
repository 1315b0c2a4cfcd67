# SPDX-License-Identifier: GPL-2.0-only
"""Put claims as C programs into an installed kselftest tree: `make install PROGRAMS=...`.

They are a collection of their own, kvmtests-c, next to that of the modules: each is linked statically,
runs without Python, and has its source next to it. docs/kselftest.md describes it.
"""

from __future__ import annotations

import argparse
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tools.interruption import started

ROOT = Path(__file__).resolve().parents[1]
COLLECTION = "kvmtests-c"
FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra", "-pthread", "-static")
SETTINGS = "settings"
FAIL = 1


class NotInstalled(Exception):
    """No program can be installed; the text is one sentence without a full stop."""


def main(argv: Sequence[str]) -> int:
    """Install what *argv* names; return 0, or 1 where nothing is installed."""
    arguments = _parser().parse_args(argv)
    compiler = arguments.cc or ["cc"]
    try:
        if shutil.which(compiler[0]) is None:
            raise NotInstalled(
                f"the compiler {compiler[0]!r} is not installed; install it, or name one with CC="
            )
        with tempfile.TemporaryDirectory(prefix="kvmtests-c-") as name:
            sources = by_program(_sources(arguments.programs, arguments.target, Path(name)))
            built = [_built(compiler, source, Path(name, program)) for program, source in sources.items()]
            _install(arguments.install_path, built, sources.values())
    except NotInstalled as reason:
        sys.stderr.write(f"make install: {reason}.\n")
        return FAIL
    except OSError as error:
        place = error.filename or arguments.install_path
        sys.stderr.write(f"make install: {place}: {error.strerror}; the C programs are not complete.\n")
        return FAIL
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tools.kselftest_c", description=__doc__.splitlines()[0])
    parser.add_argument("--install-path", type=Path, required=True, help="the tree that `make install` made")
    parser.add_argument("--target", default="host", help="where claims run once to be recorded")
    parser.add_argument("--cc", action="append", metavar="WORD", help="the compiler, a word at a time")
    parser.add_argument("programs", nargs="+", help="node ids of claims, C files, or folders of C files")
    return parser


def _sources(words: Iterable[str], target: str, folder: Path) -> list[Path]:
    """Return the C files that *words* name; claims among them are exported into *folder*."""
    files: list[Path] = []
    claims: list[str] = []
    for word in words:
        inside = sorted(Path(word).glob("*.c"))
        if inside or ("::" not in word and word.endswith(".c")):
            files += inside or [Path(word)]
        else:
            claims.append(word)
    if claims:
        # Its status does not count: it has said why a case has no program, and the others are installed.
        # Recording changes how modules are imported, so it has a process of its own.
        command = [sys.executable, "-m", "tools.export_c", "--target", target, "--into", str(folder)]
        subprocess.run([*command, "--", *claims], cwd=ROOT, check=False)
        files += sorted(folder.glob("*.c"))
    if not files:
        raise NotInstalled("PROGRAMS names nothing that has a C program")
    return files


def by_program(sources: Iterable[Path]) -> Mapping[str, Path]:
    """Return *sources* by the name of their program; `NotInstalled` where one cannot be on a list."""
    found: dict[str, Path] = {}
    for source in sources:
        name = source.stem
        if not re.fullmatch(r"\w[\w.+-]*", name, re.ASCII) or name == SETTINGS:
            raise NotInstalled(f"{str(source)!r} gives no usable name for a program; rename the file")
        if name in found:
            raise NotInstalled(f"{str(found[name])!r} and {str(source)!r} would be the same program")
        found[name] = source
    return found


def _built(compiler: Sequence[str], source: Path, program: Path) -> Path:
    """Return *program*, compiled from *source*; `NotInstalled` after the compiler's own words."""
    command = [*compiler, *FLAGS, "-o", str(program), str(source.absolute())]
    if subprocess.run(command, check=False).returncode:
        raise NotInstalled(
            f"{shlex.join(compiler)} cannot make a program of {source.name!r} that is linked statically; "
            "what it says is above"
        )
    return program


def _install(tree: Path, programs: Sequence[Path], sources: Iterable[Path]) -> None:
    """Copy *programs* and *sources* into the collection of *tree*, and append them to its list."""
    collection = tree / COLLECTION
    collection.mkdir(parents=True, exist_ok=True)
    for path in (*programs, *sources, ROOT / SETTINGS):
        shutil.copy(path, collection)
    with (tree / "kselftest-list.txt").open("a", encoding="ascii") as listing:
        listing.writelines(f"{COLLECTION}:{program.name}\n" for program in programs)


if __name__ == "__main__":
    sys.exit(started(main))
