# SPDX-License-Identifier: GPL-2.0-only
"""The idempotency experiment: how far off a counter is that was restored late."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fixtures.benchmark.recorder import BenchmarkRecorder, Point
from fixtures.counters import NSEC_PER_MSEC, bracket, signed
from fixtures.kvm.values import Reading
from fixtures.kvm.vm import Vm

DELAYS_MS = range(11)
REPEATS = 3

SLOPES = {"by value": 1, "by offset": 0}

READINGS = 8
"""How often the restored counter is read; the narrowest reading counts, as a VM's first runs are slow."""


@dataclass(frozen=True, slots=True)
class Heir:
    """A new vCPU, and how a counter is carried over to it."""

    save: Callable[[], int]
    restore: Callable[[int], None]
    read: Callable[[], Reading]  # the counter, by its guest
    line: int  # guest - host where the counter comes from


def carry(heir: Heir, vm: Vm, delay_ms: int) -> Point:
    """Save, wait for *delay_ms*, restore and read; return delay and error in ticks of the host's counter.

    The delay returned is what passed between the middles of saving and restoring, with preemption.
    """
    first, value, second = bracket(vm.time.counter, heir.save)
    vm.time.sleep_ns(delay_ms * NSEC_PER_MSEC)
    third, _, fourth = bracket(vm.time.counter, lambda: heir.restore(value))
    reading = min((heir.read() for _ in range(READINGS)), key=lambda one: one.window.width)
    seen = reading.window.shifted(heir.line)
    middle = seen.first + seen.width // 2
    return Point(delay_ms, (third + fourth - first - second) // 2, signed(middle - reading.value))


def experiment(
    recorder: BenchmarkRecorder, vm: Vm, hz: int, methods: Mapping[str, Callable[[], Heir]]
) -> None:
    """Carry a counter over at each delay by each of *methods*, and assert that only "by value" loses it.

    The slopes, of one run, are 1 for "by value" and 0 for "by offset", within 2 % and their 95 % intervals.
    """
    points: dict[str, list[Point]] = {name: [] for name in methods}
    for delay_ms in [*DELAYS_MS] * REPEATS:
        for name, heir in methods.items():
            points[name].append(carry(heir(), vm, delay_ms))
    lines = recorder.record_points("restored-counter-error", points, hz)
    for name, slope in SLOPES.items():
        if name not in methods:
            continue  # an architecture that sets its counters in one way only
        assert lines[name].half_width < 0.2
        assert abs(lines[name].slope - slope) <= 0.02 + lines[name].half_width
