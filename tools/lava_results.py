# SPDX-License-Identifier: GPL-2.0-only
"""Write what a journal says as the result lines of Linaro's test definitions, and their logs.

It runs on the board after pytest (contrib/test-definitions) and needs python3 alone. Where nothing
has a result, one line says that the suite did not run.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from reports import lava, read_journal
from reports.whole_file import ReportError, write_file

USAGE = 2
NOTHING = "kvmtests-ran fail\n"


def main(argv: Sequence[str]) -> int:
    """Write result.txt and the logs of the journal argv[0] into the folder argv[1]; 2 if that cannot be."""
    if len(argv) != 2:
        sys.stderr.write("lava_results: name a journal and a folder.\n")
        return USAGE
    journal, folder = map(Path, argv)
    try:
        run = read_journal.read([journal]) if journal.exists() else None
        lines = list(lava.lines(run)) if run else []
        for name, text in lava.logs(run) if run else ():
            write_file(folder / name, text)
        write_file(folder / "result.txt", lines or [NOTHING])
    except (OSError, ReportError) as error:
        sys.stderr.write(f"lava_results: {error}.\n")
        return USAGE
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
