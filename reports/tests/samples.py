# SPDX-License-Identifier: GPL-2.0-only
"""Runs to write and read in tests and benchmarks: every verdict, any size, deterministic."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

from reports import merge, read_journal
from reports.model import Run

TARGETS = (
    ("host", "host", "x86_64", "", "upstream"),
    ("sim-x86_64", "sim", "x86_64", "", "upstream"),
    ("sim-x86_64-series", "sim", "x86_64", "", "series"),
    ("sim-arm64-vhe", "sim", "arm64", "vhe", "upstream"),
    ("sim-arm64-nvhe", "sim", "arm64", "nvhe", "upstream"),
    ("sim-arm64-vhe-series", "sim", "arm64", "vhe", "series"),
    ("sim-arm64-nvhe-series", "sim", "arm64", "nvhe", "series"),
    ("lab-arm64-protected", "lab", "arm64", "protected", "upstream"),
)
SUBJECTS = (
    "x86/test_clock",
    "x86/test_tsc",
    "x86/test_tsc_offset",
    "x86/test_tsc_msrs",
    "x86/test_pvclock",
    "x86/test_master_clock",
    "arm64/test_counter_offset",
    "arm64/test_trap_table",
    "arm64/test_timers",
    "common/test_attributes",
    "common/test_lifecycle",
)
CLAIMS = (
    "guest_counter_is_host_counter_plus_offset",
    "refused_call_leaves_state_untouched",
    "offset_reads_back",
    "offset_is_the_same_on_every_vcpu",
    "realtime_in_the_past_is_taken_as_now",
    "absent_attribute_is_enxio",
    "bad_address_is_efault",
    "clock_never_steps_back",
)
OFFSETS = ("zero", "plus-one", "minus-one", "plus-180-s", "minus-180-s", "two-to-the-32", "half-range")
LOG = """\
    def test_{claim}(vcpu, offset):
        \"\"\"The guest reads the host's counter plus the offset, modulo 2**64.\"\"\"
        vcpu.tsc_offset = offset

        before, seen, after = bracket(vcpu.vm.host_tsc, vcpu.read_tsc)

>       assert seen in Window(before, after).shifted(offset)
E       AssertionError: 18446744073709551614 is 541 after the end of [{low}, {high}], {width} wide

kvmtests/{file}.py:{line}: AssertionError
--- Captured log call ---
INFO ioctl KVM_SET_DEVICE_ATTR(KVM_VCPU_TSC_CTRL, KVM_VCPU_TSC_OFFSET) = 0
"""

Record = dict[str, object]


def lines(size: int, targets: int = len(TARGETS), seed: int = 1) -> Iterator[bytes]:
    """Yield the journal of a run of *size* results on *targets* targets, some of them bad."""
    for record in records(size, targets, seed):
        yield (json.dumps(record, separators=(",", ":")) + "\n").encode()


def run(size: int, targets: int = len(TARGETS), seed: int = 1) -> Run:
    """Return the run of the journal `lines`."""
    return merge.merge(read_journal.parse(lines(size, targets, seed)))


def records(size: int, targets: int, seed: int) -> Iterator[Record]:
    """Yield the records of a journal of *size* results."""
    chance = random.Random(seed)  # noqa: S311
    started_ns = 1_790_000_000_000_000_000
    yield {
        "type": "session",
        "version": 1,
        "time_ns": started_ns,
        "host": "board-7",
        "facts": {"kernel": "Linux 6.12.9", "python": "3.11.7"},
    }
    for name, kind, arch, mode, generation in TARGETS[:targets]:
        facts = {"kernel": "6.12.9", "counter_frequency_hz": 25_000_000, "KVM_CAP_COUNTER_OFFSET": True}
        yield {
            "type": "target",
            "name": name,
            "kind": kind,
            "arch": arch,
            "mode": mode,
            "generation": generation,
            "simulated": kind == "sim",
            "usable": True,
            "reason": None,
            "facts": facts,
        }
    nodeids = list(_nodeids(size, targets))
    for first in range(0, size, 500):
        yield {"type": "collection", "nodeids": nodeids[first : first + 500]}
    for number, nodeid in enumerate(nodeids):
        yield from _test(nodeid, started_ns + number * 2_000_000, number, chance)
    yield {"type": "end", "time_ns": started_ns + size * 2_000_000, "exit_status": 1, "stopped": ""}


def _nodeids(size: int, targets: int) -> Iterator[str]:
    rows = -(-size // targets)
    made = 0
    for row in range(rows):
        path = SUBJECTS[row * len(SUBJECTS) // rows]
        claim = CLAIMS[row % len(CLAIMS)]
        case = f"{OFFSETS[row // len(CLAIMS) % len(OFFSETS)]}-{row // (len(CLAIMS) * len(OFFSETS))}"
        for name, *_ in TARGETS[:targets]:
            if made < size:
                made += 1
                yield f"kvmtests/{path}.py::test_{claim}[{name}-{case}]"


def _test(nodeid: str, start_ns: int, number: int, chance: random.Random) -> Iterator[Record]:
    path, _, rest = nodeid.removeprefix("kvmtests/").partition(".py::")
    claim, _, params = rest.removeprefix("test_").partition("[")
    target = max((name for name, *_ in TARGETS if params.startswith(f"{name}-")), key=len)
    duration_ns = chance.randrange(200_000, 3_000_000)
    yield {"type": "start", "nodeid": nodeid, "time_ns": start_ns}
    result: Record = {
        "type": "result",
        "nodeid": nodeid,
        "target": target,
        "subject": path.replace("/test_", "."),
        "duration_ns": duration_ns,
        "start_ns": start_ns,
        "file": f"kvmtests/{path}.py",
        "line": 40,
    }
    verdict = _verdict(path, target, chance)
    if verdict not in ("pass", "skip"):
        low = chance.randrange(1 << 60)
        log = LOG.format(claim=claim, low=low, high=low + 900, width=900, file=path, line=number % 90 + 10)
        yield {"type": "log", "nodeid": nodeid, "target": target, "text": log}
        result["message"] = f"{low + 1441} is 541 after the end of [{low}, {low + 900}], 900 wide"
        result["repro"] = f"python3 -m pytest '{nodeid}' --target {target}"
    if verdict == "changed":
        result["promise"] = "de facto: Linux 5.10 to 7.3"
    if verdict == "skip":
        result["reason"] = "KVM_CAP_COUNTER_OFFSET"
    if verdict in ("xfail", "xpass"):
        result |= {"known_issue": "pvm-tsc-offset", "known_issue_reason": "kvm_pvm ignores TSC offsets"}
        result["reason"] = "kvm_pvm accepts KVM_VCPU_TSC_OFFSET and the guest's TSC ignores it"
    if number < 24 and number % 8 == 4:
        yield from _samples(nodeid, target, chance)
    yield {**result, "verdict": verdict}


def _verdict(path: str, target: str, chance: random.Random) -> str:
    if path.partition("/")[0] == "arm64" and "x86" in target:
        return "skip"
    if target == "host" and path == "x86/test_tsc_offset":
        return "xfail"
    draw = chance.random()
    steps = (
        ("fail", 0.012),
        ("error", 0.014),
        ("timeout", 0.0155),
        ("xpass", 0.016),
        ("changed", 0.0165),
        ("skip", 0.03),
    )
    return next((verdict for verdict, below in steps if draw < below), "pass")


def _samples(nodeid: str, target: str, chance: random.Random) -> Iterator[Record]:
    for variant, mean, deviation in (("native", 54, 12), ("trapped", 148, 22)):
        values = [round(max(30.0, chance.gauss(mean, deviation)), 1) for _ in range(2_000)]
        values[7] = 4_000.0
        yield {
            "type": "sample",
            "nodeid": nodeid,
            "target": target,
            "metric": "CNTPCT read",
            "variant": variant,
            "unit": "ns",
            "values": values,
        }
