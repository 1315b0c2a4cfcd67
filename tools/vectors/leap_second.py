# SPDX-License-Identifier: GPL-2.0-only
"""kvmclock across a leap second: which realtime to hand to KVM_SET_CLOCK."""

from __future__ import annotations

from collections.abc import Mapping

from fixtures.counters import wrap
from fixtures.migration import kvmclock
from fixtures.migration.kvmclock import TaiPair
from tools.vectors.draw import EPOCH_NS, Draw
from tools.vectors.model import Method, Values

S = 1_000_000_000
REALTIME_NS = 1_800_000_000 * S + 123_456_789


def _case(blackout_ns: int, tai_s: int, now_tai_s: int) -> Values:
    return {
        "kvmclock_ns": 7 * S,
        "realtime_ns": REALTIME_NS,
        "tai_offset_s": tai_s,
        "now_realtime_ns": REALTIME_NS + blackout_ns - (now_tai_s - tai_s) * S,
        "now_tai_offset_s": now_tai_s,
        "tsc_khz": 2_599_998,
    }


CASES = {
    "none": ("No leap second.", _case(600 * S, 37, 37)),
    "inserted": ("CLOCK_REALTIME repeated a second during ten minutes.", _case(600 * S, 37, 38)),
    "deleted": ("CLOCK_REALTIME skipped a second during ten minutes.", _case(600 * S, 37, 36)),
    "inserted-in-a-short-blackout": (
        "CLOCK_REALTIME repeated a second during 300 ms: it ends earlier than it began.",
        _case(300_000_000, 37, 38),
    ),
}


def exact(values: Values) -> Mapping[str, int]:
    """Return kvmclock after the call, and the realtime to hand in."""
    source = TaiPair(values["realtime_ns"], values["tai_offset_s"])
    give_ns = kvmclock.realtime_to_give(source, values["now_tai_offset_s"])
    return {"kvmclock_ns": _given(values, give_ns), "realtime_to_give_ns": give_ns}


def _given(values: Values, realtime_ns: int) -> int:
    return kvmclock.clock_after_set(values["kvmclock_ns"], realtime_ns, values["now_realtime_ns"])


def _leap_ns(values: Values) -> int:
    return (values["now_tai_offset_s"] - values["tai_offset_s"]) * S


def draw(numbers: Draw) -> Values:
    """Return a blackout with a leap second inserted, deleted, or none."""
    realtime_ns = EPOCH_NS + numbers.number("realtime", 10**17)
    tai_s = numbers.between("tai", 30, 40)
    leap_s = numbers.choice("leap", (0, 1, 1, -1))
    blackout_ns = numbers.choice("short", (numbers.duration_ns("long"), numbers.number("blackout", 2 * S)))
    return {
        "kvmclock_ns": numbers.word("clock"),
        "realtime_ns": realtime_ns,
        "tai_offset_s": tai_s,
        "now_realtime_ns": realtime_ns + blackout_ns - leap_s * S,
        "now_tai_offset_s": tai_s + leap_s,
        "tsc_khz": numbers.tsc_khz("khz"),
    }


METHOD = Method(
    name="x86-leap-second",
    sentence="The realtime for KVM_SET_CLOCK that makes kvmclock count TAI, and the clock it gives.",
    formula="R_given = R_s + (TAI_s - TAI_d) * 10^9; K + max(0, R_now - R_given) mod 2^64",
    source="arch/x86/kvm/x86.c: kvm_vm_ioctl_set_clock(); adjtimex(2) has TAI - UTC",
    inputs={
        "kvmclock_ns": "clock of KVM_GET_CLOCK on the source, in ns",
        "realtime_ns": "realtime of the same KVM_GET_CLOCK, in ns",
        "tai_offset_s": "TAI - UTC on the source, the same before and after KVM_GET_CLOCK, in s",
        "now_realtime_ns": "the destination's CLOCK_REALTIME at KVM_SET_CLOCK, in ns",
        "now_tai_offset_s": "TAI - UTC on the destination, in s",
        "tsc_khz": "the guest's TSC frequency, in kHz: converts errors to ticks",
    },
    outputs={
        "kvmclock_ns": "kvmclock right after KVM_SET_CLOCK, in ns",
        "realtime_to_give_ns": "realtime of struct kvm_clock_data, in ns",
    },
    answers=exact,
    cases=CASES,
    draw=draw,
    unit="ns",
)


@METHOD.shortcut("leap-ignored", "leap-second", "The source's realtime is handed in as it was.")
def _(values: Values) -> int:
    return _given(values, values["realtime_ns"])


@METHOD.shortcut("tai-given", "wrong-clock", "The source's TAI is handed in, which KVM compares with UTC.")
def _(values: Values) -> int:
    return _given(values, values["realtime_ns"] + values["tai_offset_s"] * S)


@METHOD.shortcut("wrong-direction", "sign", "The leap second is corrected the wrong way round.")
def _(values: Values) -> int:
    return _given(values, values["realtime_ns"] + _leap_ns(values))


@METHOD.shortcut("corrected-afterwards", "clamp", "The clock is corrected after KVM has clamped it.")
def _(values: Values) -> int:
    return wrap(_given(values, values["realtime_ns"]) + _leap_ns(values))
