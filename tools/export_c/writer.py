# SPDX-License-Identifier: GPL-2.0-only
"""A recorded claim as one C program."""

from __future__ import annotations

import json
import shlex
import textwrap
from collections.abc import Iterator, Sequence

from fixtures.architectures import ARM64, X86_64
from fixtures.counters import NSEC_PER_SEC
from fixtures.guests import layout
from fixtures.guests.program import Program
from fixtures.uapi import kvm
from tools.export_c import c_guest, c_guest_memory
from tools.export_c.c_calls import Calls
from tools.export_c.c_layouts import defines, layouts
from tools.export_c.c_names import Names
from tools.export_c.c_runtime import ONE_WAY_OUT, WITHOUT_HANDLERS, headers, needed
from tools.export_c.c_steps import Steps
from tools.export_c.c_threads import ENDS, Threads
from tools.export_c.claim import Claim
from tools.export_c.cpu_state import folded
from tools.export_c.events import CallEvent, Event, MemoryEvent, Sleep
from tools.export_c.exceptions import without_tables
from tools.export_c.expressions import Constant
from tools.export_c.operands import without_repeated
from tools.export_c.peephole import shortened
from tools.export_c.refusal import NotExportable
from tools.export_c.rolling import Loop, leaves, rolled
from tools.export_c.thread_events import ReadOn, Spin

BY_ARCHITECTURE = {
    X86_64.name: ("KVM_EXIT_IO", kvm.KVM_EXIT_IO),
    ARM64.name: ("KVM_EXIT_MMIO", kvm.KVM_EXIT_MMIO),
}
LIMIT_S = 60
_ALWAYS = ("finish", "said", "skip", "fail", "on_alarm")
_WIDTH = 110


def write(claim: Claim) -> str:
    """Return *claim* as C; `NotExportable` where its steps have no C here."""
    arch = claim.target.arch
    events = folded(shortened(claim.events), arch)
    programs = c_guest.started(events, arch)
    form: tuple[str, ...] = ()
    if c_guest.has_bare_state(programs, arch):
        events = [without_tables(event) for event in events]
        form = WITHOUT_HANDLERS
    check_duration(events)
    program = rolled(events)
    names = Names(program, arch)
    vcpus = vcpus_of(events)
    memories = memories_of(events)
    calls = Calls(
        names,
        memories={id(vm): names.of(memory) for memory, vm in memories},
        in_place=changed_in_place(events),
    )
    steps = Steps(
        names,
        calls=calls,
        used=used_in(events, names),
        memories={id(memory): vm for memory, vm in memories},
        vcpus=vcpus,
        leaves_by=BY_ARCHITECTURE[arch][1],
        threads=threads_of(events, names, BY_ARCHITECTURE[arch][1]),
        has_guest=bool(programs),
    )
    body = list(_body(without_repeated(program.parts, programs), steps, claim))
    guest = list(_guest(claim, programs, vcpus))
    text = "\n".join([*guest, *body])
    if not form and "run_to" not in text:
        form = ONE_WAY_OUT
    runtime = needed(arch, text, always=_ALWAYS, form=form)
    for name, value in (("LEAVES_BY", BY_ARCHITECTURE[arch][0]), ("MAILBOXES", f"{layout.mailbox(0):#x}")):
        runtime = runtime.replace(name, value)
    head = [
        *opening(claim, "cc -O2 -Wall -Wextra -pthread -o repro repro.c"),
        " * Status: 0 it holds, 1 it does not, 4 this KVM lacks something that it needs.",
        " */",
        "#define _GNU_SOURCE",
        *(f"#include <{header}>" for header in headers(text + runtime)),
        "",
        f"#define CLAIM {json.dumps(claim.title)}",
        '#define LATE "not ok 1 - " CLAIM " # TIMEOUT\\n"',
        *layouts(events, names),
        *defines(names),
    ]
    return "\n".join([*head, "", runtime, "", *guest, *body, ""])


def check_duration(events: Sequence[Event]) -> None:
    """`NotExportable` if *events* sleep for longer than a program may take."""
    slept = [one.duration_ns for one in events if isinstance(one, Sleep)]
    slept_ns = sum(one.value for one in slept if isinstance(one, Constant))
    if slept_ns >= LIMIT_S * NSEC_PER_SEC:
        raise NotExportable(f"it sleeps for {slept_ns // NSEC_PER_SEC:,} s, more than a program may take")


def threads_of(events: Sequence[Event], names: Names, leaves_by: int) -> Threads:
    """Return what writes the steps of *events* that concern threads."""
    running = [one for one in events if isinstance(one, Spin | ReadOn)]
    return Threads(names, frozenset(id(one.vcpu) for one in running if one.phase in ENDS), leaves_by)


def opening(claim: Claim, build: str, form: str = "") -> Iterator[str]:
    """Yield the comment at the top without its end: the claim, and how to *build* the program."""
    command = ["python", "-m", "tools.export_c", claim.case, "--target", claim.target.name]
    yield "// SPDX-License-Identifier: GPL-2.0-only"
    yield "/*"
    yield from _comment(claim.sentence)
    yield " *"
    for line in (claim.promise, *(f"Source: {source}" for source in claim.sources)):
        yield from _comment(line)
    yield " *"
    yield " * The claim, as kvmtests has it:"
    yield from (
        f" *{'     ' + line if line else ''}" for line in claim.code.replace("*/", "* /").splitlines()
    )
    yield " *"
    yield f" * Written by: {shlex.join(command)}{form}"
    yield f" * Build: {build}"


def _comment(text: str) -> Iterator[str]:
    for paragraph in text.split("\n\n"):
        yield from (f" * {line}" for line in textwrap.wrap(" ".join(paragraph.split()), _WIDTH))


def _guest(claim: Claim, programs: Sequence[Program], vcpus: Sequence[CallEvent]) -> Iterator[str]:
    if not programs:
        return
    yield from map(c_guest.code, programs)
    yield ""
    ids = {one.argument for one in vcpus if isinstance(one.argument, int)}
    memory = next(one for one in claim.events if isinstance(one, MemoryEvent) and one.contents)
    yield c_guest_memory.loading(programs, c_guest_memory.tables(memory, ids, programs))
    yield ""


def statements(parts: Sequence[Event | Loop], steps: Steps) -> Iterator[str]:
    """Yield the lines of main() that make the steps, without their indentation."""
    in_claim = False
    for part in parts:
        first = part.body[0] if isinstance(part, Loop) else part
        if first.claim and not in_claim:
            yield from ("", "in_claim = true; /* the claim begins here */")
            in_claim = True
        yield from steps.loop(part) if isinstance(part, Loop) else steps.event(part)


def _body(parts: Sequence[Event | Loop], steps: Steps, claim: Claim) -> Iterator[str]:
    lines = list(statements(parts, steps))
    yield from steps.functions()
    yield "int main(void)"
    yield "{"
    yield '\tint kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);'
    yield "\tsignal(SIGALRM, on_alarm);"
    yield f"\talarm({LIMIT_S});"
    yield '\tprintf("TAP version 13\\n1..1\\n");'
    yield "\tfflush(stdout);"
    yield "\tif (kvm < 0)"
    yield '\t\tskip("/dev/kvm: %s", strerror(errno));'
    for test, reason in conditions(claim):
        yield f'\tassume({test}(), "{reason} is absent");'
    yield from (f"\t{line}" if line else "" for line in lines)
    yield '\tfinish(0, "%s", said);'
    yield "}"


def conditions(claim: Claim) -> Iterator[tuple[str, str]]:
    """Yield the runtime's function for each fixture of *claim* that queries the host, and what is absent."""
    for fixture, test, reason in _CONDITIONS:
        if fixture in claim.fixtures:
            yield test, reason


_CONDITIONS = (
    ("tsc_clocksource", "clocksource_is_tsc", "a TSC-based clocksource"),
    ("stable_tsc", "tsc_is_stable", "a host whose TSC is stable"),
)
"""What fixtures query of the host, outside of KVM."""


def vcpus_of(events: Sequence[Event]) -> list[CallEvent]:
    """Return the calls that made vCPUs."""
    made = [one for one in events if isinstance(one, CallEvent) and one.request == kvm.KVM_CREATE_VCPU]
    return [one for one in made if not one.failed()]


def memories_of(events: Sequence[Event]) -> list[tuple[MemoryEvent, CallEvent]]:
    """Return each guest memory with the VM that it was given to first."""
    found: dict[int, tuple[MemoryEvent, CallEvent]] = {}
    for event in events:
        if isinstance(event, CallEvent) and event.layout is kvm.kvm_userspace_memory_region:
            memory = getattr(event.members.get("userspace_addr"), "memory", None)
            if memory is not None and isinstance(event.owner, CallEvent):
                found.setdefault(id(event.owner), (memory, event.owner))
    return list(found.values())


def changed_in_place(events: Sequence[Event]) -> frozenset[int]:
    """Return the ids of calls whose structure is that of a call before, which nothing else looks at."""
    users: dict[int, set[int]] = {}
    for event in events:
        for leaf in leaves(event):
            users.setdefault(id(leaf.event), set()).add(id(event))
        if isinstance(event, CallEvent) and event.base is not None:
            users.setdefault(id(event.base), set()).add(id(event))
    derived = [one for one in events if isinstance(one, CallEvent) and one.base is not None]
    return frozenset(id(one) for one in derived if users[id(one.base)] == {id(one)} and id(one) not in users)


def used_in(events: Sequence[Event], names: Names) -> set[tuple[int, str]]:
    """Return the id of each step, and the member, whose value a later step uses."""
    used = set()
    for event in events:
        for leaf in leaves(event):
            first, _ = names.program.places.get(id(leaf.event), (id(leaf.event), 0))
            used.add((first, leaf.member))
    return used
