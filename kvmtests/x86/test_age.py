# SPDX-License-Identifier: GPL-2.0-only
"""Relations between clocks hold as well when nothing has refreshed them for long."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fixtures.counters import NSEC_PER_SEC, Window, bracket, wrap
from fixtures.kvm.errors import CapabilityMissing
from fixtures.kvm.spans import spanned
from fixtures.kvm.values import MASTER_CLOCK
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.targets import Target
from fixtures.uapi import kvm as uapi
from fixtures.uapi.x86 import msr_index
from kvmtests.x86.clocks import MARGIN_NS, enter_all, flags_after_entry
from kvmtests.x86.hyperv import enlighten, require_hyperv, time_of_page

pytestmark = [pytest.mark.thorough, pytest.mark.usefixtures("tsc_clocksource", "stable_tsc")]

SHORT_S = 5
AGES = [
    pytest.param(SHORT_S, id="5s"),
    pytest.param(3600, id="1h"),
    pytest.param(400 * 86_400, id="400d"),
]
WITHIN_AN_HOUR = AGES[:2]

Aged = Callable[[X86Vm, int], None]


@pytest.fixture
def aged(target: Target) -> Aged:
    """Let a VM grow older, by seconds; real time is too dear for more than a few of them."""

    def sleep(vm: X86Vm, age_s: int) -> None:
        if age_s > SHORT_S and not target.simulated:
            raise CapabilityMissing("a host whose time costs nothing")
        vm.time.sleep_ns(age_s * NSEC_PER_SEC)

    return sleep


def check_pair(vm: X86Vm, vcpu: X86Vcpu) -> None:
    """Fail unless the record of *vcpu* gives KVM_GET_CLOCK's clock for its host_tsc."""
    clock = vm.clock()
    assert vcpu.guest.pvclock().kvmclock_ns(wrap(clock.host_tsc + vcpu.tsc_offset)) == clock.kvmclock_ns


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_GET_CLOCK: KVM_CLOCK_TSC_STABLE")
@pytest.mark.parametrize("age_s", AGES)
def test_record_and_get_clock_agree(vm: X86Vm, vcpus: list[X86Vcpu], aged: Aged, age_s: int) -> None:
    """A record that was written long ago gives KVM_GET_CLOCK's clock to the nanosecond, asleep or not."""
    for vcpu in vcpus:
        vcpu.guest.enable_kvmclock()
        vcpu.guest.read_kvmclock()
    enter_all(vcpus)  # the first entry of the second vCPU took a new snapshot

    aged(vm, age_s)

    check_pair(vm, vcpus[0])
    vcpus[1].guest.read_kvmclock()
    check_pair(vm, vcpus[1])
    check_pair(vm, vcpus[0])


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
@pytest.mark.parametrize("age_s", AGES)
def test_reference_page_and_get_clock_agree(vm: X86Vm, vcpu: X86Vcpu, aged: Aged, age_s: int) -> None:
    """Hyper-V's page, however old, gives KVM_GET_CLOCK's clock in units of 100 ns, to a unit."""
    require_hyperv(vm)
    enlighten(vcpu)
    vcpu.guest.enable_reference_tsc()
    vcpu.guest.read_tsc()

    aged(vm, age_s)

    clock = vm.clock()
    seen_100ns = time_of_page(vcpu.guest.reference_tsc_page(), wrap(clock.host_tsc + vcpu.tsc_offset))
    assert seen_100ns in Window(clock.kvmclock_ns // 100, clock.kvmclock_ns // 100).widened(1)


@pytest.mark.promise(de_facto="Linux 6.7 to 7.3")
@pytest.mark.usefixtures("settable_tsc")
@pytest.mark.parametrize("age_s", WITHIN_AN_HOUR)
def test_value_joins_a_line_of_long_ago(vm: X86Vm, vcpus: list[X86Vcpu], aged: Aged, age_s: int) -> None:
    """A vCPU given the TSC that another one reads now joins its line, however long ago that was written."""
    vcpus[0].set_msr(msr_index.MSR_IA32_TSC, vcpus[0].get_msr(msr_index.MSR_IA32_TSC))

    aged(vm, age_s)
    vcpus[1].set_msr(msr_index.MSR_IA32_TSC, vcpus[0].get_msr(msr_index.MSR_IA32_TSC))

    assert vcpus[0].tsc_offset == vcpus[1].tsc_offset
    assert flags_after_entry(*vcpus) == MASTER_CLOCK


@pytest.mark.promise(de_facto="Linux 6.7 to 7.3")
@pytest.mark.usefixtures("settable_tsc")
@pytest.mark.parametrize("age_s", WITHIN_AN_HOUR)
def test_scaled_value_joins_a_line_of_long_ago(vm: X86Vm, aged: Aged, age_s: int) -> None:
    """The same in a guest of another frequency, whose ticks since then are not the host's."""
    vm.require(uapi.KVM_CAP_TSC_CONTROL)
    vm.tsc_khz *= 3
    first, second = vm.create_vcpu(0), vm.create_vcpu(1)
    first.set_msr(msr_index.MSR_IA32_TSC, 2**50)

    aged(vm, age_s)
    second.set_msr(msr_index.MSR_IA32_TSC, first.get_msr(msr_index.MSR_IA32_TSC))

    assert first.tsc_offset == second.tsc_offset


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
@pytest.mark.usefixtures("settable_tsc")
@pytest.mark.parametrize("age_s", AGES)
def test_new_vcpu_joins_a_line_of_long_ago(vm: X86Vm, vcpu: X86Vcpu, aged: Aged, age_s: int) -> None:
    """A vCPU made long after the first has its TSC, and the master clock stays on."""
    vcpu.guest.read_tsc()

    aged(vm, age_s)
    later = vm.create_vcpu(1)
    enter_all((vcpu, later))

    assert later.tsc_offset == vcpu.tsc_offset
    assert vm.clock().flags == MASTER_CLOCK


@pytest.mark.promise(
    documented="Documentation/virt/kvm/x86/msr.rst, MSR_KVM_SYSTEM_TIME_NEW: tsc_to_system_mul"
)
@pytest.mark.usefixtures("settable_tsc")
@pytest.mark.parametrize(
    "khz",
    [
        pytest.param(10_000, id="10MHz"),
        pytest.param(999_983, id="1GHz"),
        pytest.param(20_000_000, id="20GHz"),
    ],
)
@pytest.mark.parametrize("age_s", AGES)
def test_scaled_guests_clock_counts_time(vm: X86Vm, aged: Aged, khz: int, age_s: int) -> None:
    """A scaled guest's kvmclock advances with CLOCK_MONOTONIC_RAW: frequencies are whole kHz."""
    vm.require(uapi.KVM_CAP_TSC_CONTROL)
    vm.require(uapi.KVM_CAP_VM_TSC_CONTROL)
    host_khz = vm.tsc_khz
    vm.tsc_khz = khz
    vcpu = vm.create_vcpu(0)
    vcpu.guest.enable_kvmclock()
    first_span, first = spanned(vm.time, vcpu.guest.read_kvmclock)

    aged(vm, age_s)
    last_span, last = spanned(vm.time, vcpu.guest.read_kvmclock)

    elapsed = first_span.until(last_span)
    fractions_ns = elapsed.last // khz + elapsed.last // host_khz
    assert last.kvmclock_ns - first.kvmclock_ns in elapsed.widened(fractions_ns + MARGIN_NS)


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_GET_CLOCK: KVM_CLOCK_TSC_STABLE")
@pytest.mark.since("precise_scaling")
@pytest.mark.parametrize("age_s", AGES)
def test_scaled_guest_and_get_clock_agree(vm: X86Vm, aged: Aged, age_s: int) -> None:
    """However old its record, a scaled guest reads a kvmclock between KVM_GET_CLOCK before it and after."""
    vm.require(uapi.KVM_CAP_TSC_CONTROL)
    vm.require(uapi.KVM_CAP_VM_TSC_CONTROL)
    vm.tsc_khz = 2_345_678
    vcpu = vm.create_vcpu(0)
    vcpu.guest.enable_kvmclock()
    vcpu.guest.read_kvmclock()

    aged(vm, age_s)

    before, seen, after = bracket(lambda: vm.clock().kvmclock_ns, vcpu.guest.read_kvmclock)
    assert seen.kvmclock_ns in Window(before, after).widened(1)
