# SPDX-License-Identifier: GPL-2.0-only
"""Hyper-V's reference time: an MSR and a page that guests compute it from by their TSC.

Source: Hyper-V TLFS, 12.7; arch/x86/kvm/hyperv.c: get_time_ref_counter(), kvm_hv_setup_tsc_page().
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fixtures.counters import NSEC_PER_MSEC, Window, bracket
from fixtures.guests import layout
from fixtures.host_pair import HostDifference, TwoHosts
from fixtures.kvm.spans import spanned
from fixtures.kvm.x86.guest import ReferenceTscPage
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.uapi.x86.msr_index import (
    HV_X64_MSR_REFERENCE_TSC,
    HV_X64_MSR_TIME_REF_COUNT,
    HV_X64_MSR_TSC_EMULATION_CONTROL,
)
from kvmtests.x86.hyperv import elapsed_units, enlighten, require_hyperv
from kvmtests.x86.moves import new_vm

pytestmark = [
    pytest.mark.promise(architectural="Hyper-V TLFS, Partition Reference Time Stamp Counter Page"),
    pytest.mark.thorough,
    pytest.mark.usefixtures("tsc_clocksource"),
]

NO_PAGE = ReferenceTscPage(0, 0, 0)


@pytest.fixture
def enlightened(vm: X86Vm, vcpu: X86Vcpu) -> X86Vcpu:
    """vCPU 0 with Hyper-V's CPUID leaves, whose guest has identified itself."""
    require_hyperv(vm)
    enlighten(vcpu)
    return vcpu


@pytest.fixture
def paged(enlightened: X86Vcpu) -> X86Vcpu:
    """The same with the reference TSC page enabled and written."""
    enlightened.guest.enable_reference_tsc()
    enlightened.guest.read_tsc()
    return enlightened


def advance(vcpu: X86Vcpu, read: Callable[[], int]) -> tuple[Window, int]:
    """Return how many units pass over 20 ms by the host's clock, and by *read*."""
    first_span, first = spanned(vcpu.vm.time, read)
    vcpu.vm.time.sleep_ns(20 * NSEC_PER_MSEC)
    last_span, last = spanned(vcpu.vm.time, read)
    return elapsed_units(first_span, last_span), last - first


def count(vcpu: X86Vcpu) -> int:
    """Return HV_X64_MSR_TIME_REF_COUNT as the guest reads it."""
    return vcpu.guest.rdmsr(HV_X64_MSR_TIME_REF_COUNT).value


@pytest.mark.promise(architectural="Hyper-V TLFS, Reference Counter")
def test_guest_count_advances_with_time(enlightened: X86Vcpu) -> None:
    """HV_X64_MSR_TIME_REF_COUNT, in the guest, counts 100 ns units of CLOCK_MONOTONIC_RAW."""
    elapsed_100ns, seen_100ns = advance(enlightened, lambda: count(enlightened))

    assert seen_100ns in elapsed_100ns


@pytest.mark.promise(architectural="Hyper-V TLFS, Reference Counter")
def test_host_count_advances_with_time(enlightened: X86Vcpu) -> None:
    """The same by KVM_GET_MSRS."""
    elapsed_100ns, seen_100ns = advance(enlightened, lambda: enlightened.get_msr(HV_X64_MSR_TIME_REF_COUNT))

    assert seen_100ns in elapsed_100ns


@pytest.mark.promise(architectural="Hyper-V TLFS, Reference Counter")
def test_count_is_as_fine_as_its_unit(enlightened: X86Vcpu) -> None:
    """The counter does not advance in steps of 10 units or more: many readings end in several digits."""
    readings = [enlightened.get_msr(HV_X64_MSR_TIME_REF_COUNT) for _ in range(64)]

    assert len({reading % 10 for reading in readings}) > 1


def test_page_that_is_not_enabled_is_zero(enlightened: X86Vcpu) -> None:
    """KVM does not write a page whose address the guest has given without the enable bit."""
    enlightened.guest.wrmsr(HV_X64_MSR_REFERENCE_TSC, layout.REFERENCE_TSC_PAGE)
    enlightened.vm.set_clock(0)
    enlightened.guest.read_tsc()

    assert enlightened.guest.reference_tsc_page() == NO_PAGE


def test_enabled_page_holds(paged: X86Vcpu) -> None:
    """The enabled page has a sequence that is not 0: it holds."""
    assert paged.guest.reference_tsc_page().sequence != 0


def test_page_and_count_are_one_clock(paged: X86Vcpu) -> None:
    """What the guest computes from the page lies between two readings of the MSR, also after a pause."""
    for _ in range(2):
        before, seen, after = bracket(lambda: count(paged), paged.guest.read_reference_time)

        assert seen.sequence != 0
        assert seen.time_100ns in Window(before, after).widened(1)
        paged.vm.time.sleep_ns(20 * NSEC_PER_MSEC)


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
def test_page_follows_set_clock(paged: X86Vcpu) -> None:
    """KVM_SET_CLOCK also sets the reference time: from 0 it has advanced by the time since."""
    old = paged.guest.reference_tsc_page()
    paged.vm.time.sleep_ns(20 * NSEC_PER_MSEC)

    set_span, _ = spanned(paged.vm.time, lambda: paged.vm.set_clock(0))
    read_span, seen = spanned(paged.vm.time, paged.guest.read_reference_time)

    assert paged.guest.reference_tsc_page().offset != old.offset
    assert seen.time_100ns in elapsed_units(set_span, read_span)


@pytest.mark.parametrize("sequence", [2**32 - 2, 2**32 - 1], ids=["last-valid", "invalid"])
def test_sequence_skips_what_means_invalid(paged: X86Vcpu, sequence: int) -> None:
    """An update after the highest sequence gives one that is neither 0 nor 0xffffffff: the page holds."""
    start = layout.REFERENCE_TSC_PAGE
    paged.vm.memory[start : start + 4] = sequence.to_bytes(4, "little")

    paged.vm.set_clock(0)
    paged.guest.read_tsc()

    assert paged.guest.reference_tsc_page().sequence not in (0, sequence, 2**32 - 1)


@pytest.mark.promise(de_facto="Linux 6.1 to 7.3")
def test_emulated_tsc_keeps_its_page(paged: X86Vcpu) -> None:
    """While the guest has TSC emulation enabled, the page keeps scale and offset over KVM_SET_CLOCK."""
    paged.guest.wrmsr(HV_X64_MSR_TSC_EMULATION_CONTROL, 1)
    old = paged.guest.reference_tsc_page()

    paged.vm.set_clock(0)
    paged.guest.read_tsc()

    new = paged.guest.reference_tsc_page()
    assert (new.scale, new.offset) == (old.scale, old.offset)


def test_disabled_page_is_not_written(paged: X86Vcpu) -> None:
    """A page that the guest has disabled and cleared stays clear over KVM_SET_CLOCK."""
    paged.guest.wrmsr(HV_X64_MSR_REFERENCE_TSC, 0)
    start = layout.REFERENCE_TSC_PAGE
    paged.vm.memory[start : start + layout.PAGE_SIZE] = bytes(layout.PAGE_SIZE)

    paged.vm.set_clock(0)
    paged.guest.read_tsc()

    assert paged.guest.reference_tsc_page() == NO_PAGE


@pytest.mark.promise(de_facto="Linux 6.1 to 7.3")
@pytest.mark.thorough
@pytest.mark.parametrize("rate_ppb", [pytest.param(500_000, id="fast"), pytest.param(-500_000, id="slow")])
def test_ntp_does_not_change_the_counts_rate(two_hosts: TwoHosts[X86Vm], rate_ppb: int) -> None:
    """A vCPU's reference count keeps the raw clock's rate, within what the TSC's kHz are rounded by."""
    pair = two_hosts(HostDifference())
    vm = new_vm(pair.source)
    require_hyperv(vm)
    vcpu = vm.create_vcpu(0)
    pair.source_clock.slew(rate_ppb)

    first_span, first = spanned(vm.time, lambda: vcpu.get_msr(HV_X64_MSR_TIME_REF_COUNT))
    vm.time.sleep_ns(100_000 * NSEC_PER_MSEC)
    last_span, last = spanned(vm.time, lambda: vcpu.get_msr(HV_X64_MSR_TIME_REF_COUNT))

    elapsed = elapsed_units(first_span, last_span)
    gained_100ns = last - first
    assert gained_100ns in elapsed.widened(elapsed.first // 1_000_000)
