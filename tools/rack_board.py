# SPDX-License-Identifier: GPL-2.0-only
"""One board of a rack: labgrid brings it up, the suite is sent and runs there, its journal comes home.

A process of its own for each board, in an environment of its own (.venv/rack), since labgrid brings many
packages along. Whatever happens to the board, its folder then holds journal.jsonl as far as it came,
rack.log, the console's log, and ended.json: how the run ended, and in which test if the board died.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tools.rack_console import END, FROM, PANIC, last_words

SILENCE_S = 300
"""For a console to say nothing while tests run, each of which it names, in s; a hung one ends after 60."""

CHUNK = 30_000
"""Bytes of a journal fetched at once: what a console takes in a few seconds."""

ANSWER_S = 60
"""For a board to answer a short command, in s: a busy emulated one is slow."""

SEND_S = 600

SSH_LOST = 255
"""What ssh returns where the connection is the trouble."""

LAST_WORDS_S = 5
"""For what a dying board still says on its console, in s."""


class BoardLost(Exception):
    """The board cannot be used, or stopped answering; the text is one sentence without a full stop."""


def main(argv: Sequence[str]) -> int:
    """List the boards of an environment, or run the suite on one; 0, or 1 for a board that was lost."""
    options = _parse(argv)
    from labgrid import Environment

    environment = Environment(str(options.env))
    if options.list:
        print(json.dumps(sorted(environment.config.get_targets())))
        return 0
    from labgrid.consoleloggingreporter import ConsoleLoggingReporter

    ConsoleLoggingReporter.start(str(options.folder))
    ended: dict[str, Any] = {}
    try:
        board = Board(environment.get_target(options.board), options)
        ended = {"status": board.run(options.words)}
    except BoardLost as lost:
        ended = {"lost": str(lost), **last_words(options.folder)}
    finally:
        (options.folder / "ended.json").write_text(json.dumps(ended))
    environment.cleanup()
    return int("lost" in ended)


class Board:
    """A board that is up, reached by the best means its environment names: SSH, or the console's shell."""

    def __init__(self, target: Any, options: argparse.Namespace) -> None:
        from labgrid.protocol import CommandProtocol, ConsoleProtocol, FileTransferProtocol
        from labgrid.strategy import Strategy

        self._options = options
        self._place = shlex.quote(options.place)
        self._offset = 0
        self._console: Any = None
        try:
            strategy = _driver(target, Strategy, activate=False)
            if strategy is not None:
                self._say("booting")
                strategy.transition("shell")
            self._console = _driver(target, ConsoleProtocol)
            self._command = target.get_driver(CommandProtocol)
            self._files = target.get_driver(FileTransferProtocol)
        except Exception as error:  # noqa: BLE001  # labgrid's drivers raise whatever they meet
            raise BoardLost(f"it cannot be reached: {_sentence(error)}") from None
        # Where the shell is the console's, commands read it.
        shell = getattr(self._command, "console", None)
        self._by_console = shell is not None and shell is self._console

    def run(self, words: Sequence[str]) -> int:
        """Send the suite, run it with pytest's *words*, and return pytest's status; `BoardLost`."""
        self._send()
        level = self._do("cut -f1 /proc/sys/kernel/printk", may_fail=True).strip()
        self._do("dmesg -n 7", may_fail=True)  # so that the console shows which test runs
        pytest = shlex.join([self._options.python, "-m", "pytest", *words])
        there = f"cd {self._place} && {{ PYTHONPATH=vendor {pytest} >pytest.log 2>&1; echo $? >status; }}"
        # In two words: the console echoes the command, and must not show the end before it comes.
        there += f"; printf '<5>{FROM} %s\\n' {END.split()[-1]} >/dev/kmsg"
        self._say("running")
        self._do(f"(sh -c {shlex.quote(there)} </dev/null >/dev/null 2>&1 &)")
        deadline_s = time.monotonic() + 60 * self._options.minutes
        if self._by_console:
            self._watch(deadline_s)
        with (self._options.folder / "journal.jsonl").open("wb") as journal:
            while (status := self._fetch(journal)) is None:
                if time.monotonic() > deadline_s:
                    raise BoardLost(f"it did not end within {self._options.minutes} minutes")
        (self._options.folder / "pytest.log").write_text(self._do(f"tail -n 40 {self._place}/pytest.log"))
        self._do(f"rm -rf {self._place}")
        if level.isdecimal():
            self._do(f"dmesg -n {level}", may_fail=True)
        return status

    def _send(self) -> None:
        self._say("sending the suite")
        self._do(f"rm -rf {self._place} && mkdir -p {self._place}")
        try:
            self._files.put(str(self._options.tree), f"{self._options.place}/tree.tar.gz")
        except Exception as error:  # noqa: BLE001
            raise BoardLost(f"the suite cannot be sent: {_sentence(error)}") from None
        self._do(f"cd {self._place} && tar -xzf tree.tar.gz && rm tree.tar.gz", limit_s=SEND_S)

    def _watch(self, deadline_s: float) -> None:
        """Read the console until it says that the run has ended; `BoardLost` where it does not.

        Nothing is typed meanwhile: an answer would stand among the kernel's messages. So a board that
        dies takes its results along, except for the test that it names.
        """
        from pexpect import TIMEOUT

        said, heard_s = b"", time.monotonic()
        while END.encode() not in said:
            try:
                new = self._console.read(size=1, timeout=1, max_size=4096)
            except TIMEOUT:
                new = b""
            said, heard_s = (said + new)[-8192:], time.monotonic() if new else heard_s
            if PANIC in said:
                self._listen(LAST_WORDS_S)
                raise BoardLost("its kernel panicked")
            if time.monotonic() > min(heard_s + SILENCE_S, deadline_s):
                raise BoardLost(
                    f"its console is silent for {time.monotonic() - heard_s:.0f} s, and no end was seen"
                )
        self._do("dmesg -n 1", may_fail=True)

    def _fetch(self, journal: Any) -> int | None:
        """Bring what is new of the journal; return pytest's status once all of it is here."""
        if not self._by_console:
            self._listen(1.0)
        said = self._do(
            f"cd {self._place}; tail -c +{self._offset + 1} journal.jsonl 2>/dev/null"
            f" | head -c {CHUNK} | base64; echo status:$(cat status 2>/dev/null)"
        )
        encoded, _, status = said.rpartition("status:")
        try:
            piece = base64.b64decode("".join(encoded.split()), validate=True)
        except binascii.Error:
            return None  # A message stood in between: once more.
        journal.write(piece)
        journal.flush()
        self._offset += len(piece)
        return int(status) if status.strip().isdecimal() and not piece else None

    def _do(self, command: str, *, limit_s: int = ANSWER_S, may_fail: bool = False) -> str:
        """Return what *command* printed there; `BoardLost` if it fails, or nothing answers."""
        try:
            said, complaint, status = self._command.run(command, timeout=limit_s)
        except Exception as error:  # noqa: BLE001
            self._listen(LAST_WORDS_S)
            raise BoardLost(f"it does not answer: {_sentence(error)}") from None
        if status == SSH_LOST and not self._by_console:
            self._listen(LAST_WORDS_S)
            raise BoardLost(f"it does not answer: {' '.join(complaint) or 'the connection ended'}")
        if status and not may_fail:
            reason = " ".join(complaint or said)
            raise BoardLost(f"{command.split(maxsplit=1)[0]} failed there with status {status}: {reason}")
        return "\n".join(said)

    def _listen(self, length_s: float) -> None:
        """Read the console for *length_s*; what it says goes into its log."""
        from pexpect import EOF, TIMEOUT

        end_s = time.monotonic() + length_s
        while (left_s := end_s - time.monotonic()) > 0:
            if self._console is None:
                time.sleep(left_s)
                return
            try:
                self._console.read(size=1, timeout=left_s, max_size=4096)
            except TIMEOUT:
                return
            except (EOF, OSError):
                time.sleep(max(0.0, end_s - time.monotonic()))
                return

    def _say(self, words: str) -> None:
        print(f"{self._options.board}: {words}", flush=True)


def _driver(target: Any, protocol: Any, *, activate: bool = True) -> Any:
    """Return the driver of *target* for *protocol*, None if its environment names none."""
    from labgrid.exceptions import NoDriverFoundError

    try:
        return target.get_driver(protocol, activate=activate)
    except NoDriverFoundError:
        return None


def _sentence(error: Exception) -> str:
    if isinstance(error, subprocess.TimeoutExpired):
        return f"nothing came back within {error.timeout:.0f} s"
    first = str(error).strip().partition("\n")[0]
    return first[:200].rstrip(".") or type(error).__name__


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="rack_board", description=__doc__.splitlines()[0])
    parser.add_argument("--env", type=Path, required=True, metavar="FILE", help="labgrid's environment")
    parser.add_argument("--list", action="store_true", help="print the names of its boards as JSON")
    parser.add_argument("--board", help="the board's name there")
    parser.add_argument("--tree", type=Path, help="the suite, a tar.gz")
    parser.add_argument("--folder", type=Path, help="where what comes back goes")
    parser.add_argument("--place", default="/tmp/kvmtests-rack", help="where on the board the suite goes")  # noqa: S108
    parser.add_argument("--python", default="python3", help="the board's Python")
    parser.add_argument("--minutes", type=int, default=60, help="for the suite")
    parser.add_argument("words", nargs="*", metavar="-- WORDS", help="pytest's")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
