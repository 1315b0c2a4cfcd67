# SPDX-License-Identifier: GPL-2.0-only
"""Which page each of KVM's clocks is written to, and that both logs of dirty pages say just that.

A VMM that migrates a guest copies the pages that the log names: one that is missing arrives stale.

Source: Documentation/virt/kvm/api.rst, KVM_GET_DIRTY_LOG and KVM_CAP_DIRTY_LOG_RING;
virt/kvm/kvm_main.c: mark_page_dirty_in_slot().
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from fixtures.kvm.errors import CapabilityMissing
from fixtures.kvm.memory_slot import MemorySlot
from fixtures.kvm.system import Kvm
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.targets import Probe
from fixtures.uapi import kvm as uapi
from fixtures.uapi.x86 import kvm_xen as xen
from fixtures.uapi.x86.kvm_para import (
    KVM_HC_CLOCK_PAIRING,
    KVM_MSR_ENABLED,
    MSR_KVM_STEAL_TIME,
    MSR_KVM_SYSTEM_TIME_NEW,
)
from fixtures.uapi.x86.msr_index import HV_X64_MSR_REFERENCE_TSC
from kvmtests.x86.clocks import TSC_CLOCKSOURCES
from kvmtests.x86.hyperv import enlighten, require_hyperv
from kvmtests.x86.paused import EACH_CALL, set_clock
from kvmtests.x86.rings import X86RingGuest, address, logged_slot, ringed_guest, write_wall_clock, written
from kvmtests.x86.xen import require_xen, set_vcpu

pytestmark = [
    pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_CAP_DIRTY_LOG_RING"),
    pytest.mark.thorough,
]

PAGE = 3


@dataclass(frozen=True)
class Writer:
    """Something of KVM's that is written into the guest's memory."""

    name: str
    prepare: Callable[[X86Vcpu, Probe], None]  # a vCPU that has not run; `CapabilityMissing`
    register: Callable[[X86Vcpu, int], None]  # by user space, at an address
    write: Callable[[X86Vcpu, int], None]  # let KVM write there


def needs(capability: int) -> Callable[[X86Vcpu, Probe], None]:
    """Return a preparation that requires *capability* alone."""

    def prepare(vcpu: X86Vcpu, _facts: Probe) -> None:
        vcpu.vm.require(capability)

    return prepare


def by_msr(msr: int) -> Callable[[X86Vcpu, int], None]:
    """Return a registration by *msr*, whose bit 0 enables."""
    return lambda vcpu, gpa: vcpu.set_msr(msr, gpa | KVM_MSR_ENABLED)


def by_xen(kind: int) -> Callable[[X86Vcpu, int], None]:
    """Return a registration by the vCPU's attribute *kind*."""
    return lambda vcpu, gpa: set_vcpu(vcpu, kind, gpa)


def register_nowhere(_vcpu: X86Vcpu, _gpa: int) -> None:
    """Do nothing: the guest says where to write each time."""


def prepare_hyperv(vcpu: X86Vcpu, facts: Probe) -> None:
    """Give the guest Hyper-V's interface, whose page KVM gives up where the TSC is not the host's clock."""
    if facts.facts.get("clocksource") not in TSC_CLOCKSOURCES:
        raise CapabilityMissing("a TSC-based clocksource")
    require_hyperv(vcpu.vm)
    enlighten(vcpu)


def prepare_xen(vcpu: X86Vcpu, _facts: Probe) -> None:
    """Give the guest Xen's interface."""
    require_xen(vcpu.vm)


def prepare_pairing(vcpu: X86Vcpu, facts: Probe) -> None:
    """Require that the guest's VMCALL reaches KVM: kvm_pvm, which interprets CPL 0, never gets past one."""
    if facts.facts.get("backend_module") == "kvm_pvm":
        raise CapabilityMissing("VMCALL at CPL 0")
    del vcpu


def set_and_enter(vcpu: X86Vcpu, _gpa: int) -> None:
    """Set the clock, whereupon an entry writes all that is registered."""
    set_clock(vcpu)
    vcpu.guest.read_tsc()


def pair_clocks(vcpu: X86Vcpu, gpa: int) -> None:
    """Let the guest request a pair of clocks; `CapabilityMissing` where the host has none to give."""
    if vcpu.guest.call_hypervisor(KVM_HC_CLOCK_PAIRING, gpa, 0).returned:
        raise CapabilityMissing("KVM_HC_CLOCK_PAIRING")


REGISTERED = [
    Writer("kvmclock", needs(uapi.KVM_CAP_CLOCKSOURCE), by_msr(MSR_KVM_SYSTEM_TIME_NEW), set_and_enter),
    Writer("steal-time", needs(uapi.KVM_CAP_STEAL_TIME), by_msr(MSR_KVM_STEAL_TIME), set_and_enter),
    Writer("hyperv-page", prepare_hyperv, by_msr(HV_X64_MSR_REFERENCE_TSC), set_and_enter),
    Writer("xen-vcpu-info", prepare_xen, by_xen(xen.KVM_XEN_VCPU_ATTR_TYPE_VCPU_INFO), set_and_enter),
    Writer("xen-time-info", prepare_xen, by_xen(xen.KVM_XEN_VCPU_ATTR_TYPE_VCPU_TIME_INFO), set_and_enter),
]
EVERY = [*REGISTERED, Writer("clock-pairing", prepare_pairing, register_nowhere, pair_clocks)]


@pytest.fixture
def guest(vm: X86Vm) -> X86RingGuest:
    """A guest whose memory KVM logs in dirty rings."""
    return ringed_guest(vm)


def each(writers: list[Writer]) -> pytest.MarkDecorator:
    """Return the mark that runs a claim with each of *writers*."""
    return pytest.mark.parametrize("writer", writers, ids=[writer.name for writer in writers])


def changed(before: list[bytes], slot: MemorySlot) -> set[int]:
    """Return the pages of *slot* that are not as *before*."""
    pairs = zip(before, slot.contents(), strict=True)
    return {number for number, (old, new) in enumerate(pairs) if old != new}


@each(EVERY)
def test_ring_has_just_what_was_written(guest: X86RingGuest, target_facts: Probe, writer: Writer) -> None:
    """What KVM writes changes the page where it is registered, and the ring has that page, no other."""
    writer.prepare(guest.vcpu, target_facts)
    before = guest.slot.contents()

    writer.register(guest.vcpu, address(PAGE))
    writer.write(guest.vcpu, address(PAGE))

    assert set(guest.ring.harvest()) == {written(PAGE)}
    assert changed(before, guest.slot) == {PAGE}


@each(EVERY)
def test_each_further_write_is_in_the_ring(guest: X86RingGuest, target_facts: Probe, writer: Writer) -> None:
    """After the ring was reset the next write of the same page is in the ring."""
    writer.prepare(guest.vcpu, target_facts)
    writer.register(guest.vcpu, address(PAGE))
    writer.write(guest.vcpu, address(PAGE))
    guest.ring.harvest()
    guest.vcpu.vm.reset_dirty_rings()
    before = guest.slot.contents()

    writer.write(guest.vcpu, address(PAGE))

    assert changed(before, guest.slot) <= {page for _, page in guest.ring.harvest()} == {PAGE}


@each(EVERY)
def test_both_logs_agree(kvm: Kvm[X86Vm], guest: X86RingGuest, target_facts: Probe, writer: Writer) -> None:
    """KVM_GET_DIRTY_LOG of a VM without rings has the pages that are in the ring of one with rings."""
    other = kvm.create_vm()
    slot, vcpu = logged_slot(other), other.create_vcpu(0)
    for each_vcpu in (guest.vcpu, vcpu):
        writer.prepare(each_vcpu, target_facts)
        writer.register(each_vcpu, address(PAGE))
        writer.write(each_vcpu, address(PAGE))

    assert slot.take_log() == sorted({page for _, page in guest.ring.harvest()}) == [PAGE]


@pytest.mark.promise(de_facto="Linux 6.12 to 7.3")
@each(REGISTERED)
def test_registration_alone_writes_nothing(guest: X86RingGuest, target_facts: Probe, writer: Writer) -> None:
    """What user space registers for a paused vCPU is written at its next entry, not before."""
    writer.prepare(guest.vcpu, target_facts)
    before = guest.slot.contents()

    writer.register(guest.vcpu, address(PAGE))

    assert guest.ring.harvest() == []
    assert changed(before, guest.slot) == set()


def test_wall_clock_is_in_the_ring_at_once(guest: X86RingGuest) -> None:
    """A write of MSR_KVM_WALL_CLOCK_NEW by user space is in the ring at once; an entry adds nothing to it."""
    before = guest.slot.contents()
    write_wall_clock(guest.vcpu, PAGE)
    at_once = set(guest.ring.harvest())
    set_clock(guest.vcpu)
    guest.vcpu.guest.read_tsc()

    assert (at_once, guest.ring.harvest()) == ({written(PAGE)}, [])
    assert changed(before, guest.slot) == {PAGE}


@EACH_CALL
def test_calls_of_a_paused_vcpu_leave_the_ring_empty(
    guest: X86RingGuest, call: Callable[[X86Vcpu], None]
) -> None:
    """Whatever a VMM does while the vCPU is paused, no page is in its ring, and none has changed."""
    guest.vcpu.set_msr(MSR_KVM_SYSTEM_TIME_NEW, address(0) | KVM_MSR_ENABLED)
    if guest.vcpu.vm.check_extension(uapi.KVM_CAP_STEAL_TIME):
        guest.vcpu.set_msr(MSR_KVM_STEAL_TIME, address(1) | KVM_MSR_ENABLED)
    guest.vcpu.guest.read_tsc()
    guest.vcpu.finish_exit()
    guest.ring.harvest()
    before = guest.slot.contents()

    call(guest.vcpu)

    assert guest.ring.harvest() == []
    assert changed(before, guest.slot) == set()
