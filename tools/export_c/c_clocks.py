# SPDX-License-Identifier: GPL-2.0-only
"""Readings of the host's clocks as C."""

from __future__ import annotations

from fixtures.architectures import ARM64, X86_64
from tools.export_c.events import ClockEvent

BY_ARCHITECTURE = {X86_64.name: "frequency_hz(kvm)", ARM64.name: "frequency_hz()"}
"""What returns the frequency of the host's counter: of x86's only KVM knows it."""

_IDS = {"realtime": "CLOCK_REALTIME", "monotonic_raw": "CLOCK_MONOTONIC_RAW"}


def reading(event: ClockEvent, arch: str) -> str:
    """Return the call of the runtime that reads the clock of *event*."""
    match event.name:
        case "frequency":
            return BY_ARCHITECTURE[arch]
        case "run_delay":
            return "run_delay_ns()"
        case "counter":
            return "host_counter()"
    return f"clock_ns({_IDS[event.name]})"
