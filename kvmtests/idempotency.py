# SPDX-License-Identifier: GPL-2.0-only
"""The idempotency experiment: how far off a counter is that was restored late."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fixtures.benchmark.recorder import Point, Recorder
from fixtures.counters import signed
from fixtures.kvm.values import Reading
from fixtures.kvm.vm import Vm

MS = 1_000_000
DELAYS_MS = range(11)
REPEATS = 3

READINGS = 8
"""Of the restored counter, the narrowest of which counts: a VM's first runs fill page tables."""

Restore = Callable[[Callable[[], None]], tuple[Reading, int]]
"""Saves, calls the delay, restores; returns the guest's reading, and guest - host on the line it left."""


def narrowest(read: Callable[[], Reading]) -> Reading:
    """Return what *read* gives where the host's counter moved least around it."""
    return min((read() for _ in range(READINGS)), key=lambda reading: reading.window.width)


def experiment(recorder: Recorder, vm: Vm, hz: int, methods: Mapping[str, Restore]) -> None:
    """Restore at each delay by each of *methods*; fail unless by value loses the delay and by offset nothing.

    The delay is what passed on the host's counter, preemption included, between save and
    restore. The slopes are ratios of one run: 1 and 0 within 2 % and their 95 % intervals.
    """
    points: dict[str, list[Point]] = {name: [] for name in methods}
    for asked_ms in [*DELAYS_MS] * REPEATS:
        for name, restore in methods.items():
            delay_ticks: list[int] = []

            def delay(asked_ms: int = asked_ms, ticks: list[int] = delay_ticks) -> None:
                before = vm.time.counter()
                vm.time.sleep_ns(asked_ms * MS)
                ticks.append(vm.time.counter() - before)

            reading, line = restore(delay)
            seen = reading.window.shifted(line)
            middle = seen.first + seen.width // 2
            points[name].append(Point(asked_ms, delay_ticks[0], signed(middle - reading.value)))
    lines = recorder.record_points("restored-counter-error", points, hz)
    for name, slope in (("by value", 1), ("by offset", 0)):
        assert lines[name].half_width < 0.2
        assert abs(lines[name].slope - slope) <= 0.02 + lines[name].half_width
