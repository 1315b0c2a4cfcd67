# SPDX-License-Identifier: GPL-2.0-only
"""The clocks of a run that is exported: every reading and every wait is a step."""

from __future__ import annotations

from fixtures.backends.protocol import HostTime
from fixtures.kvm.run_delay import RunDelay
from tools.export_c.events import ClockEvent, Sleep
from tools.export_c.expressions import StepValue
from tools.export_c.recorded_run import RecordedRun
from tools.export_c.symbolic import Number, of
from tools.export_c.thread_events import GiveWay


class RecordedTime:
    """`protocol.HostTime` whose readings are steps."""

    def __init__(self, inner: HostTime, run: RecordedRun) -> None:
        """Read the clocks of *inner*."""
        self._inner = inner
        self._run = run

    def counter(self) -> int:
        """The host counter."""
        return self._reading("counter", self._inner.counter())

    def realtime_ns(self) -> int:
        """CLOCK_REALTIME."""
        return self._reading("realtime", self._inner.realtime_ns())

    def monotonic_raw_ns(self) -> int:
        """CLOCK_MONOTONIC_RAW."""
        return self._reading("monotonic_raw", self._inner.monotonic_raw_ns())

    def glance(self) -> tuple[int, int]:
        """Both clocks for a record: no step."""
        return self._inner.glance()

    def sleep_ns(self, duration_ns: int) -> None:
        """A pause."""
        self._run.add(Sleep(of(duration_ns)))
        self._inner.sleep_ns(int(duration_ns))

    def _reading(self, name: str, value: int) -> int:
        event = ClockEvent(name)
        self._run.add(event)
        return Number(value, StepValue(event, "", 64))


def recorded_delay(inner: RunDelay, run: RecordedRun) -> RunDelay:
    """Return *inner* with each reading and each wait as a step of *run*."""

    def so_far_ns() -> int:
        event = ClockEvent("run_delay")
        run.add(event)
        return Number(inner.so_far_ns(), StepValue(event, "", 64))

    def wait() -> None:
        run.add(GiveWay())
        inner.wait()

    return RunDelay(so_far_ns, wait)
