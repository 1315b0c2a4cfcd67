# SPDX-License-Identifier: GPL-2.0-only
"""x86 by offset where TSC scaling is in force on either host."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fixtures.counters import signed, wrap
from fixtures.migration.ticks import ticks_at_khz
from fixtures.migration.x86 import scaled as x86_scaled
from fixtures.migration.x86 import tsc as x86
from fixtures.migration.x86.scaled import Scaling
from fixtures.migration.x86.tsc import ClockPair, Source
from tools.vectors.draw import Draw
from tools.vectors.model import Method, Values
from tools.vectors.multipliers import (
    default_ratio,
    draw_host,
    in_64_bits,
    in_double,
    multiplier,
    nearest,
    other_bits,
    without_tolerance,
)

S = 1_000_000_000
DAY_NS = 86400 * S


def case(elapsed_ns: int, source: tuple[int, int], destination: tuple[int, int], **changes: int) -> Values:
    """Return a move of a guest of 1.5 GHz between hosts of (kHz, fraction bits)."""
    values = {
        "guest_khz": 1_500_000,
        "source_host_khz": source[0],
        "source_frac_bits": source[1],
        "source_host_tsc": 7 * 10**12,
        "source_kvmclock_ns": 3600 * S,
        "destination_host_khz": destination[0],
        "destination_frac_bits": destination[1],
        "destination_host_tsc": 6 * 10**15 + 1,
        "destination_kvmclock_ns": 3600 * S + elapsed_ns,
        "tsc_offset": wrap(-(10**9)),
    }
    return values | changes


CASES = {
    "to-intel": ("From the guest's own frequency.", case(4 * S, (1_500_000, 48), (2_599_998, 48))),
    "from-intel": ("Back to the guest's own frequency.", case(4 * S, (2_599_998, 48), (1_500_000, 48))),
    "intel-to-amd": (
        "The fractions have 48 and 32 bits, both cut.",
        case(4 * S, (2_599_998, 48), (2_000_001, 32)),
    ),
    "amd-to-intel-forty-days": (
        "A long blackout.",
        case(40 * DAY_NS, (2_000_001, 32), (2_599_998, 48)),
    ),
    "upward": (
        "The guest is faster than the destination.",
        case(4 * S, (4_000_000, 32), (2_599_998, 48), guest_khz=4_000_000),
    ),
    "within-tolerance": (
        "The destination lies 200 ppm away: KVM does not scale, and the guest runs at the host's frequency.",
        case(4 * S, (1_500_000, 48), (1_500_300, 48)),
    ),
    "counter-beyond-2-63": (
        "The source's TSC has its top bit set.",
        case(4 * S, (2_599_998, 48), (2_000_000, 32), source_host_tsc=2**63 + 4321),
    ),
}


def draw(numbers: Draw) -> Values:
    """Return a move between two hosts, some of which do not scale this guest."""
    kvmclock_ns = numbers.word("kvmclock")
    guest = {"guest_khz": numbers.tsc_khz("guest")}
    sides = {
        f"{side}_{name}": value
        for side in ("source", "destination")
        for name, value in draw_host(numbers, side, guest["guest_khz"]).items()
        if name != "guest_khz"
    }
    return (
        guest
        | sides
        | {
            "source_host_tsc": numbers.word("source_tsc"),
            "source_kvmclock_ns": kvmclock_ns,
            "destination_host_tsc": numbers.word("destination_tsc"),
            "destination_kvmclock_ns": wrap(kvmclock_ns + numbers.duration_ns("blackout")),
            "tsc_offset": numbers.word("offset"),
        }
    )


def _offset(values: Values, old: Scaling, new: Scaling) -> int:
    pairs = [
        ClockPair(values[f"{side}_host_tsc"], values[f"{side}_kvmclock_ns"], 0)
        for side in ("source", "destination")
    ]
    source = Source(pairs[0], values["guest_khz"], (values["tsc_offset"],), (0,))
    elapsed_ns = x86.elapsed_by_kvmclock(*pairs)
    return x86_scaled.offsets(source, old, pairs[1], new, elapsed_ns)[0]


def exact(values: Values) -> Mapping[str, int]:
    """Return the offset for the destination, and both multipliers."""
    old, new = multiplier(values, "source_"), multiplier(values, "destination_")
    return {
        "tsc_offset": _offset(values, old, new),
        "source_ratio": default_ratio(old, values["source_frac_bits"]),
        "destination_ratio": default_ratio(new, values["destination_frac_bits"]),
    }


METHOD = Method(
    name="x86-scaled",
    sentence="The KVM_VCPU_TSC_OFFSET where either host scales the TSC for this guest.",
    formula="O_d = scaled_s(T_s) + O_s + floor((K_d - K_s) * guest_khz / 10^6) - scaled_d(T_d) mod 2^64",
    source="arch/x86/kvm/x86.c: set_tsc_khz(), kvm_compute_l1_tsc_offset()",
    inputs={
        "guest_khz": "frequency set by KVM_SET_TSC_KHZ on both hosts, in kHz",
        "source_host_khz": "the source's TSC frequency as KVM knows it, in kHz",
        "source_frac_bits": "fraction bits of its multiplier: 48 on Intel, 32 on AMD",
        "source_host_tsc": "host_tsc of KVM_GET_CLOCK on the source, in ticks",
        "source_kvmclock_ns": "clock of KVM_GET_CLOCK on the source, in ns",
        "destination_host_khz": "the destination's TSC frequency as KVM knows it, in kHz",
        "destination_frac_bits": "fraction bits of its multiplier",
        "destination_host_tsc": "host_tsc of KVM_GET_CLOCK on the destination after KVM_SET_CLOCK",
        "destination_kvmclock_ns": "clock of the same KVM_GET_CLOCK, in ns",
        "tsc_offset": "KVM_VCPU_TSC_OFFSET of this vCPU on the source",
    },
    outputs={
        "tsc_offset": "KVM_VCPU_TSC_OFFSET of this vCPU on the destination",
        "source_ratio": "the source's multiplier",
        "destination_ratio": "the destination's multiplier",
    },
    answers=exact,
    cases=CASES,
    draw=draw,
    frequency="guest_khz",
)


def _both(values: Values, of: Callable[[Values, str], Scaling]) -> int:
    return _offset(values, of(values, "source_"), of(values, "destination_"))


def _moved(values: Values, scaled: Callable[[Scaling, int], int], khz: int) -> int:
    elapsed_ns = signed(values["destination_kvmclock_ns"] - values["source_kvmclock_ns"])
    before, after = (
        scaled(multiplier(values, side), values[f"{side}host_tsc"]) for side in ("source_", "destination_")
    )
    return wrap(values["tsc_offset"] + before - after + ticks_at_khz(elapsed_ns, khz))


@METHOD.shortcut("scaling-ignored", "scaling-ignored", "The formula without scaling is used.")
def _(values: Values) -> int:
    return _offset(values, Scaling.none(), Scaling.none())


@METHOD.shortcut("source-scaling-ignored", "scaling-ignored", "T_s is not scaled.")
def _(values: Values) -> int:
    return _offset(values, Scaling.none(), multiplier(values, "destination_"))


@METHOD.shortcut(
    "frequency-after-offset",
    "call-order",
    "KVM_SET_TSC_KHZ comes after the offset: T_d was not scaled.",
)
def _(values: Values) -> int:
    return _offset(values, multiplier(values, "source_"), Scaling.none())


@METHOD.shortcut("product-in-64-bits", "product-overflow", "T * ratio is kept in 64 unsigned bits.")
def _(values: Values) -> int:
    return _moved(values, in_64_bits, values["guest_khz"])


@METHOD.shortcut("ratio-in-double", "floating-point", "T and the ratio are multiplied as doubles.")
def _(values: Values) -> int:
    return _moved(values, in_double, values["guest_khz"])


@METHOD.shortcut("ratio-to-nearest", "rounding-direction", "The multipliers are rounded to the nearest.")
def _(values: Values) -> int:
    return _both(values, nearest)


@METHOD.shortcut("other-vendors-bits", "fraction-bits", "Intel's fraction bits on AMD, and AMD's on Intel.")
def _(values: Values) -> int:
    return _both(values, other_bits)


@METHOD.shortcut("tolerance-ignored", "tolerance", "The multipliers are used within 250 ppm as well.")
def _(values: Values) -> int:
    return _both(values, without_tolerance)


@METHOD.shortcut("elapsed-at-host-khz", "wrong-frequency", "K_d - K_s is converted at the destination's kHz.")
def _(values: Values) -> int:
    return _moved(values, Scaling.scaled, values["destination_host_khz"])
