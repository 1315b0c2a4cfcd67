# SPDX-License-Identifier: GPL-2.0-only
"""KVM's hypercalls about time: the host's realtime paired with a counter of the guest (PTP).

Source: Documentation/virt/kvm/arm/ptp_kvm.rst; arch/arm64/kvm/hypercalls.c: kvm_ptp_get_time().
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from fixtures.counters import NSEC_PER_SEC, Window, wrap
from fixtures.kvm.arm64.values import Counter
from fixtures.kvm.arm64.vcpu import Arm64Vcpu
from fixtures.kvm.spans import spanned
from fixtures.targets import Probe
from fixtures.uapi.arm64 import smccc
from kvmtests.arm64.counters import COUNTERS, offset_counter
from kvmtests.arm64.ptp import ARGUMENTS, call_ptp, pair, require_ptp

pytestmark = [
    pytest.mark.promise(
        documented="Documentation/virt/kvm/arm/ptp_kvm.rst, ARM_SMCCC_VENDOR_HYP_KVM_PTP_FUNC_ID"
    ),
    pytest.mark.thorough,
]

NOT_SUPPORTED = wrap(smccc.SMCCC_RET_NOT_SUPPORTED)
PTP_BIT = 1 << 1  # of the features: bit n stands for function 0x86000000 + n
GREGORIAN = datetime(1582, 10, 15, tzinfo=UTC)  # whence a UUID counts time, in 100 ns
OFFSETS = [
    pytest.param(0, id="zero"),
    pytest.param(180 * 10**9, id="plus-180e9"),
    pytest.param(2**64 - 180 * 10**9, id="minus-180e9"),
    pytest.param(2**63, id="two-to-63"),
]


@pytest.fixture(autouse=True)
def ptp(vcpu: Arm64Vcpu, target_facts: Probe) -> None:
    """KVM offers the hypercall, and the host's clocksource is the counter that guests have."""
    require_ptp(vcpu, target_facts)


@pytest.mark.promise(
    documented="Documentation/virt/kvm/arm/hypercalls.rst, ARM_SMCCC_VENDOR_HYP_KVM_FEATURES_FUNC_ID"
)
def test_guest_finds_the_hypercall(vcpu: Arm64Vcpu) -> None:
    """The vendor's UID is KVM's, and its features include PTP."""
    uid = vcpu.guest.call_hypervisor(smccc.ARM_SMCCC_VENDOR_HYP_CALL_UID_FUNC_ID)
    features = vcpu.guest.call_hypervisor(smccc.ARM_SMCCC_VENDOR_HYP_KVM_FEATURES_FUNC_ID)

    assert uid.x == (0xB66FB428, 0xE911C52E, 0x564BCAA9, 0x743A004D)
    assert features.x[0] & PTP_BIT


@pytest.mark.promise(
    documented="Documentation/virt/kvm/arm/hypercalls.rst, ARM_SMCCC_VENDOR_HYP_KVM_FEATURES_FUNC_ID"
)
def test_features_announce_what_answers(vcpus: list[Arm64Vcpu]) -> None:
    """To each vCPU the features announce themselves and PTP, if and only if the PTP call answers."""
    for vcpu in vcpus:
        answers = call_ptp(vcpu, smccc.KVM_PTP_VIRT_COUNTER).x[0] != NOT_SUPPORTED
        features = vcpu.guest.call_hypervisor(smccc.ARM_SMCCC_VENDOR_HYP_KVM_FEATURES_FUNC_ID).x[0]

        assert features & (PTP_BIT | 1) == (PTP_BIT | 1 if answers else 1)


@pytest.mark.promise(architectural="Arm DEN0028, Call UID Query: a UUID of RFC 4122")
def test_uid_is_a_uuid(vcpus: list[Arm64Vcpu]) -> None:
    """On each vCPU the UID's words, lowest byte first, are a UUID by time, of 2019 and of a node "KVM"."""
    for vcpu in vcpus:
        words = vcpu.guest.call_hypervisor(smccc.ARM_SMCCC_VENDOR_HYP_CALL_UID_FUNC_ID).x
        uid = uuid.UUID(bytes=b"".join(word.to_bytes(4, "little") for word in words))
        made = GREGORIAN + timedelta(microseconds=uid.time // 10)

        assert (uid.variant, uid.version, made.year) == (uuid.RFC_4122, 1, 2019)
        assert uid.bytes[10:].startswith(b"KVM")  # the node


@pytest.mark.parametrize("counter", COUNTERS)
def test_realtime_is_the_hosts(vcpu: Arm64Vcpu, counter: Counter) -> None:
    """The first half of the answer is the host's CLOCK_REALTIME at the call, in ns."""
    span, call = spanned(vcpu.vm.time, lambda: call_ptp(vcpu, ARGUMENTS[counter]))

    realtime_ns, _ = pair(call)
    assert realtime_ns in span.realtime_ns


@pytest.mark.parametrize("counter", COUNTERS)
@pytest.mark.parametrize("offset", OFFSETS)
def test_ptp_counter_is_the_guests(vcpu: Arm64Vcpu, counter: Counter, offset: int) -> None:
    """The second half is the counter that the guest chose, between its own readings before and after."""
    offset_counter(vcpu, counter, offset)

    call = call_ptp(vcpu, ARGUMENTS[counter])

    _, count = pair(call)
    assert count in (call.cntvct if counter is Counter.VIRTUAL else call.cntpct)


@pytest.mark.parametrize("counter", COUNTERS)
def test_ptp_counter_of_a_new_vcpu_is_the_guests(vcpu: Arm64Vcpu, counter: Counter) -> None:
    """The same before any offset was set, when the counters differ by the host's count at creation."""
    call = call_ptp(vcpu, ARGUMENTS[counter])

    _, count = pair(call)
    assert count in (call.cntvct if counter is Counter.VIRTUAL else call.cntpct)


def test_both_parts_belong_to_one_instant(vcpu: Arm64Vcpu, target_facts: Probe) -> None:
    """Two answers lie as far apart in CLOCK_REALTIME as in the counter, except for what NTP slews."""
    hz = int(target_facts.facts["counter_hz"])
    first_ns, first = pair(call_ptp(vcpu, smccc.KVM_PTP_VIRT_COUNTER))
    vcpu.vm.time.sleep_ns(20_000_000)

    last_ns, last = pair(call_ptp(vcpu, smccc.KVM_PTP_VIRT_COUNTER))

    elapsed_ns = (last - first) * NSEC_PER_SEC // hz
    slew_ns = elapsed_ns // 1_000 + 1_000
    assert last_ns - first_ns in Window(elapsed_ns, elapsed_ns).widened(slew_ns)


@pytest.mark.parametrize("argument", [2, 2**32 - 1], ids=["next", "all-bits"])
def test_unknown_counter_is_not_supported(vcpu: Arm64Vcpu, argument: int) -> None:
    """A counter other than 0 and 1 gives NOT_SUPPORTED."""
    assert call_ptp(vcpu, argument).x[0] == NOT_SUPPORTED
