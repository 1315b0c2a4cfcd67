# SPDX-License-Identifier: GPL-2.0-only
"""A board on its console, used as LAVA uses it: log in, start the test runner, read its signals."""

from __future__ import annotations

import os
import re
import selectors
import shlex
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from fixtures.lab.emulator_process import dies_with_us
from tools.lkft.job import CannotRun, LavaJob
from tools.lkft.overlay import RUNNER

_CASE = re.compile(rb"<LAVA_SIGNAL_TESTCASE TEST_CASE_ID=(\S+) RESULT=(\w+)[^>]*>")
_EXIT = re.compile(rb"<LAVA_TEST_RUNNER EXIT>")
_ENDRUN = re.compile(rb"<LAVA_SIGNAL_ENDRUN ")
_STOP_S = 10.0


@dataclass(frozen=True, slots=True)
class JobResults:
    """What LAVA would have of a job."""

    cases: tuple[tuple[str, str], ...]  # name and result, in the order of their signals
    ended: bool  # the definition came to its end
    boot_s: float
    test_s: float


class EmulatedBoard:
    """An emulator from its start to its end; its console goes to a file as well."""

    def __init__(self, command: str, log: Path) -> None:
        """Start *command*; `CannotRun` where its program is not installed."""
        self.output = bytearray()
        self._log = log.open("wb")
        try:
            self._process = subprocess.Popen(
                [*dies_with_us(), *shlex.split(command)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        except FileNotFoundError as error:
            self._log.close()
            raise CannotRun(f"{error.filename} is not installed") from error
        self._selector = selectors.DefaultSelector()
        assert self._process.stdout is not None
        self._selector.register(self._process.stdout, selectors.EVENT_READ)

    def __enter__(self) -> Self:
        """Return the board, which ends with the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Switch it off."""
        self._process.kill()
        self._process.wait(_STOP_S)
        self._selector.close()
        for stream in (self._process.stdin, self._process.stdout, self._log):
            if stream is not None:
                stream.close()

    def expect(self, patterns: Sequence[re.Pattern[bytes]], limit_s: float, start: int = 0) -> int:
        """Return where one of *patterns* ends in the output after *start*; `CannotRun` after *limit_s*."""
        deadline_s = time.monotonic() + limit_s
        while True:
            for pattern in patterns:
                found = pattern.search(self.output, start)
                if found is not None:
                    return found.end()
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                raise CannotRun(f"the board did not print {patterns[0].pattern!r} within {limit_s:g} s")
            self._read(left_s)

    def type(self, line: str) -> None:
        """Type *line* and return."""
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()

    def _read(self, limit_s: float) -> None:
        if not self._selector.select(limit_s):
            return
        assert self._process.stdout is not None
        data = os.read(self._process.stdout.fileno(), 1 << 16)
        if not data:
            raise CannotRun("the board ended, and its console says why")
        self.output += data
        self._log.write(data)
        self._log.flush()


def run(job: LavaJob, command: str, log: Path, limit_s: float) -> JobResults:
    """Boot *command*, run the test of *job* for at most *limit_s*, and return its results."""
    begun_s = time.monotonic()
    with EmulatedBoard(command, log) as board:
        at = board.expect([re.compile(job.login_prompt.encode())], job.boot_s)
        board.type("root")
        prompts = [re.compile(each) for prompt in job.prompts for each in _as_patterns(prompt)]
        at = board.expect(prompts, job.boot_s, at)
        booted_s = time.monotonic()
        board.type(RUNNER)
        board.expect([_EXIT], limit_s, at)
        ended_s = time.monotonic()
        return results_in(bytes(board.output), booted_s - begun_s, ended_s - booted_s)


def results_in(output: bytes, boot_s: float, test_s: float) -> JobResults:
    """Return the results that the signals in *output* make."""
    cases = tuple((name.decode(), result.decode()) for name, result in _CASE.findall(output))
    return JobResults(cases, _ENDRUN.search(output) is not None, boot_s, test_s)


def _as_patterns(prompt: str) -> list[bytes]:
    """Return *prompt* as pexpect takes it, and literally: one of LKFT's is both."""
    return [prompt.encode(), re.escape(prompt.encode())]
