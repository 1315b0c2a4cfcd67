# SPDX-License-Identifier: GPL-2.0-only
"""arm64 by offset, from the guest's count, which is all that a VMM can read."""

from __future__ import annotations

from collections.abc import Mapping

from fixtures.counters import wrap
from fixtures.migration import counter_width
from fixtures.migration.arm64 import counters as arm64
from fixtures.migration.ticks import ticks_at_hz
from tools.vectors import brackets
from tools.vectors.arithmetic import int64_quotient, towards_zero
from tools.vectors.brackets import S, case
from tools.vectors.draw import Draw
from tools.vectors.model import Method, Values

COUNT = 67_500_000_000

CASES = {
    "at-once": ("No time passes between both brackets' middles.", case(0, guest_count=COUNT)),
    "four-seconds": ("A short blackout.", case(4 * S, guest_count=COUNT)),
    "forty-days": (
        "A blackout that overflows 64 signed bits in Hz.",
        case(40 * 86400 * S + 3, guest_count=COUNT),
    ),
    "forty-days-at-1-ghz": (
        "The same at 1 GHz.",
        case(40 * 86400 * S + 3, guest_count=COUNT, counter_hz=10**9),
    ),
    "realtime-back": ("The destination's clock is 7 ns earlier.", case(-7, guest_count=COUNT)),
    "host-count-below": (
        "The guest's count is greater than the host's: the offset is negative.",
        case(4 * S, guest_count=2**63 + 5),
    ),
    "56-bits-wrap": (
        "A counter of 56 bits returns to 0 during the blackout.",
        case(4 * S, guest_count=2**56 - 1000, counter_bits=56),
    ),
}


def draw(numbers: Draw) -> Values:
    """Return a move of a guest with any count."""
    pair = brackets.draw(numbers)
    return pair | {"guest_count": counter_width.reduced(numbers.word("guest"), pair["counter_bits"])}


def exact(values: Values) -> Mapping[str, int]:
    """Return the offset, and the guest's count at the destination's instant."""
    guest, host = brackets.source(values, "guest_count"), brackets.destination(values)
    count = arm64.count_now(guest, host.realtime_ns, values["counter_hz"])
    bits = values["counter_bits"]
    return {
        "counter_offset": counter_width.offset_of(host.count, count, bits),
        "guest_count_now": counter_width.reduced(count, bits),
    }


METHOD = Method(
    name="arm64-offset",
    sentence="The offset for KVM_ARM_SET_COUNTER_OFFSET, from the guest's count on the source.",
    formula="O = C_d - (G_s + floor((R_d - R_s) * Hz / 10^9) mod 2^bits) mod 2^64; R is a bracket's middle",
    source="Documentation/virt/kvm/api.rst, KVM_ARM_SET_COUNTER_OFFSET; arch/arm64/kvm/arch_timer.c",
    inputs={**brackets.INPUTS, "guest_count": "KVM_REG_ARM_TIMER_CNT on the source"},
    outputs={
        "counter_offset": "counter_offset of struct kvm_arm_counter_offset: guest = host - offset",
        "guest_count_now": "the guest's count when the destination's host count was read",
    },
    answers=exact,
    cases=CASES,
    draw=draw,
    frequency="counter_hz",
    per_second=1,
    guest_sign=-1,
    width="counter_bits",
)


def offset_after(values: Values, ticks: int) -> int:
    """Return the offset with which the guest's count is *ticks* further than on the source."""
    count = values["guest_count"] + ticks
    return counter_width.offset_of(values["destination_host_count"], count, values["counter_bits"])


@METHOD.shortcut("x86-sign", "sign", "The guest is taken for host + offset, as on x86.")
def _(values: Values) -> int:
    return wrap(-exact(values)["counter_offset"])


@METHOD.shortcut("elapsed-subtracted", "sign", "The blackout moves the guest into the past.")
def _(values: Values) -> int:
    return offset_after(values, -ticks_at_hz(brackets.elapsed_ns(values), values["counter_hz"]))


@METHOD.shortcut("hz-in-int64", "product-overflow", "(R_d - R_s) * Hz is kept in 64 signed bits.")
def _(values: Values) -> int:
    return offset_after(values, int64_quotient(brackets.elapsed_ns(values) * values["counter_hz"], S))


@METHOD.shortcut("seconds-in-double", "floating-point", "CLOCK_REALTIME is kept in seconds, as a double.")
def _(values: Values) -> int:
    after_s = float(brackets.destination(values).realtime_ns) / 1e9
    before_s = float(brackets.source(values, "guest_count").realtime_ns) / 1e9
    return offset_after(values, int((after_s - before_s) * float(values["counter_hz"])))


@METHOD.shortcut("whole-ns-per-tick", "early-rounding", "10^9 / Hz is cut to whole ns per tick first.")
def _(values: Values) -> int:
    return offset_after(values, brackets.elapsed_ns(values) // (S // values["counter_hz"]))


@METHOD.shortcut("elapsed-in-us", "early-rounding", "The elapsed time is taken in whole microseconds.")
def _(values: Values) -> int:
    return offset_after(values, ticks_at_hz(brackets.elapsed_ns(values) // 1000 * 1000, values["counter_hz"]))


@METHOD.shortcut("elapsed-in-32-bits", "narrow-variable", "The elapsed ns are kept in 32 unsigned bits.")
def _(values: Values) -> int:
    return offset_after(values, ticks_at_hz(brackets.elapsed_ns(values) % 2**32, values["counter_hz"]))


@METHOD.shortcut("towards-zero", "rounding-direction", "A negative quotient is cut as C's / does.")
def _(values: Values) -> int:
    return offset_after(values, towards_zero(brackets.elapsed_ns(values) * values["counter_hz"], S))


@METHOD.shortcut("elapsed-unsigned", "unsigned-difference", "R_d - R_s is taken for unsigned.")
def _(values: Values) -> int:
    return offset_after(values, ticks_at_hz(wrap(brackets.elapsed_ns(values)), values["counter_hz"]))


@METHOD.shortcut("bracket-start", "wrong-clock", "The first reading of each bracket is taken for its middle.")
def _(values: Values) -> int:
    elapsed_ns = values["destination_before_ns"] - values["source_before_ns"]
    return offset_after(values, ticks_at_hz(elapsed_ns, values["counter_hz"]))


@METHOD.shortcut("count-frozen", "blackout-lost", "The guest's count continues where it stopped.")
def _(values: Values) -> int:
    return offset_after(values, 0)


@METHOD.shortcut("saturated", "saturation", "The guest's count stops at the counter's greatest value.")
def _(values: Values) -> int:
    greatest = (1 << values["counter_bits"]) - 1
    count = values["guest_count"] + ticks_at_hz(brackets.elapsed_ns(values), values["counter_hz"])
    return wrap(values["destination_host_count"] - min(max(count, 0), greatest))


@METHOD.shortcut("offset-ignored", "not-read-back", "The host ignores the offset and shows its own count.")
def _(values: Values) -> int:
    del values
    return 0
