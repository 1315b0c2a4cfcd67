# SPDX-License-Identifier: GPL-2.0-only
"""Hyper-V's reference time in a VM of several vCPUs, whose TSCs part and join, and in a second VM.

Source: Hyper-V TLFS, 12.7; arch/x86/kvm/hyperv.c: kvm_hv_setup_tsc_page(), kvm_hv_get_msr().
"""

from __future__ import annotations

from itertools import pairwise

import pytest

from fixtures.counters import NSEC_PER_MSEC, NSEC_PER_SEC, Window, bracket, wrap
from fixtures.guests import layout
from fixtures.kvm.spans import Span, spanned
from fixtures.kvm.system import Kvm
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.uapi import kvm as uapi
from fixtures.uapi.x86 import msr_index
from kvmtests.x86.clocks import enter_all
from kvmtests.x86.hyperv import elapsed_units, enlighten, require_hyperv, time_of_page

pytestmark = [
    pytest.mark.promise(architectural="Hyper-V TLFS, Partition Reference Time Stamp Counter Page"),
    pytest.mark.thorough,
    pytest.mark.usefixtures("tsc_clocksource", "stable_tsc", "settable_tsc"),
]

APART = 10**12
COUNT = msr_index.HV_X64_MSR_TIME_REF_COUNT
FREQUENCY = msr_index.HV_X64_MSR_TSC_FREQUENCY
CLOCK_NS = 1000 * NSEC_PER_SEC


def windows_guest(vm: X86Vm, count: int) -> list[X86Vcpu]:
    """Return *count* vCPUs of *vm* with Hyper-V's leaves, whose guest has enabled the page on the first."""
    require_hyperv(vm)
    vcpus = [vm.create_vcpu(number) for number in range(count)]
    for vcpu in vcpus:
        enlighten(vcpu)
    vcpus[0].guest.enable_reference_tsc()
    enter_all(vcpus)
    return vcpus


def part(vcpus: list[X86Vcpu]) -> None:
    """Give the last vCPU another TSC than the others', and let all enter their guests."""
    vcpus[-1].tsc_offset = vcpus[0].tsc_offset + APART
    enter_all(reversed(vcpus))


def check_one_clock(reader: X86Vcpu, counter: X86Vcpu) -> None:
    """Fail unless *reader*'s page holds, and gives a time between two counts that *counter* reads."""
    before, seen, after = bracket(lambda: counter.guest.rdmsr(COUNT).value, reader.guest.read_reference_time)
    assert seen.sequence != 0
    assert seen.time_100ns in Window(before, after).widened(1)


def set_clock(vm: X86Vm, clock_ns: int) -> Span:
    """KVM_SET_CLOCK; return when it happened."""
    return spanned(vm.time, lambda: vm.set_clock(clock_ns))[0]


def join(vcpus: list[X86Vcpu]) -> None:
    """Give all vCPUs the first one's TSC again."""
    offset = vcpus[0].tsc_offset
    for vcpu in vcpus:
        vcpu.tsc_offset = offset
    enter_all(reversed(vcpus))


def test_each_vcpu_reads_one_clock(vm: X86Vm) -> None:
    """What each vCPU computes from the page lies between the counts that another one reads."""
    vcpus = windows_guest(vm, 3)

    for vcpu, other in zip(vcpus, reversed(vcpus), strict=True):
        check_one_clock(vcpu, other)


@pytest.mark.before("master_clock_with_offsets")
def test_page_does_not_hold_while_tscs_differ(vm: X86Vm) -> None:
    """While the vCPUs' TSCs differ the page has sequence 0: guests read the reference counter instead."""
    vcpus = windows_guest(vm, 2)

    part(vcpus)

    assert vcpus[0].guest.reference_tsc_page().sequence == 0


@pytest.mark.before("master_clock_with_offsets")
def test_page_holds_when_enabled_after_joining(vm: X86Vm) -> None:
    """Once the TSCs agree again, a guest that enables the page again has one that holds."""
    vcpus = windows_guest(vm, 2)
    part(vcpus)
    join(vcpus)

    vcpus[0].guest.enable_reference_tsc()
    enter_all(vcpus)

    before, seen, after = bracket(
        lambda: vcpus[1].guest.rdmsr(COUNT).value, vcpus[1].guest.read_reference_time
    )
    assert seen.sequence != 0
    assert seen.time_100ns in Window(before, after).widened(1)


@pytest.mark.promise(architectural="Hyper-V TLFS, Reference Counter")
def test_count_continues_while_tscs_part_and_join(vm: X86Vm) -> None:
    """The reference counter neither jumps nor stops when the TSCs part and when they join again."""
    vcpus = windows_guest(vm, 2)
    spans = [spanned(vm.time, lambda: vcpus[1].guest.rdmsr(COUNT).value)]

    for change in (part, join):
        change(vcpus)
        spans.append(spanned(vm.time, lambda: vcpus[1].guest.rdmsr(COUNT).value))

    for (first_span, first), (last_span, last) in pairwise(spans):
        assert last - first in elapsed_units(first_span, last_span)


@pytest.mark.promise(architectural="Hyper-V TLFS, Reference Counter")
def test_count_follows_set_clock_without_a_page(vm: X86Vm, vcpu: X86Vcpu) -> None:
    """Without a page the reference counter is kvmclock: KVM_SET_CLOCK sets it."""
    require_hyperv(vm)
    enlighten(vcpu)

    set_span = set_clock(vm, CLOCK_NS)
    read_span, count_100ns = spanned(vm.time, lambda: vcpu.get_msr(COUNT))

    assert count_100ns - CLOCK_NS // 100 in elapsed_units(set_span, read_span)


@pytest.mark.promise(architectural="Hyper-V TLFS, Reference Counter")
def test_count_starts_with_the_vm(kvm: Kvm[X86Vm], vm: X86Vm) -> None:
    """The reference counter is the time since its VM was made, whatever another VM's clock was set to."""
    vm.set_clock(CLOCK_NS)
    created, younger = spanned(vm.time, kvm.create_vm)
    require_hyperv(younger)
    vcpu = younger.create_vcpu(0)
    enlighten(vcpu)

    by_host, host_100ns = spanned(vm.time, lambda: vcpu.get_msr(COUNT))
    by_guest, guest_100ns = spanned(vm.time, lambda: vcpu.guest.rdmsr(COUNT).value)

    assert host_100ns in elapsed_units(created, by_host)
    assert guest_100ns in elapsed_units(created, by_guest)


@pytest.mark.promise(de_facto="Linux 5.12 to 7.3")
def test_count_stays_with_a_page_that_stays(vm: X86Vm) -> None:
    """While TSC emulation keeps the page as it is, the reference counter stays with it over KVM_SET_CLOCK."""
    first, second = windows_guest(vm, 2)
    first.guest.wrmsr(msr_index.HV_X64_MSR_TSC_EMULATION_CONTROL, 1)

    vm.set_clock(CLOCK_NS)
    enter_all((first, second))

    check_one_clock(first, second)


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
def test_update_keeps_the_page_valid(vm: X86Vm) -> None:
    """Each KVM_SET_CLOCK leaves a page that holds, and whose time is the clock that was set."""
    vcpus = windows_guest(vm, 2)

    for seconds in (1000, 0, 5000):
        set_span = set_clock(vm, seconds * NSEC_PER_SEC)
        enter_all(vcpus)
        read_span, seen = spanned(vm.time, vcpus[1].guest.read_reference_time)

        assert seen.sequence != 0
        assert wrap(seen.time_100ns - seconds * NSEC_PER_SEC // 100) in elapsed_units(set_span, read_span)


@pytest.mark.promise(architectural="Hyper-V TLFS, HV_PARTITION_PRIVILEGE_MASK: AccessFrequencyRegs")
def test_frequency_is_the_guests(vm: X86Vm, vcpu: X86Vcpu) -> None:
    """HV_X64_MSR_TSC_FREQUENCY is the vCPU's TSC frequency in Hz, to guest and host."""
    require_hyperv(vm)
    enlighten(vcpu)

    assert vcpu.get_msr(FREQUENCY) == vcpu.tsc_khz * 1000
    assert vcpu.guest.rdmsr(FREQUENCY).value == vcpu.tsc_khz * 1000


@pytest.mark.promise(architectural="Hyper-V TLFS, HV_PARTITION_PRIVILEGE_MASK: AccessFrequencyRegs")
@pytest.mark.parametrize("part_of", [pytest.param(2, id="half"), pytest.param(3, id="a-third")])
def test_scaled_frequency_and_page_agree(vm: X86Vm, part_of: int) -> None:
    """With TSC scaling the frequency is the guest's, and one second of its ticks is one of the page."""
    vm.require(uapi.KVM_CAP_TSC_CONTROL)
    vm.require(uapi.KVM_CAP_VM_TSC_CONTROL)
    vm.tsc_khz = vm.tsc_khz // part_of
    vcpu, _ = windows_guest(vm, 2)
    hz = vcpu.tsc_khz * 1000

    page = vcpu.guest.reference_tsc_page()

    assert vcpu.guest.rdmsr(FREQUENCY).value == hz
    second_100ns = wrap(time_of_page(page, hz * 1000 + hz) - time_of_page(page, hz * 1000))
    assert second_100ns in Window(10**7, 10**7).widened(10**7 // vcpu.tsc_khz + 1)


def test_reference_time_continues_in_a_second_vm(kvm: Kvm[X86Vm], vm: X86Vm) -> None:
    """A second VM given TSC, clock, HV_X64_MSR_REFERENCE_TSC and memory of the first continues its time."""
    old = windows_guest(vm, 2)
    vm.set_clock(CLOCK_NS)
    enter_all(old)
    old_span, before = spanned(vm.time, old[1].guest.read_reference_time)
    clock = vm.clock()

    heir = kvm.create_vm()
    new = [heir.create_vcpu(number) for number in range(2)]
    page = slice(layout.REFERENCE_TSC_PAGE, layout.REFERENCE_TSC_PAGE + layout.PAGE_SIZE)
    heir.memory[page] = vm.memory[page]
    for vcpu, source in zip(new, old, strict=True):
        enlighten(vcpu)
        vcpu.tsc_offset = source.tsc_offset
    heir.set_clock(clock.kvmclock_ns, realtime_ns=clock.realtime_ns)
    new[0].set_msr(msr_index.HV_X64_MSR_REFERENCE_TSC, old[0].get_msr(msr_index.HV_X64_MSR_REFERENCE_TSC))
    enter_all(new)
    new_span, after = spanned(heir.time, new[1].guest.read_reference_time)

    assert after.sequence not in {0, before.sequence}
    elapsed = elapsed_units(old_span, new_span).widened(10 * NSEC_PER_MSEC // 100)
    assert wrap(after.time_100ns - before.time_100ns) in elapsed


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
def test_emulated_tsc_keeps_the_page_when_vcpus_part(vm: X86Vm) -> None:
    """While the guest has TSC emulation enabled, the page stays whole when the vCPUs' TSCs part and join."""
    vcpus = windows_guest(vm, 2)
    vcpus[0].guest.wrmsr(msr_index.HV_X64_MSR_TSC_EMULATION_CONTROL, 1)
    before = vcpus[0].guest.reference_tsc_page()

    part(vcpus)
    parted = vcpus[0].guest.reference_tsc_page()
    join(vcpus)

    assert parted == vcpus[0].guest.reference_tsc_page() == before


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
def test_guests_write_of_a_tsc_leaves_the_page(vm: X86Vm) -> None:
    """A guest that moves one vCPU's TSC itself keeps the page, which the other vCPU reads as before."""
    vcpus = windows_guest(vm, 2)
    before = vcpus[0].guest.reference_tsc_page()

    vcpus[1].guest.wrmsr(msr_index.MSR_IA32_TSC, 2**42)
    enter_all(reversed(vcpus))

    assert vcpus[0].guest.reference_tsc_page() == before
    check_one_clock(vcpus[0], vcpus[0])
