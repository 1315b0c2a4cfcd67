# SPDX-License-Identifier: GPL-2.0-only
"""kvmclock after KVM_SET_CLOCK, with and without realtime."""

from __future__ import annotations

from fixtures.counters import MASK, wrap
from fixtures.migration import kvmclock
from tools.vectors.draw import EPOCH_NS, Draw
from tools.vectors.model import Method, Values

S = 1_000_000_000
NOW_NS = 1_800_000_000 * S + 123_456_789
WITHOUT_REALTIME, WITH_REALTIME = 0, 4


def _set(kvmclock_ns: int, realtime_ns: int, flags: int = WITH_REALTIME) -> Values:
    return {
        "flags": flags,
        "kvmclock_ns": kvmclock_ns,
        "realtime_ns": realtime_ns,
        "now_realtime_ns": NOW_NS,
        "tsc_khz": 2_599_998,
    }


CASES = {
    "without-realtime": (
        "KVM_CLOCK_REALTIME is not set: realtime is ignored whatever it holds.",
        _set(7 * S, NOW_NS - 10 * S, WITHOUT_REALTIME),
    ),
    "now": ("No time has passed.", _set(7 * S, NOW_NS)),
    "ten-seconds-ago": ("A blackout of 10 s.", _set(7 * S, NOW_NS - 10 * S)),
    "forty-days-ago": ("A blackout of 40 days.", _set(7 * S, NOW_NS - 40 * 86400 * S)),
    "realtime-back": (
        "The given realtime is still to come: it counts as no time, not as a step back.",
        _set(7 * S, NOW_NS + 10 * S),
    ),
    "since-1970": ("Realtime 0: there is no upper bound.", _set(0, 0)),
    "clock-wraps": ("The sum passes 2**64.", _set(MASK, NOW_NS - S)),
}


def exact(values: Values) -> int:
    """Return kvmclock right after KVM_SET_CLOCK."""
    given_ns = values["realtime_ns"] if values["flags"] & WITH_REALTIME else None
    return kvmclock.clock_after_set(values["kvmclock_ns"], given_ns, values["now_realtime_ns"])


def draw(numbers: Draw) -> Values:
    """Return a call with or without realtime, which may be still to come."""
    now_ns = EPOCH_NS + numbers.number("now", 10**17)
    ago_ns = numbers.duration_ns("ago") + numbers.step_ns("step")
    return {
        "flags": numbers.choice("flags", (WITH_REALTIME, WITH_REALTIME, WITHOUT_REALTIME)),
        "kvmclock_ns": numbers.word("clock"),
        "realtime_ns": now_ns - ago_ns,
        "now_realtime_ns": now_ns,
        "tsc_khz": numbers.tsc_khz("khz"),
    }


METHOD = Method(
    name="x86-set-clock",
    sentence="kvmclock right after KVM_SET_CLOCK, with and without KVM_CLOCK_REALTIME.",
    formula="K + max(0, R_now - R_given) mod 2^64 with flag 4; K without",
    source="arch/x86/kvm/x86.c: kvm_vm_ioctl_set_clock()",
    inputs={
        "flags": "flags of struct kvm_clock_data: 4 is KVM_CLOCK_REALTIME",
        "kvmclock_ns": "clock of struct kvm_clock_data, in ns",
        "realtime_ns": "realtime of struct kvm_clock_data, in ns",
        "now_realtime_ns": "the host's CLOCK_REALTIME at the call, in ns",
        "tsc_khz": "the guest's TSC frequency, in kHz: converts errors to ticks",
    },
    outputs={"kvmclock_ns": "KVM_GET_CLOCK's clock at the instant of the call, in ns"},
    answers=lambda values: {"kvmclock_ns": exact(values)},
    cases=CASES,
    draw=draw,
    unit="ns",
)


def _plus(values: Values, elapsed_ns: int) -> int:
    return wrap(values["kvmclock_ns"] + (elapsed_ns if values["flags"] & WITH_REALTIME else 0))


def _gained(values: Values) -> int:
    return values["now_realtime_ns"] - values["realtime_ns"]


@METHOD.shortcut("realtime-lost", "blackout-lost", "The flag is not set: the guest's clock stood meanwhile.")
def _(values: Values) -> int:
    return values["kvmclock_ns"]


@METHOD.shortcut("flag-not-read", "flag-ignored", "Realtime counts although KVM_CLOCK_REALTIME is not set.")
def _(values: Values) -> int:
    return wrap(values["kvmclock_ns"] + max(0, _gained(values)))


@METHOD.shortcut("not-clamped", "clamp", "A realtime that is still to come sets the clock back.")
def _(values: Values) -> int:
    return _plus(values, _gained(values))


@METHOD.shortcut("absolute", "unsigned-difference", "The realtimes' difference is taken without its sign.")
def _(values: Values) -> int:
    return _plus(values, abs(_gained(values)))


@METHOD.shortcut("elapsed-in-32-bits", "narrow-variable", "The elapsed time is kept in 32 unsigned bits.")
def _(values: Values) -> int:
    return _plus(values, max(0, _gained(values)) % 2**32)


@METHOD.shortcut("elapsed-in-us", "early-rounding", "Both realtimes are taken in whole microseconds.")
def _(values: Values) -> int:
    return _plus(values, max(0, values["now_realtime_ns"] // 1000 - values["realtime_ns"] // 1000) * 1000)


@METHOD.shortcut("realtime-in-double", "floating-point", "Both realtimes are doubles: 256 ns apart today.")
def _(values: Values) -> int:
    return _plus(values, max(0, int(float(values["now_realtime_ns"]) - float(values["realtime_ns"]))))


@METHOD.shortcut("saturated", "saturation", "The sum stops at 2**64 - 1.")
def _(values: Values) -> int:
    elapsed_ns = max(0, _gained(values)) if values["flags"] & WITH_REALTIME else 0
    return min(values["kvmclock_ns"] + elapsed_ns, MASK)


@METHOD.shortcut("subtracted", "sign", "The elapsed time is subtracted.")
def _(values: Values) -> int:
    return _plus(values, -max(0, _gained(values)))


@METHOD.shortcut("added-by-the-vmm-too", "term-twice", "The VMM has added the blackout to the clock already.")
def _(values: Values) -> int:
    return _plus(values, 2 * max(0, _gained(values)))
