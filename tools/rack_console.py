# SPDX-License-Identifier: GPL-2.0-only
"""What a board's console says of the tests that run there, and how it ends."""

from __future__ import annotations

import re
from pathlib import Path

FROM = "kvmtests:"
MARK = f"{FROM} test "
"""What stands on the console before the node id of the test that starts (tools/rack_marks.py)."""

END = f"{FROM} end"
"""What stands there after the last one."""

PANIC = b"Kernel panic - not syncing"

EXCERPT = 8_000
"""Characters of the console's log that are shown of a board that died."""

_MARKED = re.compile(re.escape(MARK).encode() + rb"(\S[^\r\n]*)")


def last_words(folder: Path) -> dict[str, str]:
    """Return the end of the console's log in *folder*, and the test that it names last, if any."""
    log = b"".join(path.read_bytes() for path in sorted(folder.glob("console_*")))
    named = _MARKED.findall(log)
    test = named[-1].decode(errors="replace").strip() if named else ""
    return {"console": log.decode(errors="replace")[-EXCERPT:], "test": test}
