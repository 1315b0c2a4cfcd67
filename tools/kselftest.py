# SPDX-License-Identifier: GPL-2.0-only
"""One subject of the suite as a kselftest program: flat TAP 13, exit status 0, 1 or 4.

The small programs in TEST_PROGS hand over here: ``kselftest.py x86.clock`` runs
kvmtests/x86/test_clock.py on this machine's KVM. Nothing but python3 is needed to say what is
missing. On TERM, which the runner sends when time is up, the document is completed.
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

ROOT = Path(__file__).resolve().parent.parent
VENDOR = ROOT / "vendor"
"""Pure Python packages that an installed tree brings along."""

SKIP = 4
FAIL = 1
MODULES = ("pytest", "pytest_timeout")
MARGIN_S = 3
"""How long before the runner's time is up the session ends by itself."""

PROGRAM = """\
#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# The claims about {subject}, as one program of kselftest.
here=$(dirname "$0")
[ -e "$here/tools/kselftest.py" ] || here=$here/..
if ! command -v python3 >/dev/null; then
	printf 'TAP version 13\\n1..0 # SKIP python3 is not installed\\n'
	exit 4
fi
exec python3 -u "$here/tools/kselftest.py" {subject} "$@"
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subject, or write the programs; return the exit status."""
    parser = argparse.ArgumentParser(prog="kselftest", description=__doc__.splitlines()[0])
    parser.add_argument("subject", nargs="?", help="what to run, such as x86.clock")
    parser.add_argument("--programs", type=Path, metavar="DIR", help="write one program for each subject")
    options, pytest_arguments = parser.parse_known_args(argv)
    if options.programs is not None:
        write_programs(options.programs)
        return 0
    if options.subject is None:
        parser.error("no subject given")
    return run(options.subject, pytest_arguments)


def subjects() -> list[str]:
    """Return the subjects of the suite: kvmtests/x86/test_clock.py is x86.clock."""
    modules = sorted((ROOT / "kvmtests").glob("*/test_*.py"))
    return [f"{module.parent.name}.{module.stem.removeprefix('test_')}" for module in modules]


def module_of(subject: str) -> Path:
    """Return the module of *subject*, a path from the root."""
    folder, _, stem = subject.partition(".")
    return Path("kvmtests", folder, f"test_{stem}.py")


def program_of(subject: str) -> str:
    """Return the file name of the program of *subject*, unique in its directory."""
    return f"kvm_{subject.replace('.', '_')}.sh"


def write_programs(folder: Path) -> None:
    """Write the program of each subject into *folder*, executable; take out those of none."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {program_of(subject): subject for subject in subjects()}
    for old in folder.glob("kvm_*.sh"):
        if old.name not in names:
            old.unlink()
    for name, subject in names.items():
        path = folder / name
        path.write_text(PROGRAM.format(subject=subject))
        path.chmod(0o755)


def run(subject: str, arguments: Sequence[str]) -> int:
    """Print the TAP document of *subject*; return 0, 1 or 4."""
    sys.path[:0] = [str(ROOT), *([str(VENDOR)] if VENDOR.is_dir() else [])]
    missing = [name for name in MODULES if importlib.util.find_spec(name) is None]
    if missing:
        return _skip(f"Python module {missing[0]} is not installed")
    if not (ROOT / module_of(subject)).is_file():
        return _skip(f"no claims about {subject} are in this tree")
    reason = "" if "--target" in arguments else _why_not_host()
    if reason:
        return _skip(reason)
    return _pytest(subject, arguments)


def _pytest(subject: str, arguments: Sequence[str]) -> int:
    import pytest

    from reports.stream import TapStream

    # pytest captures and redirects descriptor 1; the document keeps one of its own.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace")
    stream = TapStream(out)
    words = [str(module_of(subject)), *([] if "--target" in arguments else ["--target", "host"])]
    quiet = ["-p", "no:terminal", "-p", "no:cacheprovider", "-p", "no:xdist"]
    clock = Clock()
    os.chdir(ROOT)
    status = pytest.main([*words, *quiet, *arguments], plugins=[stream])
    clock.stop()
    if clock.expired:
        stream.expire(subject, clock.expired)
    else:
        stream.finish()
    return FAIL if status == pytest.ExitCode.INTERNAL_ERROR else stream.exit_status


class Clock:
    """Ends pytest as Ctrl-C would: on TERM, and shortly before the runner sends it.

    Not with an alarm: pytest-timeout has the one that a process can have.
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


def _why_not_host() -> str:
    """Return why this machine's KVM cannot be asked, or nothing."""
    from fixtures.targets import named_target, probe

    target = named_target("host")
    return "" if target is None else probe(target).reason or ""


def _skip(reason: str) -> int:
    # Reasons are constant texts: LKFT makes them part of the published name.
    print(f"TAP version 13\n1..0 # SKIP {reason}", flush=True)
    return SKIP


if __name__ == "__main__":
    sys.exit(main())
