# SPDX-License-Identifier: GPL-2.0-only
"""KVM_HC_CLOCK_PAIRING: the host's CLOCK_REALTIME and the guest's TSC at one instant (/dev/ptp0 in guests).

Source: Documentation/virt/kvm/x86/hypercalls.rst; arch/x86/kvm/x86.c: kvm_pv_clock_pairing().
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import pytest

from fixtures.counters import NSEC_PER_MSEC, NSEC_PER_SEC, Window, signed
from fixtures.guests import layout
from fixtures.kvm.errors import CapabilityMissing, GuestFault
from fixtures.kvm.spans import spanned
from fixtures.kvm.x86.guest import GENERAL_PROTECTION, X86Hypercall
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.targets import Probe
from fixtures.uapi import kvm as uapi
from fixtures.uapi.x86.kvm_para import (
    KVM_CLOCK_PAIRING_WALLCLOCK,
    KVM_EFAULT,
    KVM_ENOSYS,
    KVM_EOPNOTSUPP,
    KVM_EPERM,
    KVM_HC_CLOCK_PAIRING,
    kvm_clock_pairing,
)
from kvmtests.x86.clocks import TSC_CLOCKSOURCES

pytestmark = [
    pytest.mark.promise(documented="Documentation/virt/kvm/x86/hypercalls.rst, KVM_HC_CLOCK_PAIRING"),
    pytest.mark.thorough,
]

SIZE = ctypes.sizeof(kvm_clock_pairing)
AROUND = slice(layout.CLOCK_PAIRING - SIZE, layout.CLOCK_PAIRING + 2 * SIZE)
NOWHERE = 1 << 40  # no slot
OFFSETS = [
    pytest.param(0, id="zero"),
    pytest.param(180 * 10**9, id="plus-180e9"),
    pytest.param(2**64 - 180 * 10**9, id="minus-180e9"),
    pytest.param(2**63, id="two-to-63"),
]


@pytest.fixture(autouse=True)
def hypercalls(target_facts: Probe) -> None:
    """The processor runs the guest's VMCALL. kvm_pvm interprets CPL 0, and never gets past one."""
    if target_facts.facts.get("backend_module") == "kvm_pvm":
        raise CapabilityMissing("VMCALL at CPL 0")


@dataclass(frozen=True, slots=True)
class PairedClocks:
    """What the hypercall wrote."""

    realtime_ns: int
    tsc: int


def call(vcpu: X86Vcpu, gpa: int = layout.CLOCK_PAIRING, clock_type: int = 0) -> X86Hypercall:
    """Let the guest call, for memory full of ones; `CapabilityMissing` where KVM does not know it."""
    vcpu.vm.memory[AROUND] = b"\xff" * (3 * SIZE)
    called = vcpu.guest.call_hypervisor(KVM_HC_CLOCK_PAIRING, gpa, clock_type)
    if called.returned == -KVM_ENOSYS:
        raise CapabilityMissing("KVM_HC_CLOCK_PAIRING")
    return called


def pair(vcpu: X86Vcpu) -> PairedClocks:
    """Return the pair that lies in the guest's memory."""
    data = kvm_clock_pairing.from_buffer_copy(vcpu.vm.memory, layout.CLOCK_PAIRING)
    return PairedClocks(data.sec * NSEC_PER_SEC + data.nsec, data.tsc)


def untouched(vcpu: X86Vcpu) -> bool:
    """Return whether memory still holds the ones that were there before the call."""
    return bytes(vcpu.vm.memory[AROUND]) == b"\xff" * (3 * SIZE)


@pytest.mark.usefixtures("tsc_clocksource")
def test_pairing_succeeds(vcpu: X86Vcpu) -> None:
    """On a host whose clocksource is the TSC the call for the wall clock returns 0."""
    assert call(vcpu, clock_type=KVM_CLOCK_PAIRING_WALLCLOCK).returned == 0


@pytest.mark.usefixtures("tsc_clocksource")
def test_paired_realtime_is_the_hosts(vcpu: X86Vcpu) -> None:
    """sec and nsec are the host's CLOCK_REALTIME at the call, nsec below a second."""
    span, _ = spanned(vcpu.vm.time, lambda: call(vcpu))

    data = kvm_clock_pairing.from_buffer_copy(vcpu.vm.memory, layout.CLOCK_PAIRING)
    assert pair(vcpu).realtime_ns in span.realtime_ns
    assert 0 <= data.nsec < NSEC_PER_SEC


@pytest.mark.usefixtures("tsc_clocksource", "settable_tsc")
@pytest.mark.parametrize("tsc_offset", OFFSETS)
def test_paired_tsc_is_the_guests(vcpu: X86Vcpu, tsc_offset: int) -> None:
    """The TSC is the guest's own, with its offset: it lies between the guest's readings around the call."""
    vcpu.tsc_offset = tsc_offset
    if vcpu.tsc_offset != tsc_offset:
        raise CapabilityMissing("KVM_VCPU_TSC_OFFSET that is honoured")

    called = call(vcpu)

    assert pair(vcpu).tsc in called.tsc


@pytest.mark.usefixtures("tsc_clocksource", "settable_tsc")
@pytest.mark.parametrize("permille", [pytest.param(500, id="half"), pytest.param(1234, id="a-quarter-more")])
def test_paired_tsc_is_scaled(vcpu: X86Vcpu, permille: int) -> None:
    """Under TSC scaling the TSC also lies between the guest's readings around the call."""
    vcpu.vm.require(uapi.KVM_CAP_TSC_CONTROL)
    vcpu.tsc_khz = vcpu.tsc_khz * permille // 1000

    called = call(vcpu)

    assert pair(vcpu).tsc in called.tsc


@pytest.mark.usefixtures("tsc_clocksource", "stable_tsc")
def test_pairs_are_of_one_instant(vcpu: X86Vcpu) -> None:
    """Two pairs lie as far apart in CLOCK_REALTIME as in the TSC, except for what NTP slews."""
    call(vcpu)
    first = pair(vcpu)
    vcpu.vm.time.sleep_ns(20 * NSEC_PER_MSEC)

    call(vcpu)
    last = pair(vcpu)

    elapsed_ns = (last.tsc - first.tsc) * 1_000_000 // vcpu.tsc_khz
    slew_ns = elapsed_ns // 1_000 + 10
    assert last.realtime_ns - first.realtime_ns in Window(elapsed_ns, elapsed_ns).widened(slew_ns)


@pytest.mark.usefixtures("tsc_clocksource", "stable_tsc")
def test_pairing_agrees_with_get_clock(vcpu: X86Vcpu) -> None:
    """The pair lies on the line of KVM_GET_CLOCK's own pair of CLOCK_REALTIME and host TSC."""
    vcpu.vm.require_realtime()
    call(vcpu)
    clock = vcpu.vm.clock()
    paired = pair(vcpu)

    ticks = signed(clock.host_tsc + vcpu.tsc_offset - paired.tsc)
    elapsed_ns = ticks * 1_000_000 // vcpu.tsc_khz
    slew_ns = elapsed_ns // 1_000 + 10
    assert clock.realtime_ns - paired.realtime_ns in Window(elapsed_ns, elapsed_ns).widened(slew_ns)


@pytest.mark.usefixtures("tsc_clocksource")
def test_rest_of_the_structure_is_zero(vcpu: X86Vcpu) -> None:
    """flags and pad are 0, and what surrounds the structure is as before."""
    call(vcpu)

    data = kvm_clock_pairing.from_buffer_copy(vcpu.vm.memory, layout.CLOCK_PAIRING)
    around = bytes(vcpu.vm.memory[AROUND])
    assert (data.flags, *data.pad) == (0,) * (1 + len(data.pad))
    assert around[:SIZE] == around[2 * SIZE :] == b"\xff" * SIZE


@pytest.mark.usefixtures("tsc_clocksource")
def test_pair_may_cross_a_page(vcpu: X86Vcpu) -> None:
    """A structure that crosses a page is written as a whole."""
    gpa = layout.REFERENCE_TSC_PAGE + layout.PAGE_SIZE - 16
    vcpu.vm.memory[gpa : gpa + SIZE] = b"\xff" * SIZE

    span, called = spanned(vcpu.vm.time, lambda: call(vcpu, gpa))

    data = kvm_clock_pairing.from_buffer_copy(vcpu.vm.memory, gpa)
    assert called.returned == 0
    assert data.sec * NSEC_PER_SEC + data.nsec in span.realtime_ns
    assert data.tsc in called.tsc
    assert (data.flags, *data.pad) == (0,) * (1 + len(data.pad))


@pytest.mark.parametrize(
    "clock_type", [1, 2**31, 2**32, 2**64 - 1], ids=["next", "sign", "beyond-32", "all-bits"]
)
def test_other_clocks_are_not_supported(vcpu: X86Vcpu, clock_type: int) -> None:
    """A clock other than KVM_CLOCK_PAIRING_WALLCLOCK gives KVM_EOPNOTSUPP, and nothing is written."""
    called = call(vcpu, clock_type=clock_type)

    assert called.returned == -KVM_EOPNOTSUPP
    assert untouched(vcpu)


def test_other_clocksources_are_not_supported(vcpu: X86Vcpu, target_facts: Probe) -> None:
    """Where the host's clocksource is not the TSC the call gives KVM_EOPNOTSUPP, and nothing is written."""
    if target_facts.facts["clocksource"] in TSC_CLOCKSOURCES:
        raise CapabilityMissing("a clocksource other than the TSC")

    called = call(vcpu)

    assert called.returned == -KVM_EOPNOTSUPP
    assert untouched(vcpu)


@pytest.mark.promise(de_facto="Linux 6.1 to 7.3")
@pytest.mark.usefixtures("tsc_clocksource")
def test_tsc_that_is_caught_up_with_is_not_paired(vcpu: X86Vcpu) -> None:
    """A faster frequency without scaling has no line: the call gives KVM_EOPNOTSUPP."""
    if vcpu.vm.check_extension(uapi.KVM_CAP_TSC_CONTROL):
        raise CapabilityMissing("a processor without TSC scaling")
    vcpu.tsc_khz = vcpu.tsc_khz * 2

    assert call(vcpu).returned == -KVM_EOPNOTSUPP


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
@pytest.mark.usefixtures("tsc_clocksource")
@pytest.mark.parametrize(
    "gpa", [pytest.param(NOWHERE, id="no-slot"), pytest.param(layout.MEMORY_SIZE - 16, id="end-of-memory")]
)
def test_address_without_memory_is_a_fault(vcpu: X86Vcpu, gpa: int) -> None:
    """An address where the structure does not fit into memory gives KVM_EFAULT; the guest continues."""
    assert call(vcpu, gpa).returned == -KVM_EFAULT
    assert call(vcpu).returned == 0


def refused_to_user_mode(vcpu: X86Vcpu) -> bool:
    """Return whether the call is refused from CPL 3; KVM's emulator, which AMD's VMCALL needs, raises #GP."""
    try:
        called = vcpu.guest.call_hypervisor(KVM_HC_CLOCK_PAIRING, layout.CLOCK_PAIRING, 0, "user_hypercall")
    except GuestFault as fault:
        return fault.vector == GENERAL_PROTECTION
    return called.returned == -KVM_EPERM


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
def test_user_mode_may_not_call(vcpu: X86Vcpu) -> None:
    """From CPL 3 the call gives KVM_EPERM, or #GP where KVM emulates it, and nothing is written."""
    call(vcpu)
    vcpu.vm.memory[AROUND] = b"\xff" * (3 * SIZE)

    assert refused_to_user_mode(vcpu)
    assert untouched(vcpu)
