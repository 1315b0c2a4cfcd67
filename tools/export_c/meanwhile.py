# SPDX-License-Identifier: GPL-2.0-only
"""Guests that run in threads of their own while user space does other work.

What such a guest needs is prepared before its thread begins, and what it left is read after the thread
has ended, so that the steps of both threads have one order that a program can follow.
"""

from __future__ import annotations

import ctypes
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from tools.export_c.events import Enter, Event
from tools.export_c.refusal import NotExportable
from tools.export_c.session import RUN
from tools.export_c.symbolic import of
from tools.export_c.thread_events import AwaitReadings, Pin, ReadOn
from tools.export_c.tracking import write_number


def run_meanwhile(function: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
    """Do as `fixtures.kvm.meanwhile.run_meanwhile`, with the guest's preparation as steps of this thread."""
    given = inspect.signature(function).bind(*arguments, **keywords)
    given.apply_defaults()
    reader, program, operands, work, count = given.args
    run = RUN.current
    vcpu = run.vcpu(reader.handle.fd)
    reader.guest.load(program, count)
    for index, operand in enumerate(operands):
        place = reader.guest.mailbox.operand
        place[index] = operand
        write_number(ctypes.addressof(place) + 8 * index, 8, operand)
    run.reading.add(id(vcpu))
    try:
        function(reader, program, (), work, count)
    finally:
        run.reading.discard(id(vcpu))
    run.add(ReadOn(vcpu, "end"))


def await_readings(function: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
    """Do as `fixtures.kvm.meanwhile.await_readings`, as one step."""
    given = inspect.signature(function).bind(*arguments, **keywords)
    given.apply_defaults()
    reader, since, count = given.args
    with RUN.silence():
        function(reader, int(since), count)
    RUN.current.add(AwaitReadings(RUN.current.vcpu(reader.handle.fd), of(since), count))


def pin(function: Any, arguments: tuple[Any, ...], _: dict[str, Any]) -> None:
    """Do as `fixtures.kvm.cpus.pin`, as one step, also where a simulated host has no CPUs to choose from."""
    function(*arguments)
    RUN.current.add(Pin(int(arguments[1])))


def with_other_work(function: Any, calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Return the results of *calls*, which *function* begins at the same time: guests, and one other work."""
    run = RUN.current
    branches: list[list[Event]] = [[] for _ in calls]

    def followed(call: Callable[[], Any], branch: list[Event]) -> Callable[[], Any]:
        def work() -> Any:
            with run.branch(branch):
                return call()

        return work

    results: list[Any] = function(*(map(followed, calls, branches)))
    try:
        run.events += merged(branches)
    except NotExportable as reason:
        run.refuse(str(reason))
    return results


def merged(branches: Sequence[Sequence[Event]]) -> list[Event]:
    """Return the steps of all *branches*: guests are prepared and begin, the work is done, and they end."""
    before: list[Event] = []
    after: list[Event] = []
    works: list[Sequence[Event]] = []
    for branch in branches:
        found = [at for at, event in enumerate(branch) if isinstance(event, Enter) and event.reason != -1]
        if len(found) != 1:
            works.append(branch)
            continue
        entry = branch[found[0]]
        assert isinstance(entry, Enter)
        if entry.faulted:
            raise NotExportable("a guest that runs next to other work takes an exception")
        before += [*branch[: found[0]], ReadOn(entry.vcpu, "start", claim=entry.claim)]
        after += [ReadOn(entry.vcpu, "end", entry, claim=entry.claim), *branch[found[0] + 1 :]]
    if len(works) > 1:
        raise NotExportable("several threads of it do more than run one guest once")
    return [*before, *(event for work in works for event in work), *after]
