# SPDX-License-Identifier: GPL-2.0-only
"""Both parts of the PTP hypercall's answer belong to one instant, however long KVM takes.

On simulated hosts KVM is held up after each clock that it reads: what it reads one after the other in place
of at once is apart by as much.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from fixtures.counters import NSEC_PER_MSEC, NSEC_PER_SEC, Window
from fixtures.kvm.arm64.values import Counter
from fixtures.kvm.arm64.vcpu import Arm64Vcpu
from fixtures.targets import Probe
from kvmtests.arm64.counters import COUNTERS
from kvmtests.arm64.ptp import ARGUMENTS, call_ptp, pair, require_ptp

pytestmark = [
    pytest.mark.promise(
        documented="Documentation/virt/kvm/arm/ptp_kvm.rst, ARM_SMCCC_VENDOR_HYP_KVM_PTP_FUNC_ID"
    ),
    pytest.mark.thorough,
]

ROUNDING_NS = 2


@pytest.mark.parametrize("counter", COUNTERS)
@pytest.mark.parametrize(
    "stall_ns",
    [
        pytest.param(1_000, id="1us"),
        pytest.param(NSEC_PER_MSEC, id="1ms"),
        pytest.param(NSEC_PER_SEC, id="1s"),
    ],
)
def test_counter_is_of_the_instant_of_realtime(
    vcpu: Arm64Vcpu,
    target_facts: Probe,
    stalled: Callable[[int], AbstractContextManager[None]],
    stall_ns: int,
    counter: Counter,
) -> None:
    """From one answer to the next the counter has as many ticks as realtime has ns, to a tick."""
    require_ptp(vcpu, target_facts)
    hz = int(target_facts.facts["counter_hz"])
    first_ns, first = pair(call_ptp(vcpu, ARGUMENTS[counter]))

    with stalled(stall_ns):
        last_ns, last = pair(call_ptp(vcpu, ARGUMENTS[counter]))

    elapsed_ns = (last - first) * NSEC_PER_SEC // hz
    tick_ns = -(-NSEC_PER_SEC // hz)
    tolerance_ns = tick_ns + ROUNDING_NS + elapsed_ns // 1000  # NTP steers CLOCK_REALTIME
    assert last_ns - first_ns in Window(elapsed_ns, elapsed_ns).widened(tolerance_ns)
