# SPDX-License-Identifier: GPL-2.0-only
"""The master clock is on while all vCPUs share a TSC generation, and KVM evaluates that at certain moments.

KVM_GET_CLOCK reports it by its flags, and the guest finds PVCLOCK_TSC_STABLE_BIT in its pvclock record.
Source: arch/x86/kvm/x86.c: pvclock_update_vm_gtod_copy(), kvm_track_tsc_matching().
"""

from __future__ import annotations

import pytest

from fixtures.counters import NSEC_PER_MSEC, Window, bracket
from fixtures.kvm.spans import spanned
from fixtures.kvm.values import MASTER_CLOCK, ClockFlags
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.uapi.x86.kvm_para import MSR_KVM_SYSTEM_TIME, MSR_KVM_SYSTEM_TIME_NEW
from fixtures.uapi.x86.msr_index import MSR_IA32_TSC
from fixtures.uapi.x86.pvclock import PVCLOCK_TSC_STABLE_BIT
from kvmtests.x86.clocks import MARGIN_NS, enter_all, flags_after_entry

pytestmark = [pytest.mark.promise(de_facto="Linux 6.1 to 7.3"), pytest.mark.usefixtures("tsc_clocksource")]

OFF = ClockFlags(0)
BOTH_SYSTEM_TIME_MSRS = pytest.mark.parametrize(
    "msr",
    [
        pytest.param(MSR_KVM_SYSTEM_TIME, id="legacy-msr"),
        pytest.param(MSR_KVM_SYSTEM_TIME_NEW, id="new-msr"),
    ],
)


@pytest.fixture(autouse=True)
def flags(vm: X86Vm) -> None:
    """KVM_GET_CLOCK reports the master clock by three flags; before v5.16 it had one."""
    vm.require_realtime()


@pytest.fixture
def parted(vcpus: list[X86Vcpu]) -> list[X86Vcpu]:
    """Two vCPUs that have run with different offsets."""
    first, second = vcpus
    first.tsc_offset, second.tsc_offset = 2**40, 2**41
    enter_all(vcpus)
    return vcpus


@pytest.mark.promise(
    de_facto="Linux 6.1 to 7.3",
    ended='7254e09bb5e9 ("KVM: x86: Activate master clock immediately on vCPU creation")',
)
@pytest.mark.before("master_clock_at_creation")
def test_creation_does_not_turn_it_on(vm: X86Vm) -> None:
    """However many vCPUs are created, the master clock is off until one has run."""
    assert flags_after_creation(vm) == [OFF, OFF]


@pytest.mark.promise(
    de_facto="the proposals since 2024",
    began='7254e09bb5e9 ("KVM: x86: Activate master clock immediately on vCPU creation")',
)
@pytest.mark.since("master_clock_at_creation")
def test_creation_turns_it_on(vm: X86Vm) -> None:
    """It is on as soon as a vCPU exists, before any has run, and another vCPU leaves it on."""
    assert flags_after_creation(vm) == [MASTER_CLOCK, MASTER_CLOCK]


def flags_after_creation(vm: X86Vm) -> list[ClockFlags]:
    """Create two vCPUs; return KVM_GET_CLOCK's flags after each."""
    flags = []
    for vcpu_id in range(2):
        vm.create_vcpu(vcpu_id)
        flags.append(vm.clock().flags)
    return flags


@pytest.mark.parametrize("runner", [pytest.param(0, id="first"), pytest.param(1, id="second")])
def test_one_entry_of_any_vcpu_turns_it_on(vcpus: list[X86Vcpu], runner: int) -> None:
    """Two new vCPUs are of one generation, and an entry of either evaluates that; the other's keeps it on."""
    flags = [flags_after_entry(vcpu) for vcpu in (vcpus[runner], vcpus[1 - runner])]

    assert flags == [MASTER_CLOCK, MASTER_CLOCK]


def test_new_vcpu_leaves_it_on(vm: X86Vm, vcpu: X86Vcpu) -> None:
    """A vCPU created while the master clock is on joins it: it stays on, also once the new vCPU has run."""
    assert flags_after_entry(vcpu) == MASTER_CLOCK

    later = vm.create_vcpu(1)

    assert vm.clock().flags == MASTER_CLOCK
    assert [flags_after_entry(later), flags_after_entry(vcpu)] == [MASTER_CLOCK, MASTER_CLOCK]


@pytest.mark.before("master_clock_with_offsets")
def test_only_the_written_vcpu_turns_it_off(vcpus: list[X86Vcpu]) -> None:
    """After a new offset it stays on until the vCPU that was written runs; the other's entry does nothing."""
    first, second = vcpus
    assert flags_after_entry(first, second) == MASTER_CLOCK

    first.tsc_offset = 2**41
    flags = [flags_after_entry(vcpu) for vcpu in (second, first, second)]

    assert flags == [MASTER_CLOCK, OFF, OFF]


@pytest.mark.before("master_clock_with_offsets")
def test_only_the_written_vcpu_turns_it_on_again(parted: list[X86Vcpu]) -> None:
    """When the second vCPU gets the same offset it is off until that vCPU runs, then on."""
    first, second = parted
    first.tsc_offset = 2**42
    assert flags_after_entry(first, second) == OFF

    second.tsc_offset = 2**42

    assert flags_after_entry(first) == OFF
    assert flags_after_entry(second) == MASTER_CLOCK


@pytest.mark.before("master_clock_with_offsets")
def test_set_clock_evaluates_at_once(vcpus: list[X86Vcpu]) -> None:
    """KVM_SET_CLOCK evaluates without any entry: off once offsets differ, on once they agree."""
    first, second = vcpus
    vm = first.vm
    assert flags_after_entry(first, second) == MASTER_CLOCK

    first.tsc_offset = 2**41
    vm.set_clock(0)
    flags_parted = vm.clock().flags
    second.tsc_offset = 2**41
    vm.set_clock(0)

    assert (flags_parted, vm.clock().flags) == (OFF, MASTER_CLOCK)


@pytest.mark.promise(de_facto="the proposals since 2024")
@pytest.mark.since("master_clock_with_offsets")
def test_different_offsets_leave_it_on(vcpus: list[X86Vcpu]) -> None:
    """It stays on while offsets differ, and each vCPU finds one kvmclock over its own TSC."""
    vm = vcpus[0].vm
    for vcpu, tsc_offset in zip(vcpus, (2**40, 2**41), strict=True):
        vcpu.tsc_offset = tsc_offset
        vcpu.guest.enable_kvmclock()
    vm.set_clock(0)

    assert flags_after_entry(*vcpus) == MASTER_CLOCK

    for vcpu in vcpus:
        before, seen, after = bracket(lambda: vm.clock().kvmclock_ns, vcpu.guest.read_kvmclock)
        assert seen.kvmclock_ns in Window(before, after).widened(1)


def test_get_clock_does_not_evaluate(vcpus: list[X86Vcpu]) -> None:
    """KVM_GET_CLOCK reports the state and never changes it."""
    first, second = vcpus
    assert flags_after_entry(first, second) == MASTER_CLOCK
    first.tsc_offset = 2**41

    flags = [first.vm.clock().flags for _ in range(10)]

    assert flags == [MASTER_CLOCK] * 10


@pytest.mark.before("master_clock_with_offsets")
def test_entry_that_runs_nothing_does_not_evaluate(vcpus: list[X86Vcpu]) -> None:
    """KVM_RUN with immediate_exit leaves it as it is: requests wait for the next real entry."""
    first, second = vcpus
    assert flags_after_entry(first, second) == MASTER_CLOCK
    first.tsc_offset = 2**41

    first.poke_without_entry()

    assert first.vm.clock().flags == MASTER_CLOCK
    assert flags_after_entry(first) == OFF


def test_same_offset_for_all_in_turn_keeps_it(vcpus: list[X86Vcpu]) -> None:
    """One offset written to every vCPU, and written again later in any order, keeps it on."""
    first, second = vcpus
    for vcpu in (first, second, second, first):
        vcpu.tsc_offset = 2**40
        vcpu.vm.time.sleep_ns(NSEC_PER_MSEC)

    assert flags_after_entry(first, second) == MASTER_CLOCK


@pytest.mark.before("master_clock_with_offsets")
def test_off_reports_kvmclock_alone(parted: list[X86Vcpu]) -> None:
    """While it is off flags, realtime and host_tsc are 0, and kvmclock keeps CLOCK_MONOTONIC_RAW's pace."""
    vm = parted[0].vm
    first_span, first = spanned(vm.time, vm.clock)

    vm.time.sleep_ns(10 * NSEC_PER_MSEC)

    last_span, last = spanned(vm.time, vm.clock)
    assert (last.flags, last.realtime_ns, last.host_tsc) == (OFF, 0, 0)
    assert last.kvmclock_ns - first.kvmclock_ns in first_span.until(last_span).widened(MARGIN_NS)


@pytest.mark.before("master_clock_with_offsets")
def test_on_and_off_do_not_move_kvmclock(vcpus: list[X86Vcpu]) -> None:
    """When it goes off and on again, kvmclock keeps CLOCK_MONOTONIC_RAW's pace."""
    vm = vcpus[0].vm
    assert flags_after_entry(*vcpus) == MASTER_CLOCK
    readings = [spanned(vm.time, vm.clock)]

    for tsc_offset in (2**41, 2**42):
        for vcpu in vcpus:
            vcpu.tsc_offset = tsc_offset
            enter_all([vcpu])
            readings.append(spanned(vm.time, vm.clock))

    assert [clock.flags for _, clock in readings] == [MASTER_CLOCK, OFF, MASTER_CLOCK, OFF, MASTER_CLOCK]
    start_span, start = readings[0]
    for span, clock in readings[1:]:
        assert clock.kvmclock_ns - start.kvmclock_ns in start_span.until(span).widened(MARGIN_NS)


@pytest.mark.before("master_clock_with_offsets")
def test_stable_bit_is_in_every_record(vcpus: list[X86Vcpu]) -> None:
    """PVCLOCK_TSC_STABLE_BIT is in the records of all vCPUs while it is on, in none while it is off."""
    for vcpu in vcpus:
        vcpu.guest.enable_kvmclock()
    enter_all(vcpus)
    records_on = [vcpu.guest.pvclock().flags for vcpu in vcpus]

    vcpus[0].tsc_offset = 2**41
    enter_all([*vcpus, *vcpus])

    assert records_on == [PVCLOCK_TSC_STABLE_BIT, PVCLOCK_TSC_STABLE_BIT]
    assert [vcpu.guest.pvclock().flags for vcpu in vcpus] == [0, 0]


def test_records_of_equal_offsets_are_equal(vcpus: list[X86Vcpu]) -> None:
    """While it is on, all records hold one line: the same tsc_timestamp, system_time and multiplier."""
    for vcpu in vcpus:
        vcpu.guest.enable_kvmclock()
    vcpus[0].vm.set_clock(0)

    enter_all(vcpus)

    first, second = (vcpu.guest.pvclock() for vcpu in vcpus)
    assert (first.flags, second.flags) == (PVCLOCK_TSC_STABLE_BIT, PVCLOCK_TSC_STABLE_BIT)
    assert first.line == second.line


def test_legacy_msr_of_the_boot_vcpu_turns_it_off(vcpus: list[X86Vcpu]) -> None:
    """It goes off when vCPU 0's guest registers kvmclock by the legacy MSR, and on again by the new one."""
    boot, second = vcpus
    assert flags_after_entry(boot, second) == MASTER_CLOCK

    boot.guest.enable_kvmclock(MSR_KVM_SYSTEM_TIME)
    flags_legacy = flags_after_entry(boot, second)
    boot.guest.enable_kvmclock(MSR_KVM_SYSTEM_TIME_NEW)

    assert (flags_legacy, flags_after_entry(boot, second)) == (OFF, MASTER_CLOCK)


def test_legacy_msr_of_another_vcpu_does_not_matter(vcpus: list[X86Vcpu]) -> None:
    """Only vCPU 0's way of registering counts."""
    boot, second = vcpus
    assert flags_after_entry(boot, second) == MASTER_CLOCK

    second.guest.enable_kvmclock(MSR_KVM_SYSTEM_TIME)

    assert flags_after_entry(boot, second) == MASTER_CLOCK


@BOTH_SYSTEM_TIME_MSRS
@pytest.mark.parametrize("legacy_before", [pytest.param(False, id="on"), pytest.param(True, id="off")])
def test_host_write_of_the_msr_does_not_matter(vcpus: list[X86Vcpu], msr: int, legacy_before: bool) -> None:
    """User space that restores either MSR turns it neither off nor on."""
    boot, second = vcpus
    enable = [MSR_KVM_SYSTEM_TIME_NEW, MSR_KVM_SYSTEM_TIME][legacy_before]
    boot.guest.enable_kvmclock(enable)
    before = flags_after_entry(boot, second)

    boot.set_msr(msr, boot.get_msr(msr))

    assert before == [MASTER_CLOCK, OFF][legacy_before]
    assert flags_after_entry(boot, second) == before


def test_guest_writes_of_the_tsc_do_not_matter(vcpus: list[X86Vcpu]) -> None:
    """A guest that makes its own vCPUs' TSCs differ does not turn it off."""
    assert flags_after_entry(*vcpus) == MASTER_CLOCK

    vcpus[0].guest.wrmsr(MSR_IA32_TSC, 2**42)

    assert flags_after_entry(*vcpus) == MASTER_CLOCK
