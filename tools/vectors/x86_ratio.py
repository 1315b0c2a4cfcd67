# SPDX-License-Identifier: GPL-2.0-only
"""x86's multiplier of TSC scaling: kHz to a fraction of the hardware's width, and a TSC through it."""

from __future__ import annotations

from collections.abc import Mapping

from fixtures.counters import wrap
from fixtures.migration.x86.scaled import Scaling
from tools.vectors.model import Method, Values
from tools.vectors.multipliers import (
    AMD,
    INTEL,
    default_ratio,
    draw_host,
    in_64_bits,
    in_double,
    multiplier,
    nearest,
    other_bits,
    without_tolerance,
)


def _case(guest_khz: int, host_khz: int, frac_bits: int, host_tsc: int = 7 * 10**12 + 1) -> Values:
    return {"guest_khz": guest_khz, "host_khz": host_khz, "frac_bits": frac_bits, "host_tsc": host_tsc}


CASES = {
    "same": ("Guest and host have one frequency.", _case(2_000_000, 2_000_000, AMD)),
    "half": ("Half the frequency is exact.", _case(1_000_000, 2_000_000, AMD)),
    "intel": ("48 fraction bits, cut.", _case(1_500_000, 2_599_998, INTEL)),
    "amd": ("32 fraction bits, cut.", _case(1_500_000, 2_599_998, AMD)),
    "upward": ("The guest is faster than the host.", _case(4_000_000, 2_599_998, INTEL)),
    "tolerance-lowest": (
        "The slowest guest that is not scaled.",
        _case(2_599_350, 2_600_001, INTEL),
    ),
    "tolerance-below": ("1 kHz slower: KVM scales.", _case(2_599_349, 2_600_001, INTEL)),
    "tolerance-highest": (
        "The fastest guest that is not scaled.",
        _case(2_600_651, 2_600_001, AMD),
    ),
    "tolerance-above": ("1 kHz faster: KVM scales.", _case(2_600_652, 2_600_001, AMD)),
    "tsc-beyond-2-63": (
        "The top bit of T is set.",
        _case(1_500_000, 2_599_998, INTEL, 2**63 + 4321),
    ),
    "forty-five-minutes": (
        "A host that has been up for 45 minutes, and a guest of half its frequency.",
        _case(1_300_000, 2_600_000, INTEL, 2_600_000_000 * 2700),
    ),
}


def exact(values: Values) -> Mapping[str, int]:
    """Return the scaled TSC and the multiplier."""
    scaling = multiplier(values)
    return {
        "scaled_tsc": scaling.scaled(values["host_tsc"]),
        "ratio": default_ratio(scaling, values["frac_bits"]),
    }


METHOD = Method(
    name="x86-ratio",
    sentence="KVM's multiplier for a guest's frequency, and a host TSC that has passed through it.",
    formula="ratio = floor((guest_khz << frac) / host_khz), or 1 << frac within 250 ppm; T * ratio >> frac",
    source="arch/x86/kvm/x86.c: set_tsc_khz(), kvm_scale_tsc()",
    inputs={
        "guest_khz": "frequency set by KVM_SET_TSC_KHZ, in kHz",
        "host_khz": "the host's TSC frequency as KVM knows it, in kHz",
        "frac_bits": "fraction bits of the hardware's multiplier: 48 on Intel, 32 on AMD",
        "host_tsc": "the host's TSC, in ticks",
    },
    outputs={
        "scaled_tsc": "the guest's TSC before its offset is added",
        "ratio": "the multiplier; 1 << frac_bits does not scale",
    },
    answers=exact,
    cases=CASES,
    draw=lambda numbers: draw_host(numbers, "") | {"host_tsc": numbers.word("host_tsc")},
    frequency="guest_khz",
)


@METHOD.shortcut("product-in-64-bits", "product-overflow", "T * ratio is kept in 64 unsigned bits.")
def _(values: Values) -> int:
    return in_64_bits(multiplier(values), values["host_tsc"])


@METHOD.shortcut("ratio-in-double", "floating-point", "T and the ratio are multiplied as doubles.")
def _(values: Values) -> int:
    return in_double(multiplier(values), values["host_tsc"])


@METHOD.shortcut("khz-in-double", "floating-point", "T is multiplied with guest_khz / host_khz as doubles.")
def _(values: Values) -> int:
    quotient = float(values["guest_khz"]) / float(values["host_khz"])
    return wrap(int(float(values["host_tsc"]) * quotient))


@METHOD.shortcut("ratio-to-nearest", "rounding-direction", "The multiplier is rounded to the nearest.")
def _(values: Values) -> int:
    return nearest(values).scaled(values["host_tsc"])


@METHOD.shortcut("other-vendors-bits", "fraction-bits", "Intel's fraction bits on AMD, and AMD's on Intel.")
def _(values: Values) -> int:
    return other_bits(values).scaled(values["host_tsc"])


@METHOD.shortcut("exact-quotient", "fraction-bits", "T * guest_khz / host_khz, as if fractions had no end.")
def _(values: Values) -> int:
    if multiplier(values) == Scaling.none():
        return values["host_tsc"]
    return wrap(values["host_tsc"] * values["guest_khz"] // values["host_khz"])


@METHOD.shortcut("tolerance-ignored", "tolerance", "The multiplier is used within 250 ppm as well.")
def _(values: Values) -> int:
    return without_tolerance(values).scaled(values["host_tsc"])


@METHOD.shortcut("scaling-ignored", "scaling-ignored", "The host's TSC is taken for the guest's.")
def _(values: Values) -> int:
    return values["host_tsc"]


@METHOD.shortcut("multiplier-0", "scaling-unavailable", "Without scaling the new vCPU's multiplier stays 0.")
def _(values: Values) -> int:
    return values["host_tsc"] if multiplier(values) == Scaling.none() else 0
