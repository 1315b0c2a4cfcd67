# SPDX-License-Identifier: GPL-2.0-only
"""Steps that concern threads as statements of C: vCPUs that run meanwhile or at once, and CPUs for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tools.export_c.c_expressions import word
from tools.export_c.c_names import Names
from tools.export_c.events import CallEvent, Event
from tools.export_c.expressions import StepValue
from tools.export_c.refusal import NotExportable
from tools.export_c.thread_events import AwaitReadings, EnterTogether, GiveWay, Pin, ReadOn, Spin

ENDS = frozenset({"stop", "end"})
"""Phases after which a vCPU's thread has ended."""


@dataclass
class Threads:
    """Writes such steps; *stopped* has the ids of vCPUs whose threads a step ends."""

    names: Names
    stopped: frozenset[int]
    leaves_by: int
    _begun: set[int] = field(default_factory=set)

    def step(self, event: Event, name: Callable[[StepValue], str]) -> Iterator[str]:
        """Yield the statements of *event*, nothing for a step of another kind."""
        match event:
            case EnterTogether():
                yield self._together(event)
            case Spin(vcpu, phase):
                yield self._spin(vcpu, phase)
            case ReadOn(vcpu, "start"):
                yield f"{self._thread(vcpu)}run_meanwhile(&{self.names.of(vcpu)});"
            case ReadOn(vcpu):
                yield f"pthread_join({self.names.of(vcpu)}_thread, NULL);"
            case AwaitReadings(vcpu, since, count):
                yield f"await_readings(&{self.names.of(vcpu)}, {word(since, name)}, {count});"
            case Pin(number):
                yield f"pin({number});"
            case GiveWay():
                yield "give_way();"

    def _together(self, event: EnterTogether) -> str:
        if event.entries[0].reason != self.leaves_by:
            raise NotExportable("vCPUs that run at once leave in another way than guest programs end")
        vcpus = ", ".join(f"&{self.names.of(entry.vcpu)}" for entry in event.entries)
        return f"run_at_once((struct vcpu *[]){{ {vcpus} }}, {len(event.entries)});"

    def _spin(self, vcpu: CallEvent, phase: str) -> str:
        name = self.names.of(vcpu)
        match phase:
            case "start":
                return f"{self._thread(vcpu)}spin_start(&{name});"
            case "stop":
                return f"spin_stop(&{name}, {name}_thread);"
        return f"spin_begun(&{name});"

    def _thread(self, vcpu: CallEvent) -> str:
        """Return what keeps the thread of *vcpu* that begins, nothing where no step ends it."""
        if id(vcpu) not in self.stopped:
            return ""
        kind = "" if id(vcpu) in self._begun else "pthread_t "
        self._begun.add(id(vcpu))
        return f"{kind}{self.names.of(vcpu)}_thread = "
