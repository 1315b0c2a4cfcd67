# SPDX-License-Identifier: GPL-2.0-only
"""The record of one run: its steps in their order, also those of other threads."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tools.export_c.events import CallEvent, Event
from tools.export_c.places import Places
from tools.export_c.refusal import NotExportable


class RecordedRun:
    """The steps so far, and what is known about the places of their numbers."""

    def __init__(self) -> None:
        """Nothing has happened."""
        self.events: list[Event] = []
        self.places = Places()
        self.in_claim = False
        self.ended = False
        self.thread = threading.get_ident()
        self._branches: dict[int, list[Event]] = {}  # steps of other threads, by the thread
        self._silence = threading.local()
        self.reading: set[int] = set()  # ids of vCPUs whose guest reads on in another thread
        self.hyperv_tables: dict[bytes, tuple[CallEvent, CallEvent]] = {}  # CPUID of KVM, and of Hyper-V
        self.owners: dict[int, Event | None] = {}  # of descriptors
        self.trouble: NotExportable | None = None
        self.plain_checks: list[tuple[str, bool]] = []  # of what is not a value of a step

    def add(self, event: Event) -> None:
        """Append a step, unless the harness does something that a step before stands for."""
        branch = self._branch()
        if self.silent or self.ended or branch is None:
            return
        event.claim = self.in_claim
        branch.append(event)

    @property
    def silent(self) -> int:
        """How many of the harness's doings this thread is in that no step is recorded of."""
        return int(getattr(self._silence, "depth", 0))

    @silent.setter
    def silent(self, depth: int) -> None:
        self._silence.depth = depth

    def follows_this_thread(self) -> bool:
        """Return whether what the calling thread does is recorded."""
        return self._branch() is not None

    @contextmanager
    def branch(self, steps: list[Event]) -> Iterator[None]:
        """Record what the calling thread does in *steps*."""
        self._branches[threading.get_ident()] = steps
        try:
            yield
        finally:
            del self._branches[threading.get_ident()]

    def _branch(self) -> list[Event] | None:
        here = threading.get_ident()
        return self.events if here == self.thread else self._branches.get(here)

    def vcpu(self, fd: int) -> CallEvent:
        """Return the call that made the vCPU of *fd*."""
        made = self.owners[fd]
        assert isinstance(made, CallEvent)
        return made

    def refuse(self, reason: str) -> None:
        """Remember the first reason why the run cannot be exported; it continues nevertheless."""
        if not self.silent:
            self.trouble = self.trouble or NotExportable(reason)
