# SPDX-License-Identifier: GPL-2.0-only
"""Run installed programs of kselftest where there is no kernel tree: python3 is all it needs.

Prints what the kernel's own runner prints: one TAP document, the output of each program after "# ",
then its result line. Two things are better than there: a program that ignores TERM is killed
`GRACE_S` later, and the exit status has a meaning (0 all well, 1 anything failed, 4 nothing ran).
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import BinaryIO, NamedTuple, Self

FAIL = 1
SKIP = 4
TIMEOUT = 124
DEFAULT_TIMEOUT_S = 45
"""The kernel's default where a directory has no settings."""

GRACE_S = 10
"""How long a program may take to end after TERM."""


class ListedProgram(NamedTuple):
    """One program: COLLECTION:NAME of kselftest-list.txt, and the folder it lies in."""

    collection: str
    name: str
    folder: Path

    @property
    def title(self) -> str:
        """The name that the kernel's runner gives it."""
        return f"selftests: {self.collection}: {self.name}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run what *argv* chooses; return the exit status."""
    parser = _parser()
    options = parser.parse_args(argv)
    if options.programs:
        folder = options.directory.resolve()
        chosen = [ListedProgram(options.collection[0], name, folder) for name in options.programs]
    else:
        available = listed(options.base)
        if options.list:
            print("\n".join(f"{program.collection}:{program.name}" for program in available))
            return 0
        chosen = choose(available, options.collection, options.test)
    if not chosen:
        parser.error("no such program or collection; --list shows them")
    chosen = without(chosen, options.skip)
    if options.dry_run:
        print("\n".join(str(program.folder / program.name) for program in chosen))
        return 0
    if options.summary and options.per_test_log:
        parser.error("-s and -p say two places for the output of programs")
    how = Ways(options.override_timeout, options.no_error_on_fail, options.per_test_log, _prefix(options))
    if not options.summary:
        return Runner(sys.stdout.buffer, how).run(chosen)
    with (options.base / "output.log").open("wb") as log:
        return Runner(log, how).run(chosen)


def _prefix(options: argparse.Namespace) -> tuple[str, ...]:
    """Return the words in front of each program's own."""
    return ("unshare", "--net", "--") if options.netns else ()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="run_kselftest.sh", description=__doc__.splitlines()[0])
    parser.add_argument("-l", "--list", action="store_true", help="list the programs as COLLECTION:PROGRAM")
    parser.add_argument("-c", "--collection", action="append", default=[], help="run all of a collection")
    parser.add_argument("-t", "--test", action="append", default=[], metavar="COLLECTION:PROGRAM")
    parser.add_argument(
        "-S", "--skip", action="append", default=[], metavar="COLLECTION:PROGRAM", help="leave it out"
    )
    parser.add_argument("-d", "--dry-run", action="store_true", help="only print what would run")
    parser.add_argument("-f", "--no-error-on-fail", action="store_true", help="0 though programs failed")
    parser.add_argument(
        "-n", "--netns", action="store_true", help="each program in a network namespace of its own (root)"
    )
    parser.add_argument("-o", "--override-timeout", type=int, metavar="SECONDS", help="for each program")
    parser.add_argument("-s", "--summary", action="store_true", help="programs' output goes to output.log")
    parser.add_argument(
        "-p", "--per-test-log", action="store_true", help="each program's output goes to a file in /tmp"
    )
    parser.add_argument("--base", type=Path, default=Path(), help=argparse.SUPPRESS)
    parser.add_argument("--directory", type=Path, default=Path(), help=argparse.SUPPRESS)
    parser.add_argument("programs", nargs="*", help=argparse.SUPPRESS)
    return parser


def listed(base: Path) -> list[ListedProgram]:
    """Return the programs of kselftest-list.txt in *base*; none if there is no such file."""
    with suppress(OSError):
        lines = (base / "kselftest-list.txt").read_text().split()
        pairs = [line.partition(":")[::2] for line in lines]
        return [ListedProgram(collection, name, (base / collection).resolve()) for collection, name in pairs]
    return []


def choose(
    available: Iterable[ListedProgram], collections: Sequence[str], tests: Sequence[str]
) -> list[ListedProgram]:
    """Return those of *available* that *collections* or *tests* name, all if both name nothing.

    An empty list if one of the names is unknown: a part of them would look like all.
    """
    known = list(available)
    if not collections and not tests:
        return known
    names = {program: (program.collection, f"{program.collection}:{program.name}") for program in known}
    wanted = {*collections, *tests}
    if wanted - {name for pair in names.values() for name in pair}:
        return []
    return [program for program in known if wanted & {*names[program]}]


def without(programs: Iterable[ListedProgram], skipped: Sequence[str]) -> list[ListedProgram]:
    """Return *programs* except those that *skipped* names.

    Names that are not there change nothing, as in the kernel's runner: one list may serve many kernels.
    """
    return [program for program in programs if f"{program.collection}:{program.name}" not in skipped]


def settings(folder: Path) -> dict[str, str]:
    """Return the lines KEY=VALUE of the settings file in *folder*."""
    with suppress(OSError):
        lines = (folder / "settings").read_text().splitlines()
        pairs = (line.partition("=") for line in lines if not line.startswith("#"))
        return {key.strip(): value.strip() for key, mark, value in pairs if mark}
    return {}


def own_log(name: str) -> BinaryIO:
    """Return the log of the program *name*, empty: its name in the folder for temporary files.

    `OSError` for a link, since others may write there.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.fdopen(os.open(Path(tempfile.gettempdir(), name), flags, 0o644), "wb")


class Ways(NamedTuple):
    """How programs are run."""

    override_timeout_s: int | None = None
    may_fail: bool = False
    log_each: bool = False  # into a file of the program's name
    prefix: tuple[str, ...] = ()


class Runner:
    """Runs programs one after the other, and reports them on standard output."""

    def __init__(self, log: BinaryIO, how: Ways) -> None:
        self._log = log
        self._out = sys.stdout.buffer
        self._how = how
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False

    def run(self, programs: Sequence[ListedProgram]) -> int:
        """Run *programs*; return 0, 1 if one failed and none may, 4 if all were skipped.

        TERM and Ctrl-C end the running program; those that wait are skipped, and 1 comes back.
        """
        before = {number: signal.signal(number, self._stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            why = "" if programs else " # SKIP every program is left out"
            self._say(f"TAP version 13\n1..{len(programs)}{why}\n")
            statuses = [self._run_one(number, program) for number, program in enumerate(programs, 1)]
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        failed = not {*statuses} <= {0, SKIP}
        if self._stopped or (failed and not self._how.may_fail):
            return FAIL
        return 0 if failed or 0 in statuses else SKIP

    def _run_one(self, number: int, program: ListedProgram) -> int:
        if self._stopped:
            self._say(f"ok {number} {program.title} # SKIP not run\n")
            return SKIP
        timeout_s = self._timeout_s(program)
        before = self._log
        try:
            if self._how.log_each:
                self._log = own_log(program.name)
            self._write(f"# timeout set to {timeout_s}\n# {program.title}\n".encode())
            status = self._wait_for(program, timeout_s)
        except OSError as error:
            self._write(f"# cannot run {program.name}: {error.strerror}\n".encode())
            status = 126
        finally:
            if self._log is not before:
                self._log.close()
            self._log = before
        word = "ok" if status in (0, SKIP) else "not ok"
        directive = {0: "", SKIP: " # SKIP", TIMEOUT: f" # TIMEOUT {timeout_s} seconds"}
        self._say(f"{word} {number} {program.title}{directive.get(status, f' # exit={status}')}\n")
        return status

    def _timeout_s(self, program: ListedProgram) -> int:
        if self._how.override_timeout_s is not None:
            return self._how.override_timeout_s
        text = settings(program.folder).get("timeout", "")
        return int(text) if text.isdecimal() else DEFAULT_TIMEOUT_S

    def _wait_for(self, program: ListedProgram, timeout_s: int) -> int:
        """Return the exit status of *program*, 124 if its time was up, 128 + the signal it died of."""
        arguments = "KSELFTEST_" + re.sub(r"[^A-Z0-9_]", "_", program.name.upper()) + "_ARGS"
        self._process = subprocess.Popen(
            [*self._how.prefix, f"./{program.name}", *shlex.split(os.environ.get(arguments, ""))],
            cwd=program.folder,
            env={**os.environ, "kselftest_timeout": str(timeout_s)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        with self._process as process, _Limit(process, timeout_s) as limit:
            assert process.stdout is not None
            for line in process.stdout:
                self._write(b"# " + line + (b"" if line.endswith(b"\n") else b"\n"))
            status = process.wait()
        if limit.expired:
            return TIMEOUT
        return 128 - status if status < 0 else status

    def _stop(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self._stopped = True
        if self._process is not None:
            _signal(self._process, signal.SIGTERM)

    def _write(self, line: bytes) -> None:
        self._log.write(line)
        self._log.flush()

    def _say(self, text: str) -> None:
        self._out.write(text.encode())
        self._out.flush()


class _Limit:
    """Ends a program's process group when its time is up, with TERM and, if it stays, KILL."""

    def __init__(self, process: subprocess.Popen[bytes], timeout_s: int) -> None:
        self.expired = False
        self._process = process
        self._timers = [
            threading.Timer(timeout_s, self._expire),
            threading.Timer(timeout_s + GRACE_S, _signal, (process, signal.SIGKILL)),
        ]
        self._unlimited = timeout_s <= 0

    def __enter__(self) -> Self:
        for timer in [] if self._unlimited else self._timers:
            timer.daemon = True
            timer.start()
        return self

    def __exit__(self, *exception: object) -> None:
        for timer in self._timers:
            timer.cancel()

    def _expire(self) -> None:
        self.expired = True
        _signal(self._process, signal.SIGTERM)


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    # The whole group, since shells do not pass TERM on. It exists as long as output may come.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


if __name__ == "__main__":
    sys.exit(main())
