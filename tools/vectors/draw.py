# SPDX-License-Identifier: GPL-2.0-only
"""Numbers that follow from a name: the same on every computer and Python, in any order.

`random` promises this for few of its methods, and one more call would change all later vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TypeVar

from fixtures.counters import wrap

Item = TypeVar("Item")

MINUTE_NS = 60_000_000_000
DAY_NS = 1440 * MINUTE_NS
EPOCH_NS = 1_700_000_000_000_000_000  # CLOCK_REALTIME of drawn cases starts here
TSC_KHZ = (1_000_000, 1_500_000, 1_996_250, 2_000_000, 2_345_678, 2_599_998, 2_600_000, 3_000_000, 4_000_000)
COUNTER_HZ = (1_000_000, 19_200_000, 24_000_000, 25_000_000, 31_250_000, 54_000_000, 100_000_000, 10**9)


@dataclass(frozen=True, slots=True)
class Draw:
    """The source of one case's numbers; each has a name of its own."""

    case: str

    def number(self, name: str, below: int) -> int:
        """Return a number from 0 up to *below*, which it does not reach."""
        digest = blake2b(f"{self.case}/{name}".encode(), digest_size=24).digest()
        return int.from_bytes(digest, "big") % below

    def choice(self, name: str, items: Sequence[Item]) -> Item:
        """Return one of *items*."""
        return items[self.number(name, len(items))]

    def between(self, name: str, first: int, last: int) -> int:
        """Return a number from *first* to *last*, both included."""
        return first + self.number(name, last - first + 1)

    def word(self, name: str) -> int:
        """Return 64 bits: small, days of a counter, around 2**63, just before the wrap, or anything."""
        kind = self.number(f"{name}/kind", 5)
        if kind == 0:
            return self.number(name, 1000)
        if kind == 1:
            return self.number(name, 10**16)
        if kind == 2:
            return 2**63 + self.between(name, -(10**12), 10**12)
        if kind == 3:
            return wrap(-1 - self.number(name, 10**13))
        return self.number(name, 2**64)

    def duration_ns(self, name: str) -> int:
        """Return a blackout: none, µs, around the overflows of 64-bit products, days, or three years."""
        kind = self.number(f"{name}/kind", 6)
        longest = (1, 10_000, 10_000_000_000, 180 * MINUTE_NS, 40 * DAY_NS, 1095 * DAY_NS)[kind]
        return self.number(name, longest)

    def step_ns(self, name: str) -> int:
        """Return what CLOCK_REALTIME was stepped by: mostly nothing, else up to 20 s either way."""
        return self.choice(f"{name}/kind", (0, 0, 1)) * self.between(name, -20_000_000_000, 20_000_000_000)

    def tsc_khz(self, name: str) -> int:
        """Return a TSC's frequency: one that is sold, or any from 0.8 to 5 GHz."""
        return self.choice(f"{name}/kind", (*TSC_KHZ, self.between(name, 800_000, 5_000_000)))

    def counter_hz(self, name: str) -> int:
        """Return the frequency of an arm64 system counter."""
        return self.choice(name, COUNTER_HZ)

    def counter_bits(self, name: str) -> int:
        """Return an arm64 counter's width: half of them 64 bits, the others 56 to 63."""
        return self.choice(f"{name}/kind", (64, 56, 64, self.between(name, 57, 63)))
