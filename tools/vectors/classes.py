# SPDX-License-Identifier: GPL-2.0-only
"""What causes an error: each shortcut belongs to one of these classes."""

from __future__ import annotations

CLASSES = {
    "product-overflow": "A product of two counters or times needs up to 128 bits and is kept in 64.",
    "floating-point": "A count or a time goes through a double, which has 53 bits.",
    "early-rounding": "A quotient is rounded before it is multiplied, so its rounding is also multiplied.",
    "rounding-direction": "A quotient is rounded towards zero or to the nearest where it must be the floor.",
    "narrow-variable": "A time or an offset is kept in 32 bits.",
    "sign": "A difference is taken the wrong way round, or x86's sign is used on arm64.",
    "unsigned-difference": "A difference that may be negative or may wrap is used as a magnitude.",
    "saturation": "A sum stops at the greatest value where it must wrap.",
    "counter-width": "A counter of fewer than 64 bits is taken for one of 64.",
    "term-lost": "A term of the formula is left out.",
    "term-twice": "A term is counted twice, once by KVM and once by the VMM.",
    "wrong-clock": "Elapsed time is taken from another clock, or at another instant, than the formula's.",
    "clamp": "A realtime that lies in the future counts as no time at all, and this is not followed.",
    "flag-ignored": "The flags that say which fields count are not looked at.",
    "leap-second": "CLOCK_REALTIME repeated or skipped a second, and TAI was not consulted.",
    "scaling-ignored": "The host's TSC is scaled for this guest, and the formula does not scale it.",
    "fraction-bits": "The multiplier does not have the fraction bits of this host's hardware.",
    "tolerance": "KVM does not scale within 250 ppm of the host's frequency, and the formula does.",
    "scaling-unavailable": "The host cannot scale, the frequency was accepted, and the multiplier is 0.",
    "wrong-frequency": "Elapsed time is converted at a frequency that is not the guest's.",
    "call-order": "A call was made before another one that it depends on.",
    "one-for-all": "One vCPU's offset is used for others, or others are not written.",
    "blackout-lost": "The time between saving and restoring does not count.",
    "late-write": "A value aged between its computation and the moment KVM took it.",
    "matching": 'KVM takes some values for "as the other vCPUs", and this rule is not followed.',
    "latch": "After KVM_ARM_SET_COUNTER_OFFSET a write by value succeeds and does nothing.",
    "absolute-time": "An absolute time is converted although it is carried over verbatim.",
    "not-read-back": "Success is taken for effect on a host that ignores the offset.",
}
