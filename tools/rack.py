# SPDX-License-Identifier: GPL-2.0-only
"""Run the claims on every board of a labgrid environment, into one journal and one report (`make rack`).

Each board has a process of its own (tools/rack_board.py), and all run at the same time. docs/rack.md
says what the boards need. Exit status: as `make check`; a board that was lost is an error.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from reports import read_journal, summary
from reports.files import write_reports
from reports.lock import Held, Lock
from reports.model import Run, exit_status
from reports.whole_file import ReportError, write_file
from tools import rack_journal, rack_tree
from tools.arguments import USAGE, Parser, number_from
from tools.vendor import VendorError

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = ROOT / ".venv/rack"
PLACE = "/tmp/kvmtests-rack"  # noqa: S108  # on a board, in a folder of its name
LIST_S = 120
"""For labgrid to read an environment, in s."""


class NoRack(Exception):
    """The rack cannot be used; the text is one sentence without a full stop."""


def main(argv: Sequence[str]) -> int:
    """Run the claims on the boards that *argv* names; return the exit status."""
    options = _parse(argv)
    try:
        if options.env is None:
            raise NoRack("ENV names no environment of labgrid, as in ENV=lab.yaml")
        boards = chosen(boards_of(options.env), options.board)
        options.out.mkdir(parents=True, exist_ok=True)
        with Lock(options.out), tempfile.TemporaryDirectory(prefix="kvmtests-rack-") as name:
            tree = rack_tree.build(ROOT, Path(name) / "tree.tar.gz")
            run_on(boards, tree, options)
            run, written = collect(boards, options.out)
    except (NoRack, Held, ReportError, VendorError) as error:
        return _refuse(str(error))
    except KeyboardInterrupt:
        return _refuse("interrupted; what came back is in each board's folder")
    except OSError as error:
        return _refuse(f"{error.filename or options.out} cannot be used: {error.strerror or error}")
    for line in summary.lines(run):
        print(line)
    print(f"reports in {options.out}/: {summary.places(written, options.out)}")
    return exit_status(run.results)


def boards_of(environment: Path) -> list[str]:
    """Return the names of the boards that the file *environment* describes; `NoRack`."""
    if not environment.is_file():
        raise NoRack(f"there is no environment {environment}")
    if not (ENVIRONMENT / "bin/python").is_file():
        raise NoRack("labgrid is not installed; `make rack` installs it into .venv/rack")
    done = subprocess.run(
        [*_labgrid(), "--env", str(environment), "--list"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LIST_S,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        raise NoRack(f"labgrid cannot read {environment}: {last}")
    found = [str(name) for name in json.loads(done.stdout.splitlines()[-1])]
    if not found:
        raise NoRack(f"{environment} names no board")
    return found


def chosen(boards: Sequence[str], names: Sequence[str]) -> list[str]:
    """Return those of *boards* that *names* name, all of them without names; `NoRack`."""
    for name in names:
        if name not in boards:
            raise NoRack(f"the environment has no board {name}; it has {', '.join(boards)}")
    for board in boards:
        if "/" in board or board.startswith("."):
            raise NoRack(f"{board!r} cannot be the name of a folder")
    return list(names or boards)


def run_on(boards: Sequence[str], tree: Path, options: argparse.Namespace) -> None:
    """Run the suite in *tree* on all *boards* at once; what comes back is in a folder for each."""
    processes = []
    try:
        for board in boards:
            folder = rack_journal.fresh(options.out, board)
            with (folder / "rack.log").open("wb") as log:
                words = [
                    *_labgrid(),
                    *_board_words(board, tree, folder, options),
                    "--",
                    *pytest_words(options),
                ]
                processes.append(
                    subprocess.Popen(words, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
                )
            print(f"{board}: started, see {folder}/rack.log", flush=True)
        for board, process in zip(boards, processes, strict=True):
            print(f"{board}: {'done' if process.wait() == 0 else 'lost'}", flush=True)
    finally:
        for process in processes:
            if process.poll() is None:
                process.terminate()


def pytest_words(options: argparse.Namespace) -> list[str]:
    """Return pytest's words on each board."""
    words = ["kvmtests", "-p", "tools.rack_marks", "-p", "no:cacheprovider", "--journal=journal.jsonl"]
    # The disk may die with the board, and a journal that is fetched must name the test that ran.
    words += ["--journal-sync=start"]
    for target in options.target or ["host"]:
        words += ["--target", target]
    words += ["-k", options.keyword] if options.keyword else []
    words += [] if options.all or options.keyword else ["-m", "not thorough"]
    return [*words, *options.pytest_arguments]


def collect(boards: Sequence[str], out: Path) -> tuple[Run, list[Path]]:
    """Make one journal and its reports of what came back from *boards* into *out*."""
    lines = [line for board in boards for line in rack_journal.lines(board, rack_journal.place(out, board))]
    journal = write_file(out / "journal.jsonl", lines)
    run = read_journal.read([journal])
    return run, write_reports(run, out)


def _board_words(board: str, tree: Path, folder: Path, options: argparse.Namespace) -> list[str]:
    words = ["--env", str(options.env.resolve()), "--board", board, "--tree", str(tree)]
    words += [
        "--folder",
        str(folder.resolve()),
        "--python",
        options.python,
        "--minutes",
        str(options.minutes),
    ]
    return [*words, "--place", f"{options.folder}/{board}"]


def _labgrid() -> list[str]:
    return [str(ENVIRONMENT / "bin/python"), "-B", "-m", "tools.rack_board"]


def _refuse(sentence: str) -> int:
    sys.stderr.write(f"rack: {sentence}.\n")
    return USAGE


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser(prog="rack", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--env", type=Path, metavar="FILE", help="labgrid's environment, which names the boards"
    )
    parser.add_argument("--board", action="append", default=[], metavar="NAME", help="only this board")
    parser.add_argument("--out", type=Path, default=Path("out"), metavar="DIR", help="where reports go")
    parser.add_argument("--python", default="python3", help="the boards' Python, 3.11 or newer")
    parser.add_argument("--folder", default=PLACE, help="where on the boards the suite goes")
    parser.add_argument("--minutes", type=number_from(1), default=60, help="for the suite on each board")
    parser.add_argument("--target", action="append", default=[], help="what to test there (default: host)")
    parser.add_argument("--all", action="store_true", help="also the claims marked thorough")
    parser.add_argument("-k", dest="keyword", metavar="EXPRESSION", help="only tests that match")
    parser.add_argument("pytest_arguments", nargs="*", metavar="-- ARGUMENTS", help="pytest's own arguments")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
