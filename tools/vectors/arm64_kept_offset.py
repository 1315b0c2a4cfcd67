# SPDX-License-Identifier: GPL-2.0-only
"""arm64 by offset, from the offset that the VMM set itself and remembered."""

from __future__ import annotations

from fixtures.counters import signed, wrap
from fixtures.migration import counter_width
from fixtures.migration.arm64 import counters as arm64
from fixtures.migration.ticks import ticks_at_hz
from tools.vectors import brackets
from tools.vectors.arithmetic import int64_quotient
from tools.vectors.brackets import S, case
from tools.vectors.draw import Draw
from tools.vectors.model import Method, Values

COUNTS = {"source_host_count": 67_500_000_000, "counter_offset": 12345}

CASES = {
    "four-seconds": ("A short blackout.", case(4 * S, **COUNTS)),
    "forty-days": ("A blackout that overflows 64 signed bits in Hz.", case(40 * 86400 * S + 3, **COUNTS)),
    "negative-offset": (
        "The guest is ahead of the source's host.",
        case(4 * S, source_host_count=67_500_000_000, counter_offset=wrap(-180 * S)),
    ),
    "offset-2-63": (
        "An offset with the top bit set.",
        case(4 * S, source_host_count=5, counter_offset=2**63, destination_host_count=2**63 + 4321),
    ),
    "56-bits": (
        "The source's counter of 56 bits is about to return to 0.",
        case(4 * S, source_host_count=2**56 - 7, counter_offset=12345, counter_bits=56),
    ),
}


def draw(numbers: Draw) -> Values:
    """Return a move of a guest with any offset."""
    pair = brackets.draw(numbers)
    count = counter_width.reduced(numbers.word("source"), pair["counter_bits"])
    return pair | {"source_host_count": count, "counter_offset": numbers.word("offset")}


def exact(values: Values) -> int:
    """Return the offset for the destination."""
    return arm64.series_offset(
        values["counter_offset"],
        brackets.source(values, "source_host_count"),
        brackets.destination(values),
        values["counter_hz"],
    )


METHOD = Method(
    name="arm64-kept-offset",
    sentence="The offset for the destination, from the one that the VMM set on the source.",
    formula="O_d = O_s + C_d - C_s - floor((R_d - R_s) * Hz / 10^9) mod 2^64",
    source="arch/arm64/kvm/arch_timer.c: kvm_vm_ioctl_set_counter_offset()",
    inputs={
        **brackets.INPUTS,
        "source_host_count": "the source's physical count",
        "counter_offset": "counter_offset that was set on the source",
    },
    outputs={"counter_offset": "counter_offset of struct kvm_arm_counter_offset on the destination"},
    answers=lambda values: {"counter_offset": exact(values)},
    cases=CASES,
    draw=draw,
    frequency="counter_hz",
    per_second=1,
    guest_sign=-1,
    width="counter_bits",
)


def _hosts(values: Values) -> int:
    return values["destination_host_count"] - values["source_host_count"]


def _elapsed(values: Values) -> int:
    return ticks_at_hz(brackets.elapsed_ns(values), values["counter_hz"])


@METHOD.shortcut("x86-sign", "sign", "O_s + elapsed + C_s - C_d, as on x86.")
def _(values: Values) -> int:
    return wrap(values["counter_offset"] + _elapsed(values) - _hosts(values))


@METHOD.shortcut("counts-swapped", "sign", "C_s - C_d stands in place of C_d - C_s.")
def _(values: Values) -> int:
    return wrap(values["counter_offset"] - _elapsed(values) - _hosts(values))


@METHOD.shortcut("elapsed-added", "sign", "The blackout moves the guest into the past.")
def _(values: Values) -> int:
    return wrap(values["counter_offset"] + _elapsed(values) + _hosts(values))


@METHOD.shortcut("hz-in-int64", "product-overflow", "(R_d - R_s) * Hz is kept in 64 signed bits.")
def _(values: Values) -> int:
    elapsed = int64_quotient(brackets.elapsed_ns(values) * values["counter_hz"], S)
    return wrap(values["counter_offset"] - elapsed + _hosts(values))


@METHOD.shortcut("offset-lost", "term-lost", "O_s is left out.")
def _(values: Values) -> int:
    return wrap(exact(values) - values["counter_offset"])


@METHOD.shortcut("hosts-left-out", "term-lost", "C_d - C_s is left out, as if both hosts shared a counter.")
def _(values: Values) -> int:
    return wrap(exact(values) - _hosts(values))


@METHOD.shortcut("offset-in-32-bits", "narrow-variable", "O_s is kept in 32 signed bits.")
def _(values: Values) -> int:
    low = values["counter_offset"] % 2**32
    kept = low - 2**32 if low >> 31 else low
    return wrap(exact(values) - values["counter_offset"] + kept)


@METHOD.shortcut("count-frozen", "blackout-lost", "The guest's count continues where it stopped.")
def _(values: Values) -> int:
    return wrap(values["counter_offset"] + _hosts(values))


@METHOD.shortcut("hosts-as-magnitude", "unsigned-difference", "The distance of both hosts has lost its sign.")
def _(values: Values) -> int:
    return wrap(values["counter_offset"] - _elapsed(values) + abs(signed(_hosts(values))))
