# SPDX-License-Identifier: GPL-2.0-only
"""The idempotency experiment: how far off a counter is that was restored late."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fixtures.benchmark.recorder import Point, Recorder
from fixtures.counters import NSEC_PER_MSEC, bracket, signed
from fixtures.kvm.values import Reading
from fixtures.kvm.vm import Vm

DELAYS_MS = range(11)
REPEATS = 3

READINGS = 8
"""Of the restored counter, the narrowest of which counts: a VM's first runs fill page tables."""


@dataclass(frozen=True, slots=True)
class Heir:
    """A new vCPU, and how a counter gets to it."""

    save: Callable[[], int]
    restore: Callable[[int], None]
    read: Callable[[], Reading]  # the counter, by its guest
    line: int  # guest - host where the counter comes from


def carry(heir: Heir, vm: Vm, asked_ms: int) -> Point:
    """Save, wait for *asked_ms*, restore, read: return delay and error, in ticks of the host's counter.

    The delay is what passed between the middles of saving and restoring, preemption included.
    """
    first, value, second = bracket(vm.time.counter, heir.save)
    vm.time.sleep_ns(asked_ms * NSEC_PER_MSEC)
    third, _, fourth = bracket(vm.time.counter, lambda: heir.restore(value))
    reading = min((heir.read() for _ in range(READINGS)), key=lambda one: one.window.width)
    seen = reading.window.shifted(heir.line)
    middle = seen.first + seen.width // 2
    return Point(asked_ms, (third + fourth - first - second) // 2, signed(middle - reading.value))


def experiment(recorder: Recorder, vm: Vm, hz: int, methods: Mapping[str, Callable[[], Heir]]) -> None:
    """Carry a counter at each delay by each of *methods*; by value must lose the delay, by offset nothing.

    The slopes are ratios of one run: 1 and 0 within 2 % and their 95 % intervals.
    """
    points: dict[str, list[Point]] = {name: [] for name in methods}
    for asked_ms in [*DELAYS_MS] * REPEATS:
        for name, heir in methods.items():
            points[name].append(carry(heir(), vm, asked_ms))
    lines = recorder.record_points("restored-counter-error", points, hz)
    for name, slope in (("by value", 1), ("by offset", 0)):
        assert lines[name].half_width < 0.2
        assert abs(lines[name].slope - slope) <= 0.02 + lines[name].half_width
