# SPDX-License-Identifier: GPL-2.0-only
"""The idempotency experiment: how far off a counter is that was restored late."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fixtures.benchmark.recorder import BenchmarkRecorder, Point
from fixtures.counters import NSEC_PER_MSEC, OutsideWindow, Window, signed
from fixtures.kvm.values import Reading
from fixtures.kvm.vm import Vm
from kvmtests.windows import timed

DELAYS_MS = range(11)
REPEATS = 3

LOSES_THE_DELAY = {"by value": True, "by offset": False}

READINGS = 8
"""How often the restored counter is read; the narrowest reading counts, as a VM's first runs are slow."""


@dataclass(frozen=True, slots=True)
class Heir:
    """A new vCPU, and how a counter is carried over to it."""

    save: Callable[[], int]
    restore: Callable[[int], None]
    read: Callable[[], Reading]  # the counter, by its guest
    line: int  # guest - host where the counter comes from
    uncertainty: int = 0  # ticks by which *line* may be off


@dataclass(frozen=True, slots=True)
class Carried:
    """A counter that was carried over: what its guest read, and where that lies in each case."""

    point: Point
    value: int
    kept: Window  # on the line that it had
    late: Window  # less by the time between saving and restoring

    def check(self, method: str) -> None:
        """Raise `OutsideWindow` unless the counter lost just what *method* loses."""
        expected = self.late if LOSES_THE_DELAY[method] else self.kept
        if self.value not in expected:
            raise OutsideWindow(f"the counter restored {method}", self.value, expected)


def carry(heir: Heir, vm: Vm, delay_ms: int) -> Carried:
    """Save, wait for *delay_ms*, restore and read; in ticks of the host's counter.

    The point's delay is what passed between the middles of saving and restoring, with preemption.
    """
    saving, value = timed(vm, heir.save)
    vm.time.sleep_ns(delay_ms * NSEC_PER_MSEC)
    restoring, _ = timed(vm, lambda: heir.restore(value))
    reading = min((heir.read() for _ in range(READINGS)), key=lambda one: one.window.width)
    kept = reading.window.shifted(heir.line).widened(heir.uncertainty)
    delay = Window(restoring.first - saving.last, restoring.last - saving.first, vm.counter_bits)
    return Carried(
        Point(delay_ms, middle(delay), signed(middle(kept) - reading.value)),
        value=reading.value,
        kept=kept,
        late=kept.plus(Window(-delay.last, -delay.first, vm.counter_bits)),
    )


def middle(window: Window) -> int:
    """Return the value in the middle of *window*, which may lie beyond its counter's end."""
    return window.first + window.width // 2


def experiment(
    recorder: BenchmarkRecorder, vm: Vm, hz: int, methods: Mapping[str, Callable[[], Heir]]
) -> None:
    """Carry a counter over at each delay by each of *methods*, and assert that only "by value" loses it.

    Each reading is judged in its own window, which is as wide as the calls took: a busy host widens windows,
    and moves no reading out of them. The slope of the line through them is recorded; no verdict rests on it.
    """
    carried: dict[str, list[Carried]] = {name: [] for name in methods}
    for delay_ms in [*DELAYS_MS] * REPEATS:
        for name, heir in methods.items():
            carried[name].append(carry(heir(), vm, delay_ms))
    points = {name: [each.point for each in found] for name, found in carried.items()}
    recorder.record_points("restored-counter-error", points, hz)
    for name, found in carried.items():
        for each in found:
            each.check(name)
