# SPDX-License-Identifier: GPL-2.0-only
"""x86 by offset without TSC scaling: the kernel's documented algorithm, for one vCPU at a time."""

from __future__ import annotations

from fixtures.counters import signed, wrap
from fixtures.migration.ticks import ticks_at_khz
from fixtures.migration.x86 import tsc as x86
from fixtures.migration.x86.tsc import ClockPair, Source
from tools.vectors.arithmetic import int64_quotient, towards_zero
from tools.vectors.draw import EPOCH_NS, Draw
from tools.vectors.model import Method, Values

S = 1_000_000_000
REALTIME_NS = 1_800_000_000 * S

INPUTS = {
    "tsc_khz": "KVM_GET_TSC_KHZ of the guest, in kHz",
    "source_host_tsc": "host_tsc of KVM_GET_CLOCK on the source, in ticks",
    "source_kvmclock_ns": "clock of KVM_GET_CLOCK on the source, in ns",
    "source_realtime_ns": "realtime of KVM_GET_CLOCK on the source, in ns",
    "destination_host_tsc": "host_tsc of KVM_GET_CLOCK on the destination after KVM_SET_CLOCK, in ticks",
    "destination_kvmclock_ns": "clock of the same KVM_GET_CLOCK, in ns",
    "destination_realtime_ns": "realtime of the same KVM_GET_CLOCK, in ns",
    "tsc_offset": "KVM_VCPU_TSC_OFFSET of this vCPU on the source",
    "vcpu": "number of this vCPU; a shortcut treats vCPU 0 in its own way",
    "vcpu0_tsc_offset": "KVM_VCPU_TSC_OFFSET of vCPU 0 on the source; only shortcuts use it",
    "tsc_adjust": "IA32_TSC_ADJUST of this vCPU: copied, never added; only shortcuts use it",
    "write_delay_ns": "how long a value would age before KVM takes it, in ns; only shortcuts use it",
}


def case(elapsed_ns: int, **changes: int) -> dict[str, int]:
    """Return a move of vCPU 0 of a guest of 2 599 998 kHz; kvmclock and CLOCK_REALTIME gain *elapsed_ns*."""
    values = {
        "tsc_khz": 2_599_998,
        "source_host_tsc": 7_000_000_000_000,
        "source_kvmclock_ns": 3600 * S,
        "source_realtime_ns": REALTIME_NS,
        "destination_host_tsc": 123_456_789,
        "destination_kvmclock_ns": 3600 * S + elapsed_ns,
        "destination_realtime_ns": REALTIME_NS + elapsed_ns,
        "tsc_offset": wrap(-6_999_000_000_000),
        "vcpu": 0,
        "vcpu0_tsc_offset": wrap(-6_999_000_000_000),
        "tsc_adjust": 0,
        "write_delay_ns": 2000,
    }
    return values | changes


CASES = {
    "at-once": ("No time passes between both clock pairs.", case(0)),
    "four-seconds": ("A blackout that overflows 64 signed bits in Hz.", case(4 * S)),
    "one-hour": ("A blackout that overflows 64 signed bits in kHz.", case(3600 * S + 1)),
    "two-hours-ten": ("A blackout that overflows 64 unsigned bits in kHz.", case(7800 * S + 7)),
    "forty-days": ("More than 2**53 cycles pass.", case(40 * 86400 * S + 3)),
    "three-years": ("More than 2**56 ns pass.", case(3 * 365 * 86400 * S + 11)),
    "paused": (
        "KVM_SET_CLOCK without KVM_CLOCK_REALTIME: the blackout of 4 s does not count for the guest.",
        case(0, destination_kvmclock_ns=3600 * S + 57, destination_realtime_ns=REALTIME_NS + 4 * S),
    ),
    "realtime-back": (
        "The destination's CLOCK_REALTIME is 10 s earlier than the source's: KVM took that for no time.",
        case(300, destination_realtime_ns=REALTIME_NS - 10 * S),
    ),
    "kvmclock-a-little-back": ("kvmclock lost 501 ns.", case(-501)),
    "kvmclock-wraps": (
        "kvmclock passes 2**64 ns during the blackout.",
        case(4 * S, source_kvmclock_ns=2**64 - S, destination_kvmclock_ns=3 * S),
    ),
    "destination-up-longer": (
        "The destination's TSC is beyond 2**63, the source has just booted.",
        case(4 * S, source_host_tsc=5, destination_host_tsc=2**63 + 4321),
    ),
    "adjusted": ("The guest has written IA32_TSC_ADJUST.", case(4 * S, tsc_adjust=wrap(-5000))),
    "second-vcpu": ("vCPU 1 has vCPU 0's offset.", case(4 * S, vcpu=1)),
    "skewed-vcpu": (
        "vCPU 1 is deliberately 400 ms ahead of vCPU 0.",
        case(4 * S, vcpu=1, tsc_offset=wrap(-6_999_000_000_000 + 1_039_999_200)),
    ),
    "late-value": ("A value in place of the offset ages for 3 ms.", case(4 * S, write_delay_ns=3_000_000)),
}


def draw(numbers: Draw) -> Values:
    """Return a move whose kvmclock followed CLOCK_REALTIME as KVM_SET_CLOCK does, or stood, or fell back."""
    gained_ns = numbers.duration_ns("blackout") + numbers.step_ns("step")
    after_set_ns = numbers.choice("clock", (max(0, gained_ns), max(0, gained_ns), 0))
    kvmclock_ns = numbers.word("kvmclock")
    realtime_ns = EPOCH_NS + numbers.number("realtime", 10**17)
    vcpu = numbers.number("vcpu", 4)
    boot = numbers.word("offset0")
    return {
        "tsc_khz": numbers.tsc_khz("khz"),
        "source_host_tsc": numbers.word("source"),
        "source_kvmclock_ns": kvmclock_ns,
        "source_realtime_ns": realtime_ns,
        "destination_host_tsc": numbers.word("destination"),
        "destination_kvmclock_ns": wrap(kvmclock_ns + after_set_ns + numbers.between("skew", -40, 250)),
        "destination_realtime_ns": realtime_ns + gained_ns,
        "tsc_offset": numbers.choice("alike", (boot, numbers.word("offset"))) if vcpu else boot,
        "vcpu": vcpu,
        "vcpu0_tsc_offset": boot,
        "tsc_adjust": numbers.choice("adjusted", (0, numbers.word("adjust"))),
        "write_delay_ns": numbers.between("delay", 100, 20_000_000),
    }


def exact(values: Values) -> int:
    """Return the offset for the destination."""
    source = Source(
        _pair(values, "source"), values["tsc_khz"], (values["tsc_offset"],), (values["tsc_adjust"],)
    )
    return x86.offsets(source, _pair(values, "destination"))[0]


def _pair(values: Values, side: str) -> ClockPair:
    return ClockPair(values[f"{side}_host_tsc"], values[f"{side}_kvmclock_ns"], values[f"{side}_realtime_ns"])


METHOD = Method(
    name="x86-offset",
    sentence="The KVM_VCPU_TSC_OFFSET with which a guest's TSC continues elsewhere without TSC scaling.",
    formula="O_d = O_s + floor((K_d - K_s) * khz / 10^6) + T_s - T_d mod 2^64; K_d - K_s is signed",
    source="Documentation/virt/kvm/devices/vcpu.rst, 4.1",
    inputs=INPUTS,
    outputs={"tsc_offset": "KVM_VCPU_TSC_OFFSET of this vCPU on the destination"},
    answers=lambda values: {"tsc_offset": exact(values)},
    cases=CASES,
    draw=draw,
)


def _elapsed(values: Values) -> int:
    return signed(values["destination_kvmclock_ns"] - values["source_kvmclock_ns"])


def _moved(values: Values, ticks: int) -> int:
    hosts = values["source_host_tsc"] - values["destination_host_tsc"]
    return wrap(values["tsc_offset"] + ticks + hosts)


@METHOD.shortcut("hz-in-int64", "product-overflow", "(K_d - K_s) * Hz is kept in 64 signed bits.")
def _(values: Values) -> int:
    return _moved(values, int64_quotient(_elapsed(values) * values["tsc_khz"] * 1000, S))


@METHOD.shortcut("khz-in-int64", "product-overflow", "(K_d - K_s) * kHz is kept in 64 signed bits.")
def _(values: Values) -> int:
    return _moved(values, int64_quotient(_elapsed(values) * values["tsc_khz"], 1_000_000))


@METHOD.shortcut("khz-in-uint64", "product-overflow", "(K_d - K_s) * kHz is kept in 64 unsigned bits.")
def _(values: Values) -> int:
    return _moved(values, wrap(_elapsed(values) * values["tsc_khz"]) // 1_000_000)


@METHOD.shortcut("elapsed-in-double", "floating-point", "K_d - K_s and kHz / 1e6 are multiplied as doubles.")
def _(values: Values) -> int:
    return _moved(values, int(float(_elapsed(values)) * (float(values["tsc_khz"]) / 1e6)))


@METHOD.shortcut("counters-in-double", "floating-point", "T_s - T_d is computed in doubles.")
def _(values: Values) -> int:
    hosts = int(float(values["source_host_tsc"]) - float(values["destination_host_tsc"]))
    return wrap(values["tsc_offset"] + ticks_at_khz(_elapsed(values), values["tsc_khz"]) + hosts)


@METHOD.shortcut("whole-ticks-per-ns", "early-rounding", "kHz / 10^6 is rounded to whole ticks per ns first.")
def _(values: Values) -> int:
    return _moved(values, _elapsed(values) * ((values["tsc_khz"] + 500_000) // 1_000_000))


@METHOD.shortcut("elapsed-in-us", "early-rounding", "K_d - K_s is taken in whole microseconds.")
def _(values: Values) -> int:
    return _moved(values, ticks_at_khz(_elapsed(values) // 1000 * 1000, values["tsc_khz"]))


@METHOD.shortcut("elapsed-in-32-bits", "narrow-variable", "K_d - K_s is kept in 32 unsigned bits.")
def _(values: Values) -> int:
    return _moved(values, ticks_at_khz(_elapsed(values) % 2**32, values["tsc_khz"]))


@METHOD.shortcut("towards-zero", "rounding-direction", "A negative quotient is cut as C's / does.")
def _(values: Values) -> int:
    return _moved(values, towards_zero(_elapsed(values) * values["tsc_khz"], 1_000_000))


@METHOD.shortcut("hosts-swapped", "sign", "T_d - T_s stands in place of T_s - T_d.")
def _(values: Values) -> int:
    hosts = values["destination_host_tsc"] - values["source_host_tsc"]
    return wrap(values["tsc_offset"] + ticks_at_khz(_elapsed(values), values["tsc_khz"]) + hosts)


@METHOD.shortcut("arm64-sign", "sign", "The guest is taken for host - offset, as on arm64.")
def _(values: Values) -> int:
    hosts = values["destination_host_tsc"] - values["source_host_tsc"]
    return wrap(values["tsc_offset"] + hosts - ticks_at_khz(_elapsed(values), values["tsc_khz"]))


@METHOD.shortcut(
    "source-lost", "term-lost", "O_s + T_s is left out: the formula as v3 of the 2021 series printed it."
)
def _(values: Values) -> int:
    return wrap(ticks_at_khz(_elapsed(values), values["tsc_khz"]) - values["destination_host_tsc"])


@METHOD.shortcut("by-realtime", "wrong-clock", "R_d - R_s stands in place of K_d - K_s.")
def _(values: Values) -> int:
    elapsed_ns = signed(values["destination_realtime_ns"] - values["source_realtime_ns"])
    return _moved(values, ticks_at_khz(elapsed_ns, values["tsc_khz"]))


@METHOD.shortcut("elapsed-unsigned", "unsigned-difference", "K_d - K_s is taken for unsigned.")
def _(values: Values) -> int:
    return _moved(values, ticks_at_khz(wrap(_elapsed(values)), values["tsc_khz"]))


@METHOD.shortcut("adjust-added", "term-twice", "IA32_TSC_ADJUST is added, which the offset contains already.")
def _(values: Values) -> int:
    return wrap(exact(values) + values["tsc_adjust"])


@METHOD.shortcut("one-offset", "one-for-all", "vCPU 0's offset is written to all vCPUs.")
def _(values: Values) -> int:
    return wrap(exact(values) - values["tsc_offset"] + values["vcpu0_tsc_offset"])


@METHOD.shortcut(
    "boot-vcpu-only", "one-for-all", "vCPUs other than 0 keep the offset of their creation: they start at 0."
)
def _(values: Values) -> int:
    return wrap(-values["destination_host_tsc"]) if values["vcpu"] else exact(values)


@METHOD.shortcut("value-frozen", "blackout-lost", "The saved value is written back: the TSC stood meanwhile.")
def _(values: Values) -> int:
    return _moved(values, 0)


@METHOD.shortcut("value-late", "late-write", "A value is written that has aged for write_delay_ns.")
def _(values: Values) -> int:
    return wrap(exact(values) - ticks_at_khz(values["write_delay_ns"], values["tsc_khz"]))


@METHOD.shortcut("offset-ignored", "not-read-back", "The host ignores the offset and shows its own TSC.")
def _(values: Values) -> int:
    del values
    return 0
