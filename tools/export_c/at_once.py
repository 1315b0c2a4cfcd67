# SPDX-License-Identifier: GPL-2.0-only
"""Several vCPUs that run at once: recorded one after the other, written as threads.

Each vCPU's entry is one KVM_RUN between what prepares it and what reads its results, and touches its own
mailbox only, so the preparations of all may come before the entries, and the reading after them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from fixtures.kvm.guest import Guest
from tools.export_c.events import Enter, Event
from tools.export_c.refusal import NotExportable
from tools.export_c.session import RUN
from tools.export_c.thread_events import EnterTogether


def recorded(calls: Sequence[Callable[[], Any]]) -> list[Any] | None:
    """Return the results of *calls* if each runs one guest once; None where one does something else."""
    if not all(_runs_a_guest(call) for call in calls):
        return None
    run = RUN.current
    results, branches = [], []
    for call in calls:
        first = len(run.events)
        results.append(call())
        branches.append(run.events[first:])
        del run.events[first:]
    try:
        run.events += merged(branches)
    except NotExportable as reason:
        run.refuse(str(reason))
    return results


def merged(branches: Sequence[Sequence[Event]]) -> list[Event]:
    """Return the steps of all *branches* with their entries as one step."""
    before: list[Event] = []
    after: list[Event] = []
    entries: list[Enter] = []
    for branch in branches:
        found = [at for at, event in enumerate(branch) if isinstance(event, Enter) and event.reason != -1]
        if len(found) != 1:
            raise NotExportable("a vCPU that runs at once with others leaves more than once")
        entry = branch[found[0]]
        assert isinstance(entry, Enter)
        before += branch[: found[0]]
        entries.append(entry)
        after += branch[found[0] + 1 :]
    if len({entry.reason for entry in entries}) != 1 or any(entry.faulted for entry in entries):
        raise NotExportable("vCPUs that run at once leave in different ways")
    return [*before, EnterTogether(tuple(entries), claim=entries[0].claim), *after]


def _runs_a_guest(call: Callable[[], Any]) -> bool:
    return isinstance(call, functools.partial) and isinstance(getattr(call.func, "__self__", None), Guest)
