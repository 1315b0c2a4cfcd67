# SPDX-License-Identifier: GPL-2.0-only
"""arm64: the time between two counts of one host, whose counter may be narrow and may have wrapped."""

from __future__ import annotations

from fixtures.counters import wrap
from fixtures.migration import counter_width
from tools.vectors.draw import Draw
from tools.vectors.model import Method, Values

S = 1_000_000_000
HZ = 25_000_000


def _case(before: int, ticks: int, bits: int, hz: int = HZ) -> Values:
    after = counter_width.reduced(before + ticks, bits)
    return {"count_before": before, "count_after": after, "counter_hz": hz, "counter_bits": bits}


CASES = {
    "one-second": ("Nothing wraps.", _case(67_500_000_000, HZ, 64)),
    "56-bits-wrap": ("A counter of 56 bits returns to 0.", _case(2**56 - 1000, HZ, 56)),
    "57-bits-wrap": ("A counter of 57 bits returns to 0.", _case(2**57 - 1, 54_000_000, 57, 54_000_000)),
    "64-bits-wrap": ("A counter of 64 bits returns to 0.", _case(2**64 - 1000, HZ, 64)),
    "forty-days-at-1-ghz": ("A long blackout.", _case(5, 40 * 86400 * 10**9 + 3, 64, 10**9)),
}


def draw(numbers: Draw) -> Values:
    """Return two counts of one counter, up to three years apart, half of them with a wrap between."""
    hz, bits = numbers.counter_hz("hz"), numbers.counter_bits("bits")
    ticks = numbers.duration_ns("elapsed") * hz // S % (1 << bits - 1)
    at_wrap = counter_width.reduced(-1 - numbers.number("short", ticks + 1), bits)
    anywhere = counter_width.reduced(numbers.word("before"), bits)
    return _case(numbers.choice("kind", (at_wrap, anywhere)), ticks, bits, hz)


def exact(values: Values) -> int:
    """Return the time in ns."""
    return counter_width.elapsed_ns(
        values["count_before"], values["count_after"], values["counter_hz"], values["counter_bits"]
    )


METHOD = Method(
    name="arm64-elapsed",
    sentence="The time between two counts of one host, as for a live update.",
    formula="floor((C_after - C_before mod 2^bits) * 10^9 / Hz)",
    source="drivers/clocksource/arm_arch_timer.c: arch_counter_get_width(); include/linux/clocksource.h",
    inputs={
        "count_before": "the earlier count",
        "count_after": "the later count",
        "counter_hz": "CNTFRQ_EL0, in Hz",
        "counter_bits": "bits of the counter, 56 to 64: counts are less than 2**counter_bits",
    },
    outputs={"elapsed_ns": "the time in between, in ns, rounded down"},
    answers=lambda values: {"elapsed_ns": exact(values)},
    cases=CASES,
    draw=draw,
    frequency="counter_hz",
    per_second=1,
    unit="ns",
)


def _difference(values: Values) -> int:
    return counter_width.reduced(values["count_after"] - values["count_before"], values["counter_bits"])


@METHOD.shortcut("64-bit-difference", "counter-width", "The difference is taken modulo 2**64.")
def _(values: Values) -> int:
    return wrap(values["count_after"] - values["count_before"]) * S // values["counter_hz"]


@METHOD.shortcut("wrap-is-nothing", "unsigned-difference", "A smaller later count means no time.")
def _(values: Values) -> int:
    return max(0, values["count_after"] - values["count_before"]) * S // values["counter_hz"]


@METHOD.shortcut(
    "product-in-uint64", "product-overflow", "The ticks times 10^9 are kept in 64 unsigned bits."
)
def _(values: Values) -> int:
    return wrap(_difference(values) * S) // values["counter_hz"]


@METHOD.shortcut("ticks-in-double", "floating-point", "The ticks are multiplied with 1e9 / Hz as doubles.")
def _(values: Values) -> int:
    return int(float(_difference(values)) * (1e9 / float(values["counter_hz"])))


@METHOD.shortcut("whole-ns-per-tick", "early-rounding", "10^9 / Hz is cut to whole ns per tick first.")
def _(values: Values) -> int:
    return _difference(values) * (S // values["counter_hz"])


@METHOD.shortcut("ticks-in-32-bits", "narrow-variable", "The ticks are kept in 32 unsigned bits.")
def _(values: Values) -> int:
    return _difference(values) % 2**32 * S // values["counter_hz"]
