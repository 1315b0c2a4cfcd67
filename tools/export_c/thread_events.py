# SPDX-License-Identifier: GPL-2.0-only
"""Steps that concern threads: vCPUs that run at once or meanwhile, and CPUs for them."""

from __future__ import annotations

from dataclasses import dataclass

from tools.export_c.events import CallEvent, Enter, Event
from tools.export_c.expressions import Expression


@dataclass(eq=False, slots=True)
class EnterTogether(Event):
    """KVM_RUN of several vCPUs at the same time, each in a thread of its own."""

    entries: tuple[Enter, ...]


@dataclass(eq=False, slots=True)
class Spin(Event):
    """*vcpu* is inside KVM_RUN in a thread of its own, from "start" over "begun" to "stop"."""

    vcpu: CallEvent
    phase: str


@dataclass(eq=False, slots=True)
class ReadOn(Event):
    """A guest program of *vcpu* that ends by itself runs in a thread of its own, from "start" to "end"."""

    vcpu: CallEvent
    phase: str
    entry: Enter | None = None  # at the end: what the steps after it know of its KVM_RUN


@dataclass(eq=False, slots=True)
class AwaitReadings(Event):
    """User space waits until the guest of *vcpu* has made *count* readings more than *since*."""

    vcpu: CallEvent
    since: Expression
    count: int


@dataclass(eq=False, slots=True)
class GiveWay(Event):
    """The calling thread lets others have its CPU for a while."""


@dataclass(eq=False, slots=True)
class Pin(Event):
    """The calling thread runs on the *number*-th of its CPUs alone, modulo how many there are."""

    number: int
