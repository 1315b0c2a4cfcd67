# SPDX-License-Identifier: GPL-2.0-only
"""The pytest plug-in of a rack's boards: the kernel's log, and so the console, names each test that starts.

If the board dies, its console is all that is left. Where /dev/kmsg cannot be written, nothing is said.
"""

from __future__ import annotations

import os
from contextlib import suppress

NOTICE = "<5>kvmtests: test "
"""The level of a notice, which consoles show and no watcher takes for a complaint."""


def pytest_runtest_logstart(nodeid: str) -> None:
    """Name the test that starts."""
    with suppress(OSError):
        descriptor = os.open("/dev/kmsg", os.O_WRONLY)
        try:
            os.write(descriptor, f"{NOTICE}{nodeid}\n".encode("ascii", "backslashreplace")[:900])
        finally:
            os.close(descriptor)
