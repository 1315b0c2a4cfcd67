# SPDX-License-Identifier: GPL-2.0-only
"""A recorded claim as one file for the kernel's own tools/testing/selftests/kvm."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from fixtures.uapi import kvm
from tools.export_c import c_clocks, libkvm, writer
from tools.export_c.c_layouts import layouts
from tools.export_c.c_names import Names
from tools.export_c.c_runtime import LIBKVM, headers, needed
from tools.export_c.claim import Claim
from tools.export_c.cpu_state import folded
from tools.export_c.events import CallEvent, ClockEvent, Event
from tools.export_c.peephole import shortened
from tools.export_c.rolling import rolled

_BUILD = "tools/testing/selftests/kvm, with its name in TEST_GEN_PROGS"
_LOCAL = ("test_util.h", "kvm_util.h", "processor.h")


def write(claim: Claim) -> str:
    """Return *claim* as C on libkvm; `NotExportable` where its steps have none."""
    arch = claim.target.arch
    events = libkvm.reduced(folded(shortened(claim.events), arch))
    writer.check_duration(events)
    program = rolled(events)
    names = Names(program, arch)
    programs = libkvm.programs_of(events, arch)
    memories = writer.memories_of(claim.events)
    vcpus = writer.vcpus_of(events)
    calls = libkvm.LibkvmCalls(names)
    calls.has_guest = bool(programs)
    calls.vcpu_counts = Counter(id(one.owner) for one in vcpus)
    steps = libkvm.LibkvmSteps(
        names,
        calls=calls,
        used=writer.used_in(events, names),
        memories={id(memory): vm for memory, vm in memories},
        vcpus=vcpus,
        leaves_by=writer.BY_ARCHITECTURE[arch][1],
        threads=writer.threads_of(events, names, writer.BY_ARCHITECTURE[arch][1]),
        programs=programs,
    )
    body = "\n".join(_body(writer.statements(program.parts, steps), claim, has_kvm=_has_kvm(events, arch)))
    body = _without_unused(body)
    runtime = needed(arch, body, always=("skip", "in_claim"), form=LIBKVM)
    guest = "\n".join(libkvm.guest_code(programs, arch, body))
    text = runtime + guest + body
    return "\n".join(
        [
            *writer.opening(claim, build=f"copy to {_BUILD}", form=" --libkvm"),
            " */",
            *(f"#include <{name}>" for name in headers(text)),
            *(f'#include "{name}"' for name in _LOCAL),
            *layouts(events, names),
            *_guarded(names),
            "",
            runtime,
            guest,
            body,
            "",
        ]
    )


def _guarded(names: Names) -> Iterator[str]:
    for name, value in names.defines.items():
        yield f"#ifndef {name}"
        yield f"#define {name} {value:#x}"
        yield "#endif"


def _has_kvm(events: list[Event], arch: str) -> bool:
    """Return whether something is done with KVM itself, for which libkvm opens it once more."""
    of_kvm = "kvm" in c_clocks.BY_ARCHITECTURE[arch]
    if of_kvm and any(isinstance(one, ClockEvent) and one.name == "frequency" for one in events):
        return True
    calls = [one for one in events if isinstance(one, CallEvent) and one.owner is None]
    return any(one.request != kvm.KVM_CREATE_VM for one in calls)


def _without_unused(body: str) -> str:
    """Return *body* without variables of vCPUs that only have to be there."""

    def shorter(found: re.Match[str]) -> str:
        return found[0] if len(re.findall(rf"\b{found[1]}\b", body)) > 1 else f"{found[2]};"

    return re.sub(r"struct guest (\w+) = \{ \.vcpu = (.*) \};", shorter, body)


def _body(lines: Iterator[str], claim: Claim, *, has_kvm: bool) -> Iterator[str]:
    yield "int main(void)"
    yield "{"
    if has_kvm:
        yield "\tint kvm = open_kvm_dev_path_or_exit();"
        yield ""
    for test, reason in writer.conditions(claim):
        yield f'\t__TEST_REQUIRE({test}(), "{reason} is absent");'
    yield from (f"\t{line}" if line else "" for line in lines)
    yield "\treturn 0;"
    yield "}"
