# SPDX-License-Identifier: GPL-2.0-only
"""Host counter windows around calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from fixtures.counters import Window, bracket
from fixtures.kvm.vm import Vm

Result = TypeVar("Result")


def timed(vm: Vm, call: Callable[[], Result]) -> tuple[Window, Result]:
    """Return the host counter values between which *call* happened, and its result."""
    before, result, after = bracket(vm.time.counter, call)
    return Window(before, after, vm.counter_bits), result
