# SPDX-License-Identifier: GPL-2.0-only
"""Run one subject of the suite as a test of tmt: results.yaml, a journal and logs in $TMT_TEST_DATA.

The tests of contrib/tmt start it: ``python3 -m tools.tmt_run x86.tsc_offset``. The subject runs as
a program of kselftest, whose document is the test's output; words in $KVMTESTS_ARGS go to pytest. What
the program needs, and a host without it, are as described in docs/kselftest.md.

Exit status: 0 results.yaml is written, 2 wrong usage. Verdicts stand in results.yaml alone.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from reports import read_journal, tmt
from reports.whole_file import ReportError, write_file
from tools import kselftest

ROOT = Path(__file__).resolve().parent.parent
USAGE = 2
JOURNAL = "journal.jsonl"
_NOTHING = re.compile(r"1\.\.0 # SKIP (.*)")


def main(argv: Sequence[str]) -> int:
    """Run the subject that *argv* names; return the exit status."""
    folder = os.environ.get("TMT_TEST_DATA", "")
    if len(argv) != 1 or argv[0] not in kselftest.subjects():
        sys.stderr.write(
            "tmt_run: name one subject, as x86.tsc_offset for kvmtests/x86/test_tsc_offset.py.\n"
        )
        return USAGE
    if not folder:
        sys.stderr.write("tmt_run: TMT_TEST_DATA names no folder; tmt sets it for its tests.\n")
        return USAGE
    try:
        return run(argv[0], Path(folder), shlex.split(os.environ.get("KVMTESTS_ARGS", "")))
    except (ValueError, ReportError) as error:
        sys.stderr.write(f"tmt_run: {error}.\n")
        return USAGE


def run(subject: str, folder: Path, arguments: Sequence[str]) -> int:
    """Run *subject* with pytest's *arguments*, and write what tmt reads into *folder*; return 0."""
    journal = folder / JOURNAL
    journal.unlink(missing_ok=True)  # Of a test that tmt starts again.
    words = [sys.executable, "-u", str(ROOT / "tools/kselftest.py"), subject, "--journal", str(journal)]
    with subprocess.Popen(
        [*words, *arguments], stdout=subprocess.PIPE, text=True, errors="replace"
    ) as program:
        assert program.stdout is not None
        reason = _passed_on(program.stdout)
    results = read_journal.read([journal]) if journal.exists() else None
    if results is not None and results.results:
        for name, text in tmt.logs(results):
            write_file(folder / name, text)
        lines = tmt.results(results, JOURNAL)
    elif program.returncode == kselftest.SKIP:
        lines = tmt.nothing(reason or "nothing could run", "skip")
    else:
        lines = tmt.nothing(f"no test ran: status {program.returncode}, see the output", "error")
    write_file(folder / "results.yaml", lines)
    return 0


def _passed_on(lines: Iterable[str]) -> str:
    """Print the *lines* of a TAP document as they come; return why nothing ran, if they say so."""
    reason = ""
    for line in lines:
        sys.stdout.write(line)
        sys.stdout.flush()
        if found := _NOTHING.match(line):
            reason = found[1]
    return reason


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
