# SPDX-License-Identifier: GPL-2.0-only
"""What lies at an address that the harness hands to KVM, however long it is."""

from __future__ import annotations

import ctypes

from fixtures.backends import process_memory
from fixtures.guests import layout


def held_at(address: int, size: int) -> bytes | None:
    """Return *size* bytes at *address*; None where not all of them can be read."""
    longest = process_memory.LONGEST
    parts = [process_memory.peek(address + at, min(longest, size - at)) for at in range(0, size, longest)]
    held = [part for part in parts if part is not None]
    return b"".join(held) if len(held) == len(parts) else None


def filled_words(address: int, size: int) -> list[tuple[int, bytes]]:
    """Return the pieces that are not 0, each of whole 8 bytes."""
    held = ctypes.string_at(address, size)
    zeros = bytes(layout.PAGE_SIZE)
    found: list[tuple[int, bytes]] = []
    for page in range(0, size, len(zeros)):
        if held[page : page + len(zeros)] == zeros:
            continue
        for at in range(page, page + len(zeros), 8):
            word = held[at : at + 8]
            if word != zeros[:8]:
                found.append((at, word))
    return found
