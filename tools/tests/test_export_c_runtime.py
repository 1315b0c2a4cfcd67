# SPDX-License-Identifier: GPL-2.0-only
"""What every program carries along computes in C what the harness computes in Python."""

from __future__ import annotations

from pathlib import Path

from fixtures.kvm.values import Pvclock
from tools.export_c.c_runtime import pieces
from tools.tests.exported import compiled, run

RECORD = """\
struct pvclock_vcpu_time_info {
	uint32_t version, pad0;
	uint64_t tsc_timestamp, system_time;
	uint32_t tsc_to_system_mul;
	int8_t tsc_shift;
	uint8_t flags, pad[2];
} __attribute__((packed));
"""
CASES = [
    (2**64 - 5, 2**63, 2**32 - 1, -1, 2**64 - 1),
    (0, 0, 2**31, 1, 10**9),
    (2**40, 5, 2**31, 0, 2**40),
    (7, 9, 3435973836, -2, 3),
    (1, 2**64 - 1, 2863311530, 31, 2**45),
    (12, 34, 4294967295, -31, 2**63),
]
ROWS = [27, 0, 0, 0, 0, 0, 0, 27, 30, 27, 0, 0, 0, 0, 0, 0, 27, 0, 0, 0, 0, 0, 0, 0]


def test_record_gives_the_kvmclock_of_the_harness(tmp_path: Path) -> None:
    """pvclock_ns() is `Pvclock.kvmclock_ns`, also where the TSC, the shift or the sum wraps."""
    known = pieces("x86_64")
    calls = "\n".join(_printed(*one) for one in CASES)
    text = f"#include <inttypes.h>\n#include <stdio.h>\n{RECORD}{known['wide']}\n{known['pvclock_ns']}\n"

    done = run(compiled(f"{text}int main(void)\n{{\n{calls}\n}}\n", tmp_path))

    wanted = [
        Pvclock(2, start, time, mul, shift, 0).kvmclock_ns(tsc) for start, time, mul, shift, tsc in CASES
    ]
    assert list(map(int, done.stdout.split())) == wanted


def test_rows_are_counted_up_to_the_guests_count(tmp_path: Path) -> None:
    """how_many() looks at the first word of so many rows, and at none that the guest did not write."""
    rows = ", ".join(map(str, ROWS))
    counts = "\n".join(f'\tprintf("%" PRIu64 "\\n", how_many(rows, {count}, 27));' for count in range(4))
    text = f"#include <inttypes.h>\n#include <stdio.h>\n{pieces('x86_64')['how_many']}\n"

    done = run(
        compiled(f"{text}int main(void)\n{{\n\tuint64_t rows[] = {{ {rows} }};\n\n{counts}\n}}\n", tmp_path)
    )

    assert done.stdout.split() == ["0", "1", "1", "2"]


def _printed(start: int, time: int, mul: int, shift: int, tsc: int) -> str:
    line = f".tsc_timestamp = {start}ULL, .system_time = {time}ULL, .tsc_to_system_mul = {mul}U"
    record = f"&(struct pvclock_vcpu_time_info){{ {line}, .tsc_shift = {shift} }}"
    return f'\tprintf("%" PRIu64 "\\n", pvclock_ns({record}, {tsc}ULL));'
