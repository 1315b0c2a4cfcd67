# SPDX-License-Identifier: GPL-2.0-only
"""The run that is recorded now: rewritten modules have no other way to reach it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tools.export_c.events import Assumption, CallEvent
from tools.export_c.expressions import Compare, Constant, Expression, Not, StepValue
from tools.export_c.recorded_run import RecordedRun
from tools.export_c.symbolic import report_to


@dataclass
class ExportSession:
    """One run at a time."""

    current: RecordedRun = field(default_factory=RecordedRun)

    def begin(self) -> RecordedRun:
        """Start the record of another run."""
        self.current = RecordedRun()
        return self.current

    @contextmanager
    def silence(self) -> Iterator[None]:
        """Record no step of what the harness does inside."""
        run = self.current
        run.silent += 1
        try:
            yield
        finally:
            run.silent -= 1

    def refuse(self, reason: str) -> None:
        """Remember why the run that is recorded now cannot be exported."""
        self.current.refuse(reason)

    def assume(self, condition: Expression, holds: bool) -> None:
        """Remember a condition that decided how the run continues."""
        if any(True for _ in condition.leaves()) and not _is_about_msrs(condition):
            self.current.add(Assumption(condition, holds))


def _is_about_msrs(condition: Expression) -> bool:
    # Whether an MSR was handled is part of what its call must return.
    match condition:
        case Not(of=of):
            return _is_about_msrs(of)
        case Compare(left=StepValue(event=CallEvent() as call, member="result"), right=Constant(1)):
            return call.is_msr()
    return False


RUN = ExportSession()
report_to(RUN.assume, RUN.refuse)
