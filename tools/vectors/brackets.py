# SPDX-License-Identifier: GPL-2.0-only
"""arm64's clock pairs: counts between two readings of CLOCK_REALTIME, from and for a vector's inputs."""

from __future__ import annotations

from fixtures.migration import counter_width
from fixtures.migration.arm64.counters import Bracket
from tools.vectors.draw import EPOCH_NS, Draw
from tools.vectors.model import Values

S = 1_000_000_000
REALTIME_NS = 1_800_000_000 * S
HZ = 25_000_000

INPUTS = {
    "counter_hz": "CNTFRQ_EL0, the same on both hosts, in Hz",
    "counter_bits": "bits of the counter, 56 to 64: counts are less than 2**counter_bits",
    "source_before_ns": "CLOCK_REALTIME just before the source's count was read, in ns",
    "source_after_ns": "CLOCK_REALTIME just after it, in ns",
    "destination_before_ns": "CLOCK_REALTIME just before the destination's count was read, in ns",
    "destination_after_ns": "CLOCK_REALTIME just after it, in ns",
    "destination_host_count": "the destination's physical count",
}


def case(elapsed_ns: int, **changes: int) -> dict[str, int]:
    """Return brackets of 1 and 2 us at 25 MHz, *elapsed_ns* between their middles."""
    values = {
        "counter_hz": HZ,
        "counter_bits": 64,
        "source_before_ns": REALTIME_NS - 500,
        "source_after_ns": REALTIME_NS + 500,
        "destination_before_ns": REALTIME_NS + elapsed_ns - 1000,
        "destination_after_ns": REALTIME_NS + elapsed_ns + 1000,
        "destination_host_count": 99,
    }
    return values | changes


def draw(numbers: Draw) -> dict[str, int]:
    """Return two brackets; CLOCK_REALTIME may have been stepped in between, also backwards."""
    bits = numbers.counter_bits("bits")
    source_ns = EPOCH_NS + numbers.number("realtime", 10**17)
    elapsed_ns = numbers.duration_ns("blackout") + numbers.step_ns("step")
    return {
        "counter_hz": numbers.counter_hz("hz"),
        "counter_bits": bits,
        "source_before_ns": source_ns,
        "source_after_ns": source_ns + numbers.between("source_width", 100, 5000),
        "destination_before_ns": source_ns + elapsed_ns,
        "destination_after_ns": source_ns + elapsed_ns + numbers.between("destination_width", 100, 5000),
        "destination_host_count": counter_width.reduced(numbers.word("destination"), bits),
    }


def source(values: Values, count: str) -> Bracket:
    """Return the source's bracket around the input *count*."""
    return Bracket(values["source_before_ns"], values[count], values["source_after_ns"])


def destination(values: Values) -> Bracket:
    """Return the destination's bracket."""
    return Bracket(
        values["destination_before_ns"], values["destination_host_count"], values["destination_after_ns"]
    )


def elapsed_ns(values: Values) -> int:
    """Return the time between the middles of both brackets, in ns; may be negative."""
    return destination(values).realtime_ns - source(values, "destination_host_count").realtime_ns
