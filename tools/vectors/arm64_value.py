# SPDX-License-Identifier: GPL-2.0-only
"""arm64 by value: the count to write, and what late, stale and ignored writes leave."""

from __future__ import annotations

from collections.abc import Mapping

from fixtures.counters import wrap
from fixtures.migration import by_value, counter_width
from fixtures.migration.ticks import ticks_at_hz
from tools.vectors import brackets
from tools.vectors.arithmetic import int64_quotient
from tools.vectors.arm64_offset import offset_after
from tools.vectors.brackets import HZ, S, case
from tools.vectors.draw import Draw
from tools.vectors.model import Method, Values

COUNT = 67_500_000_000


def _case(elapsed_ns: int, **changes: int) -> Values:
    values = {
        "guest_count": COUNT,
        "write_host_count": 99 + 50,
        "last_vcpu_age_ns": 10_000,
        "latched_offset": 12345,
    }
    return case(elapsed_ns, **{**values, **changes})


CASES = {
    "at-once": ("No blackout; KVM takes the value 2 us later.", _case(0)),
    "four-seconds": ("A short blackout.", _case(4 * S)),
    "preempted": (
        "The VMM is preempted for 20 ms.",
        _case(4 * S, write_host_count=99 + HZ // 50),
    ),
    "last-vcpu-stale": (
        "The last vCPU's value is 3 ms old.",
        _case(4 * S, last_vcpu_age_ns=3_000_000),
    ),
    "56-bits-wrap": (
        "A counter of 56 bits returns to 0 during the blackout.",
        _case(4 * S, guest_count=2**56 - 1000, counter_bits=56),
    ),
}


def draw(numbers: Draw) -> Values:
    """Return a write that comes late by up to 20 ms."""
    pair = brackets.draw(numbers)
    late = numbers.number("late", pair["counter_hz"] // 50)
    bits = pair["counter_bits"]
    return pair | {
        "guest_count": counter_width.reduced(numbers.word("guest"), bits),
        "write_host_count": counter_width.reduced(pair["destination_host_count"] + late, bits),
        "last_vcpu_age_ns": numbers.between("age", 1000, 20_000_000),
        "latched_offset": numbers.word("latched"),
    }


def exact(values: Values) -> Mapping[str, int]:
    """Return the offset that would be exact, and the count to write."""
    elapsed_ns = brackets.elapsed_ns(values)
    (count,) = by_value.values((values["guest_count"],), elapsed_ns, values["counter_hz"])
    bits = values["counter_bits"]
    return {
        "counter_offset": counter_width.offset_of(values["destination_host_count"], count, bits),
        "count": counter_width.reduced(count, bits),
    }


METHOD = Method(
    name="arm64-value",
    sentence="The count to write to KVM_REG_ARM_TIMER_CNT, and the offset of a write that takes no time.",
    formula="V = G_s + floor((R_d - R_s) * Hz / 10^9) mod 2^bits; KVM: O = C at the write - V mod 2^64",
    source="arch/arm64/kvm/arch_timer.c: kvm_arm_timer_set_reg()",
    inputs={
        **brackets.INPUTS,
        "guest_count": "KVM_REG_ARM_TIMER_CNT on the source",
        "write_host_count": "the host's count when KVM takes the value; only shortcuts use it",
        "last_vcpu_age_ns": "how much older the last vCPU's saved count is, in ns; only a shortcut uses it",
        "latched_offset": "an offset set earlier by KVM_ARM_SET_COUNTER_OFFSET; only a shortcut uses it",
    },
    outputs={
        "counter_offset": "the VM's offset if KVM took the value when the host's count was read",
        "count": "the count to write",
    },
    answers=exact,
    cases=CASES,
    draw=draw,
    frequency="counter_hz",
    per_second=1,
    guest_sign=-1,
    width="counter_bits",
)


def _ticks(values: Values) -> int:
    return ticks_at_hz(brackets.elapsed_ns(values), values["counter_hz"])


@METHOD.shortcut("value-late", "late-write", "KVM takes the value when the host shows write_host_count.")
def _(values: Values) -> int:
    return wrap(values["write_host_count"] - exact(values)["count"])


@METHOD.shortcut("value-frozen", "blackout-lost", "The saved value is written: the counter stood.")
def _(values: Values) -> int:
    return offset_after(values, 0)


@METHOD.shortcut("last-vcpu-wins", "one-for-all", "Each vCPU's own count is written: the last stays.")
def _(values: Values) -> int:
    return offset_after(
        values, _ticks(values) - ticks_at_hz(values["last_vcpu_age_ns"], values["counter_hz"])
    )


@METHOD.shortcut("after-the-latch", "latch", "The write after KVM_ARM_SET_COUNTER_OFFSET is ignored.")
def _(values: Values) -> int:
    return values["latched_offset"]


@METHOD.shortcut("vcpu-created-later", "call-order", "A vCPU created after the write sets it to 0.")
def _(values: Values) -> int:
    return values["write_host_count"]


@METHOD.shortcut("x86-sign", "sign", "V - C stands in place of C - V.")
def _(values: Values) -> int:
    return wrap(-exact(values)["counter_offset"])


@METHOD.shortcut("hz-in-int64", "product-overflow", "(R_d - R_s) * Hz is kept in 64 signed bits.")
def _(values: Values) -> int:
    return offset_after(values, int64_quotient(brackets.elapsed_ns(values) * values["counter_hz"], S))
