# SPDX-License-Identifier: GPL-2.0-only
"""x86 by value: what KVM makes of a TSC that user space writes."""

from __future__ import annotations

from collections.abc import Mapping

from fixtures.counters import signed, wrap
from fixtures.migration import value_write
from fixtures.migration.ticks import ticks_at_khz
from fixtures.migration.value_write import Before
from tools.vectors.draw import Draw
from tools.vectors.model import Method, Values

S = 1_000_000_000
KHZ = 2_600_000
SECOND = KHZ * 1000
EXPECTED = 10**12 + SECOND // 2


def _case(value: int, **changes: int) -> Values:
    values = {
        "value": value,
        "scaled_host_tsc": 7 * 10**12,
        "tsc_khz": KHZ,
        "last_value": 10**12,
        "last_khz": KHZ,
        "elapsed_ns": S // 2,
        "generation_offset": wrap(10**12 - 7 * 10**12 + SECOND // 2 + 1419),
        "user_set": 1,
    }
    return values | changes


CASES = {
    "joins": (
        "The others' value, advanced by the 0.5 s since: it joins.",
        _case(EXPECTED),
    ),
    "skew-flattened": (
        "A deliberate skew of 0.9 s is less than a second: it is lost.",
        _case(EXPECTED + SECOND * 9 // 10),
    ),
    "two-seconds-ahead": ("2 s ahead of the others: taken as written.", _case(EXPECTED + 2 * SECOND)),
    "zero": ("Writing 0 never sets the TSC to 0: it joins the others.", _case(0)),
    "zero-first": ("So does 0 as user space's first write.", _case(0, user_set=0)),
    "first-value": (
        "User space's first write, near the creation's 0: taken as written since Linux 6.7.",
        _case(SECOND // 4, last_value=0, elapsed_ns=S // 100, user_set=0),
    ),
    "after-a-creation": (
        "vCPU 0 was written before vCPU 1 was created, which writes 0: 1,419 ticks late, it does not join.",
        _case(10**12, last_value=0, elapsed_ns=S // 1000, generation_offset=wrap(10**12 - 7 * 10**12 + 1419)),
    ),
    "stale": (
        "The value of 1.2 s ago: it counts against the time that has passed, and does not join.",
        _case(10**12, elapsed_ns=1_200_000_000),
    ),
    "other-frequency": ("1 kHz apart: equal values do not join.", _case(EXPECTED, tsc_khz=KHZ + 1)),
    "window-wraps": (
        "The expected value is 5 short of 2**64, the written one is 3: near, and not joined.",
        _case(3, last_value=2**64 - 5, elapsed_ns=0),
    ),
}


def draw(numbers: Draw) -> Values:
    """Return a write off the ends of the window, where KVM's own rounding would decide."""
    khz = numbers.tsc_khz("khz")
    wrapping = numbers.number("wrapping", 8) == 0  # at once, so that nothing is rounded
    last = wrap(-1 - numbers.number("short", khz * 2000)) if wrapping else numbers.number("last", 2**62)
    elapsed_ns = 0 if wrapping else numbers.number("elapsed", 3 * S)
    tenths = numbers.choice("tenths", (0, 0, 1, -1, 5, -5, 9, -9, 11, -11, 20, -20))
    near = last + ticks_at_khz(elapsed_ns, khz) + tenths * khz * 100
    return {
        "value": numbers.choice("value", (wrap(near), wrap(near), 0, numbers.word("any"))),
        "scaled_host_tsc": numbers.word("host"),
        "tsc_khz": khz,
        "last_value": last,
        "last_khz": khz + numbers.choice("other", (0, 0, 0, 100)),
        "elapsed_ns": elapsed_ns,
        "generation_offset": numbers.word("line"),
        "user_set": numbers.choice("user", (1, 1, 1, 0)),
    }


def _before(values: Values, **changes: int) -> Before:
    taken = {**values, **changes}
    return Before(
        last_value=taken["last_value"],
        last_khz=taken["last_khz"],
        elapsed_ns=taken["elapsed_ns"],
        generation_offset=taken["generation_offset"],
        user_set=bool(taken["user_set"]),
    )


def _written(values: Values, **changes: int) -> int:
    before = _before(values, **changes)
    return value_write.write(before, values["value"], values["scaled_host_tsc"], values["tsc_khz"]).tsc_offset


def exact(values: Values) -> Mapping[str, int]:
    """Return the offset after the write, and whether the vCPU joined the others."""
    written = value_write.write(
        _before(values), values["value"], values["scaled_host_tsc"], values["tsc_khz"]
    )
    return {"tsc_offset": written.tsc_offset, "matched": int(written.matched)}


METHOD = Method(
    name="x86-value-write",
    sentence="The offset that KVM puts in force when user space writes IA32_TSC by value.",
    formula="V is 0, or < 1 s from last + elapsed, at one kHz: the others' offset; else V - T mod 2^64",
    source="arch/x86/kvm/x86.c: kvm_synchronize_tsc(), Linux 6.7 and newer",
    inputs={
        "value": "the value written with KVM_SET_MSRS",
        "scaled_host_tsc": "the host's TSC, scaled for the guest, when KVM takes the value",
        "tsc_khz": "KVM_GET_TSC_KHZ of this vCPU, in kHz",
        "last_value": "the last TSC written to any vCPU of the VM; creating a vCPU writes 0",
        "last_khz": "the frequency of the vCPU that was written last, in kHz",
        "elapsed_ns": "how long ago that was, in ns",
        "generation_offset": "the offset of the vCPUs that share a line",
        "user_set": "1 if user space has written a TSC of this VM before",
    },
    outputs={
        "tsc_offset": "KVM_VCPU_TSC_OFFSET afterwards",
        "matched": "1 if the vCPU joined the line of the others",
    },
    answers=exact,
    cases=CASES,
    draw=draw,
)


def _taken(values: Values) -> int:
    return wrap(values["value"] - values["scaled_host_tsc"])


@METHOD.shortcut("taken-as-written", "matching", "Every value is taken as it is written.")
def _(values: Values) -> int:
    return _taken(values)


@METHOD.shortcut("expected-to-join", "matching", "The vCPU is expected on the others' line, whatever comes.")
def _(values: Values) -> int:
    return values["generation_offset"]


@METHOD.shortcut("zero-taken", "matching", "0 is taken for a TSC of 0.")
def _(values: Values) -> int:
    return _written(values) if values["value"] else _taken(values)


@METHOD.shortcut("elapsed-left-out", "term-lost", "The value is compared with the last one as it was.")
def _(values: Values) -> int:
    return _written(values, elapsed_ns=0)


@METHOD.shortcut("creation-counts", "matching", "The first value may join, as before Linux 6.7.")
def _(values: Values) -> int:
    return _written(values, user_set=1)


@METHOD.shortcut("any-frequency", "wrong-frequency", "vCPUs with different frequencies are matched.")
def _(values: Values) -> int:
    return _written(values, last_khz=values["tsc_khz"])


@METHOD.shortcut("window-wraps", "unsigned-difference", "The window of a second wraps; KVM's does not.")
def _(values: Values) -> int:
    near = abs(
        signed(values["value"] - values["last_value"] - ticks_at_khz(values["elapsed_ns"], values["tsc_khz"]))
    )
    joins = values["value"] == 0 or (values["user_set"] and near < values["tsc_khz"] * 1000)
    alike = values["last_khz"] == values["tsc_khz"]
    return values["generation_offset"] if joins and alike else _taken(values)
