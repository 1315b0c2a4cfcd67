# SPDX-License-Identifier: GPL-2.0-only
"""Multipliers of TSC scaling from a vector's inputs, right ones and those of shortcuts."""

from __future__ import annotations

from fixtures.counters import wrap
from fixtures.migration.x86.scaled import Scaling
from tools.vectors.draw import Draw
from tools.vectors.model import Values

INTEL, AMD = 48, 32


def multiplier(values: Values, side: str = "") -> Scaling:
    """Return the multiplier that KVM uses on the host whose inputs begin with *side*."""
    return Scaling.estimated(values["guest_khz"], values[f"{side}host_khz"], values[f"{side}frac_bits"])


def default_ratio(scaling: Scaling, frac_bits: int) -> int:
    """Return the ratio as KVM keeps it: 1 << *frac_bits* where nothing is scaled."""
    return 1 << frac_bits if scaling == Scaling.none() else scaling.ratio


def draw_host(numbers: Draw, side: str, guest_khz: int | None = None) -> dict[str, int]:
    """Return a host, of either vendor, whose frequency is the guest's, about the guest's, or any."""
    guest_khz = guest_khz or numbers.tsc_khz("guest")
    near = guest_khz + numbers.between(f"{side}near", -guest_khz // 3000, guest_khz // 3000)
    host_khz = numbers.choice(f"{side}kind", (guest_khz, near, *[numbers.tsc_khz(f"{side}host")] * 4))
    return {
        "guest_khz": guest_khz,
        "host_khz": host_khz,
        "frac_bits": numbers.choice(f"{side}vendor", (INTEL, AMD)),
    }


def in_64_bits(scaling: Scaling, host_tsc: int) -> int:
    """Return the scaled TSC whose product is kept in 64 bits."""
    return wrap(host_tsc * scaling.ratio) >> scaling.frac_bits


def in_double(scaling: Scaling, host_tsc: int) -> int:
    """Return the scaled TSC computed in doubles; unscaled ones do not pass through them."""
    if scaling == Scaling.none():
        return host_tsc
    return wrap(int(float(host_tsc) * (float(scaling.ratio) / float(1 << scaling.frac_bits))))


def without_tolerance(values: Values, side: str = "") -> Scaling:
    """Return the multiplier that would be used without a tolerance."""
    frac_bits = values[f"{side}frac_bits"]
    return Scaling((values["guest_khz"] << frac_bits) // values[f"{side}host_khz"], frac_bits)


def nearest(values: Values, side: str = "") -> Scaling:
    """Return the multiplier rounded to the nearest."""
    scaling = multiplier(values, side)
    if scaling == Scaling.none():
        return scaling
    host_khz = values[f"{side}host_khz"]
    rounded = ((values["guest_khz"] << scaling.frac_bits) + host_khz // 2) // host_khz
    return Scaling(rounded, scaling.frac_bits)


def other_bits(values: Values, side: str = "") -> Scaling:
    """Return the multiplier with the fraction bits of the other vendor's hardware."""
    other = INTEL + AMD - values[f"{side}frac_bits"]
    return Scaling.estimated(values["guest_khz"], values[f"{side}host_khz"], other)
