# SPDX-License-Identifier: GPL-2.0-only
"""x86: how long a restored TSC deadline waits."""

from __future__ import annotations

from collections.abc import Mapping

from fixtures.counters import signed, wrap
from fixtures.migration import deadline
from tools.vectors.draw import Draw
from tools.vectors.model import Method, Values

KHZ = 2_600_000
SECOND = KHZ * 1000
GUEST_TSC = 10**12  # when the source stopped


def _case(due: int, blackout_ticks: int, **changes: int) -> Values:
    host = 123_456_789
    values = {
        "deadline": due,
        "tsc_khz": KHZ,
        "scaled_host_tsc": host,
        "tsc_offset": wrap(GUEST_TSC + blackout_ticks - host),
        "creation_tsc_offset": wrap(-host),
        "source_tsc_offset": wrap(-6 * 10**12),
        "source_guest_tsc": GUEST_TSC,
    }
    return values | changes


CASES = {
    "pending": ("Due in an hour, after a blackout of 4 s.", _case(GUEST_TSC + 3600 * SECOND, 4 * SECOND)),
    "passed": (
        "It passed during the blackout: due at once.",
        _case(GUEST_TSC + SECOND, 4 * SECOND),
    ),
    "exactly-now": ("The guest's TSC has just reached it.", _case(GUEST_TSC + 4 * SECOND, 4 * SECOND)),
    "beyond-2-63": ("More than 2**63 ticks ahead: unsigned, so not passed.", _case(2**63 + 2 * 10**12, 0)),
    "never": ("The greatest deadline there is.", _case(2**64 - 1, 4 * SECOND)),
}


def draw(numbers: Draw) -> Values:
    """Return a deadline around the guest's TSC, or far from it."""
    guest_tsc = numbers.number("guest", 2**63)
    khz = numbers.tsc_khz("khz")
    blackout_ticks = numbers.duration_ns("blackout") * khz // 1_000_000
    due = guest_tsc + numbers.duration_ns("due") * khz // 1_000_000
    host = numbers.word("host")
    return {
        "deadline": 1 + numbers.choice("kind", (due, due, due, wrap(numbers.word("far") - 1) % (2**64 - 1))),
        "tsc_khz": khz,
        "scaled_host_tsc": host,
        "tsc_offset": wrap(guest_tsc + blackout_ticks - host),
        "creation_tsc_offset": wrap(-host + numbers.number("age", 10**9)),
        "source_tsc_offset": numbers.word("source"),
        "source_guest_tsc": guest_tsc,
    }


def _guest_tsc(values: Values, offset: str = "tsc_offset") -> int:
    return wrap(values["scaled_host_tsc"] + values[offset])


def exact(values: Values) -> Mapping[str, int]:
    """Return the wait in ticks and in ns."""
    guest_tsc = _guest_tsc(values)
    return {
        "wait_ticks": deadline.wait_ticks(values["deadline"], guest_tsc),
        "wait_ns": deadline.wait_ns(values["deadline"], guest_tsc, values["tsc_khz"]),
    }


METHOD = Method(
    name="x86-deadline",
    sentence="How long an armed TSC deadline, carried over verbatim, waits on the destination.",
    formula="max(0, D - (T_d + O_d mod 2^64)), unsigned; in ns rounded up",
    source="arch/x86/kvm/lapic.c: start_sw_tscdeadline()",
    inputs={
        "deadline": "IA32_TSC_DEADLINE, an absolute guest TSC; 0, disarmed, does not occur",
        "tsc_khz": "KVM_GET_TSC_KHZ of the guest, in kHz",
        "scaled_host_tsc": "the destination's TSC, scaled for the guest, when the deadline is written",
        "tsc_offset": "KVM_VCPU_TSC_OFFSET restored on the destination",
        "creation_tsc_offset": "the offset before it was restored; only a shortcut uses it",
        "source_tsc_offset": "KVM_VCPU_TSC_OFFSET on the source; only a shortcut uses it",
        "source_guest_tsc": "the guest's TSC when the source stopped; only a shortcut uses it",
    },
    outputs={
        "wait_ticks": "guest ticks until the interrupt; 0: due at once",
        "wait_ns": "the same in ns, rounded up",
    },
    answers=exact,
    cases=CASES,
    draw=draw,
)


@METHOD.shortcut("moved-with-the-offset", "absolute-time", "The deadline is moved by O_d - O_s.")
def _(values: Values) -> int:
    due = wrap(values["deadline"] + values["tsc_offset"] - values["source_tsc_offset"])
    return deadline.wait_ticks(due, _guest_tsc(values))


@METHOD.shortcut("armed-too-early", "call-order", "The deadline is written before the offset, and not again.")
def _(values: Values) -> int:
    return deadline.wait_ticks(values["deadline"], _guest_tsc(values, "creation_tsc_offset"))


@METHOD.shortcut("rest-saved", "blackout-lost", "The ticks left on the source are waited for again.")
def _(values: Values) -> int:
    return deadline.wait_ticks(values["deadline"], values["source_guest_tsc"])


@METHOD.shortcut("signed-comparison", "unsigned-difference", "2**63 ticks ahead or more is taken for passed.")
def _(values: Values) -> int:
    return max(0, signed(values["deadline"] - _guest_tsc(values)))
