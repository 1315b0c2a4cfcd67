# SPDX-License-Identifier: GPL-2.0-only
"""One subject of the suite as a kselftest program: flat TAP 13, exit status 0, 1 or 4.

The small programs that the runner knows start this one: ``kselftest.py kvm_x86_clock.sh``, or
x86.clock, runs kvmtests/x86/test_clock.py on this host's KVM. A python3 of any version is enough to
report what is missing. On TERM, which the runner sends when time is up, the document is completed.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reports.stream import TapStream

ROOT = Path(__file__).resolve().parent.parent
VENDORED = (ROOT / "vendor", ROOT / ".venv/vendor")
"""The folders of pure Python packages that come with an installed tree, or with a checkout."""

SKIP = 4
FAIL = 1
NEEDED = (3, 11)
MODULES = ("pytest", "pytest_timeout")
INTERNAL_ERROR = 3
USAGE = (2, 4)
"""The statuses of pytest and of the reporter for a command line that cannot be followed."""

MARGIN_S = 3
"""How long before the runner's time is up the session ends by itself."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the subject, or program, that *argv* names first, with pytest's arguments after it."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0].startswith("-"):
        sys.stderr.write("usage: kselftest.py SUBJECT|PROGRAM [pytest's arguments]\n")
        return FAIL
    programs = {program_of(subject): subject for subject in subjects()}
    return run(programs.get(words[0], words[0]), words[1:])


def subjects() -> list[str]:
    """Return the subjects of the suite: kvmtests/x86/test_clock.py is x86.interrupter."""
    modules = sorted((ROOT / "kvmtests").glob("*/test_*.py"))
    return [f"{module.parent.name}.{module.stem[len('test_') :]}" for module in modules]


def module_of(subject: str) -> Path:
    """Return the module of *subject*, a path from the root."""
    folder, _, stem = subject.partition(".")
    return Path("kvmtests", folder, f"test_{stem}.py")


def program_of(subject: str) -> str:
    """Return the file name of the program of *subject*, unique in its directory."""
    return f"kvm_{subject.replace('.', '_')}.sh"


def run(subject: str, arguments: Sequence[str]) -> int:
    """Print the TAP document of *subject*; return 0, 1 or 4."""
    if sys.version_info < NEEDED:
        return _skip("python3 is older than 3.11")
    interrupter = Interrupter()
    try:
        return _run(subject, arguments, interrupter)
    except KeyboardInterrupt:  # Time was up while pytest was being imported.
        print(f"TAP version 13\n1..1\nnot ok 1 {subject} # TIMEOUT {interrupter.expired}", flush=True)
        return FAIL


def _run(subject: str, arguments: Sequence[str], interrupter: Interrupter) -> int:
    sys.path[:0] = [str(ROOT), *(str(folder) for folder in VENDORED if folder.is_dir())]
    missing = [name for name in MODULES if importlib.util.find_spec(name) is None]
    if missing:
        return _skip(f"Python module {missing[0]} is not installed")
    if not (ROOT / module_of(subject)).is_file():
        return _skip(f"no claims about {subject} are in this tree")
    from reports.model import Verdict
    from reports.stream import TapStream

    # pytest captures and redirects descriptor 1; the document keeps one of its own.
    stream = TapStream(os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace"))
    try:
        status = _pytest(subject, arguments, stream)
    except KeyboardInterrupt:
        status = 0  # Time was up before pytest's session, or after it.
    interrupter.stop()
    if interrupter.expired:
        stream.expire(subject, interrupter.expired)
    elif status == INTERNAL_ERROR or (status in USAGE and not stream.planned):
        stream.expire(subject, "pytest could not run; its own output is above", Verdict.ERROR)
    else:
        stream.finish()
    return stream.exit_status


def _pytest(subject: str, arguments: Sequence[str], stream: TapStream) -> int:
    """Let pytest run *subject* with *stream* listening; return pytest's status."""
    named = _targets(arguments)
    reason = _why_none(named or ["host"])
    if reason:
        stream.skip(reason)
        return 0
    import pytest

    from reports.stream import KeptReporter

    os.chdir(ROOT)
    # Plug-ins and options that happen to be installed or set on this host are left out.
    os.environ.pop("PYTEST_ADDOPTS", None)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    words = [str(module_of(subject)), *([] if named else ["--target", "host"])]
    kept = KeptReporter()
    status = pytest.main(
        [*words, "-p", "pytest_timeout", "-p", "no:cacheprovider", *arguments], plugins=[kept, stream]
    )
    if status == INTERNAL_ERROR:
        sys.stderr.write(kept.text)
    return int(status)


class Interrupter:
    """Ends pytest as Ctrl-C would: on TERM, and shortly before the runner sends it.

    It uses a thread, as pytest-timeout already uses the process's only alarm.
    """

    def __init__(self) -> None:
        self.expired = ""
        self._why = "TERM received"
        self._timer: threading.Timer | None = None
        signal.signal(signal.SIGTERM, self._end)
        limit_s = _limit_s()
        if limit_s:
            self._timer = threading.Timer(limit_s, self._time_is_up)
            self._timer.daemon = True
            self._timer.start()

    def stop(self) -> None:
        """Let the document be completed undisturbed."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if self._timer is not None:
            self._timer.cancel()

    def _time_is_up(self) -> None:
        self._why = "time limit of kselftest reached"
        os.kill(os.getpid(), signal.SIGTERM)

    def _end(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self.expired = self._why
        raise KeyboardInterrupt


def _limit_s() -> int:
    """Return after how many seconds to end by ourselves, 0 for never."""
    with contextlib.suppress(ValueError):
        limit_s = int(os.environ.get("kselftest_timeout", "0"))  # noqa: SIM112
        return max(1, limit_s - MARGIN_S) if limit_s > 0 else 0
    return 0


def _targets(arguments: Sequence[str]) -> list[str]:
    """Return the targets that *arguments*, pytest's, name."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--target", action="append", default=[])
    with contextlib.suppress(argparse.ArgumentError):
        names = " ".join(parser.parse_known_args(arguments)[0].target)
        return names.replace(",", " ").split()
    return []


def _why_none(names: Sequence[str]) -> str:
    """Return why none of the targets *names* can be tested here, or ""; pytest refuses unknown ones."""
    from fixtures.targets import named_target, probe

    known = [named_target(name) for name in names]
    reasons = [probe(target).reason if target is not None else None for target in known]
    return str(reasons[0]) if all(reasons) else ""


def _skip(reason: str) -> int:
    # Reasons are constant texts: LKFT makes them part of the published name.
    print(f"TAP version 13\n1..0 # SKIP {reason}", flush=True)
    return SKIP


if __name__ == "__main__":
    sys.exit(main())
