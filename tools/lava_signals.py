# SPDX-License-Identifier: GPL-2.0-only
"""Report the results in a log of kselftest to LAVA, by one signal on the console for each.

It runs on the board after run_kselftest.sh, needs nothing but python3, and prints what LAVA's own
lava-test-case would.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from reports import read_ktap
from reports.model import Run
from reports.names import slug
from reports.squad import word


def main(argv: Sequence[str]) -> int:
    """Print the signals for the log that *argv* names; 1 if it holds no result, 2 if it cannot be read."""
    if len(argv) != 1:
        sys.stderr.write("lava_signals: name one log of run_kselftest.sh.\n")
        return 2
    try:
        run = read_ktap.parse(Path(argv[0]).read_text(errors="replace"))
    except OSError as error:
        sys.stderr.write(f"lava_signals: cannot read {argv[0]}: {error.strerror}.\n")
        return 2
    for line in signals(run):
        print(line, flush=True)
    return 0 if run.results else 1


def signals(run: Run) -> Iterator[str]:
    """Yield LAVA's signal for each result of *run*: no white space, "=" or ">" in names."""
    for result in run.results:
        name = slug(f"{result.subject}.{result.name}" if result.subject else result.name)
        yield f"<LAVA_SIGNAL_TESTCASE TEST_CASE_ID={name} RESULT={word(result)}>"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
