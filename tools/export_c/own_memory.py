# SPDX-License-Identifier: GPL-2.0-only
"""What lies at an address that the harness hands to KVM, however long it is."""

from __future__ import annotations

from fixtures.backends import process_memory


def held_at(address: int, size: int) -> bytes | None:
    """Return *size* bytes at *address*; None where not all of them can be read."""
    longest = process_memory.LONGEST
    parts = [process_memory.peek(address + at, min(longest, size - at)) for at in range(0, size, longest)]
    held = [part for part in parts if part is not None]
    return b"".join(held) if len(held) == len(parts) else None
