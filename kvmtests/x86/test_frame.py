# SPDX-License-Identifier: GPL-2.0-only
"""Each call changes what it names, and nothing else of the VM and of any of its vCPUs.

The vCPUs are in states that differ on purpose: one has a clock and steal time, one has another offset,
TSC_ADJUST and a pending KVM_KVMCLOCK_CTRL, one has never run.
"""

from __future__ import annotations

import contextlib
import errno

import pytest

from fixtures.counters import NSEC_PER_MSEC, NSEC_PER_SEC, wrap
from fixtures.guests import layout
from fixtures.kvm.errors import KvmError, MsrRefused
from fixtures.kvm.expect import refused
from fixtures.kvm.values import MASTER_CLOCK
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.targets import Target
from fixtures.uapi import kvm as uapi
from fixtures.uapi.x86 import kvm_para, msr_index
from fixtures.uapi.x86.pvclock import PVCLOCK_GUEST_STOPPED
from kvmtests.frames import Operation, differing
from kvmtests.x86.clocks import enter_all, flags_after_entry
from kvmtests.x86.frames import frame

pytestmark = [
    pytest.mark.promise(de_facto="Linux 5.10 to 7.3"),
    pytest.mark.thorough,
    pytest.mark.usefixtures("stable_tsc"),
]

FILLING = 0xA5  # of what lies around KVM's structures
OFFSET = 10**12
AGE_NS = {True: 3600 * NSEC_PER_SEC, False: 50 * NSEC_PER_MSEC}  # on simulated hosts, on real ones
ENABLED = kvm_para.KVM_MSR_ENABLED
KVMCLOCK = kvm_para.MSR_KVM_SYSTEM_TIME_NEW
REFERENCE_TSC = msr_index.HV_X64_MSR_REFERENCE_TSC


def refused_clock(vm: X86Vm) -> None:
    """KVM_SET_CLOCK with a flag that does not exist."""
    with refused(errno.EINVAL):
        vm.set_clock(0, flags=1)


def frequency_of_later_vcpus(vm: X86Vm) -> None:
    """KVM_SET_TSC_KHZ on the VM, which kernels refuse from v6.17 on."""
    vm.require(uapi.KVM_CAP_VM_TSC_CONTROL)
    with contextlib.suppress(KvmError):
        vm.tsc_khz = vm.vcpus[0].tsc_khz - 1000


def frequency_again(vcpu: X86Vcpu) -> None:
    """KVM_SET_TSC_KHZ of the frequency that the vCPU has, which KVM refuses if the TSC is not its own."""
    with contextlib.suppress(KvmError):
        vcpu.tsc_khz = vcpu.tsc_khz


def reference_page(vm: X86Vm, value: int) -> None:
    """HV_X64_MSR_REFERENCE_TSC by KVM_SET_MSRS."""
    vm.require(uapi.KVM_CAP_HYPERV_TIME)
    vm.vcpus[0].set_msr(REFERENCE_TSC, value)


TSC_OF_1 = ("vcpu 1 tsc_offset", "vcpu 1 tsc")
OPERATIONS = {
    "get-clock": Operation(lambda vm, _: vm.clock()),
    "set-clock": Operation(lambda vm, _: vm.set_clock(1000 * NSEC_PER_SEC), ("vm kvmclock",)),
    "set-clock-refused": Operation(lambda vm, _: refused_clock(vm)),
    "offset": Operation(lambda _, vcpus: setattr(vcpus[1], "tsc_offset", 3 * OFFSET), TSC_OF_1),
    "offset-again": Operation(lambda _, vcpus: setattr(vcpus[1], "tsc_offset", vcpus[1].tsc_offset)),
    "value": Operation(lambda _, vcpus: vcpus[1].set_msr(msr_index.MSR_IA32_TSC, 1 << 50), TSC_OF_1),
    "adjust": Operation(
        lambda _, vcpus: vcpus[1].set_msr(msr_index.MSR_IA32_TSC_ADJUST, 1 << 40),
        ("vcpu 1 MSR_IA32_TSC_ADJUST",),
    ),
    "kvmclock-ctrl": Operation(lambda _, vcpus: vcpus[1].kvmclock_ctrl()),
    "kvmclock-of-another": Operation(
        lambda _, vcpus: vcpus[2].set_msr(KVMCLOCK, layout.pvclock(2) | ENABLED),
        ("vcpu 2 MSR_KVM_SYSTEM_TIME_NEW",),
    ),
    "steal-time-of-another": Operation(
        lambda _, vcpus: vcpus[2].set_msr(kvm_para.MSR_KVM_STEAL_TIME, layout.steal_time(2) | ENABLED),
        ("vcpu 2 MSR_KVM_STEAL_TIME",),
    ),
    "wall-clock": Operation(
        lambda _, vcpus: vcpus[1].set_msr(kvm_para.MSR_KVM_WALL_CLOCK_NEW, layout.WALL_CLOCK),
        ("vm MSR_KVM_WALL_CLOCK_NEW", f"vm page {layout.SHARED:#x}"),
    ),
    "frequency-again": Operation(lambda _, vcpus: frequency_again(vcpus[1])),
    "frequency-of-later-vcpus": Operation(lambda vm, _: frequency_of_later_vcpus(vm)),
    "new-vcpu": Operation(lambda vm, _: vm.create_vcpu(3)),
    "reference-page": Operation(
        lambda vm, _: reference_page(vm, layout.REFERENCE_TSC_PAGE | 1), ("vm HV_X64_MSR_REFERENCE_TSC",)
    ),
    "no-reference-page": Operation(lambda vm, _: reference_page(vm, 0), ("vm HV_X64_MSR_REFERENCE_TSC",)),
}
OPERATION = pytest.mark.parametrize(
    "operation", [pytest.param(operation, id=name) for name, operation in OPERATIONS.items()]
)
LINES = pytest.mark.parametrize("offset", [pytest.param(0, id="together"), pytest.param(OFFSET, id="parted")])


def prepared(vm: X86Vm, offset: int) -> list[X86Vcpu]:
    """Return three vCPUs of *vm*, the second with a TSC *offset* further than the others."""
    vm.require(uapi.KVM_CAP_CLOCKSOURCE)
    vcpus = [vm.create_vcpu(number) for number in range(3)]
    for vcpu in vcpus:
        page = layout.pvclock(vcpu.id)
        vm.memory[page : page + layout.PAGE_SIZE] = bytes([FILLING]) * layout.PAGE_SIZE
        vm.memory[page : page + 32] = bytes(32)
        vm.memory[layout.steal_time(vcpu.id) : layout.steal_time(vcpu.id) + 64] = bytes(64)
        vcpu.set_msr(msr_index.MSR_IA32_TSC_ADJUST, 5 + vcpu.id)
    around = layout.WALL_CLOCK + 12
    vm.memory[around : layout.SHARED + layout.PAGE_SIZE] = bytes([FILLING]) * (
        layout.SHARED + layout.PAGE_SIZE - around
    )
    with contextlib.suppress(MsrRefused):  # a KVM without Hyper-V's MSRs
        vcpus[0].set_msr(msr_index.HV_X64_MSR_GUEST_OS_ID, 1 << 48)
        vcpus[0].set_msr(msr_index.HV_X64_MSR_TSC_EMULATION_CONTROL, 1)
    vcpus[0].set_msr(kvm_para.MSR_KVM_STEAL_TIME, layout.steal_time(0) | ENABLED)
    if offset:
        vcpus[1].tsc_offset = vcpus[1].tsc_offset + offset
    for vcpu in vcpus[:2]:
        vcpu.guest.enable_kvmclock()
    enter_all(vcpus[:2])
    vcpus[1].kvmclock_ctrl()
    return vcpus


@OPERATION
@LINES
def test_call_changes_what_it_names(vm: X86Vm, offset: int, operation: Operation) -> None:
    """Until a vCPU runs, a call has changed nothing that can be read except for what it names."""
    vcpus = prepared(vm, offset)
    before = frame(vm, vcpus)

    operation.call(vm, vcpus)

    assert differing(before, frame(vm, vcpus)) <= set(operation.changes)


@OPERATION
@LINES
def test_pending_stop_survives_and_is_for_one(vm: X86Vm, offset: int, operation: Operation) -> None:
    """KVM_KVMCLOCK_CTRL of vCPU 1 reaches its record, and no other's, whatever was called in between."""
    vcpus = prepared(vm, offset)

    operation.call(vm, vcpus)
    enter_all(vcpus[:2])

    assert [vcpu.guest.pvclock().flags & PVCLOCK_GUEST_STOPPED for vcpu in vcpus[:2]] == [
        0,
        PVCLOCK_GUEST_STOPPED,
    ]


@OPERATION
@LINES
def test_entries_write_structures_and_nothing_around(vm: X86Vm, offset: int, operation: Operation) -> None:
    """What KVM writes ends with pvclock record, steal time and wall clock; a record's padding is 0."""
    vcpus = prepared(vm, offset)

    operation.call(vm, vcpus)
    enter_all(vcpus[:2])

    for vcpu in vcpus[:2]:
        page = bytes(vm.memory[layout.pvclock(vcpu.id) : layout.pvclock(vcpu.id) + layout.PAGE_SIZE])
        assert page[4:8] + page[30:32] == bytes(6)
        assert {*page[32:64], *page[128:]} == {FILLING}
    assert {*vm.memory[layout.WALL_CLOCK + 12 : layout.SHARED + layout.PAGE_SIZE]} == {FILLING}


# A new vCPU's TSC is written as 0, and later values are compared with that.
NOT_ABOUT_THE_TSC = {
    name: operation
    for name, operation in OPERATIONS.items()
    if operation.changes != TSC_OF_1 and name not in {"offset-again", "new-vcpu"}
}
OF_NO_LINE = [
    pytest.param(operation, id=name)
    for name, operation in NOT_ABOUT_THE_TSC.items()
    if name not in {"set-clock", "reference-page"}  # these take a new snapshot
] + [pytest.param(OPERATIONS["new-vcpu"], id="new-vcpu")]


@pytest.mark.usefixtures("tsc_clocksource", "settable_tsc")
@pytest.mark.parametrize(
    "operation", [pytest.param(operation, id=name) for name, operation in NOT_ABOUT_THE_TSC.items()]
)
def test_call_leaves_the_line_open(vm: X86Vm, operation: Operation) -> None:
    """A call that is not about the TSC does not keep vCPUs from joining the line that a value began."""
    vcpus = prepared(vm, 0)
    vcpus[0].set_msr(msr_index.MSR_IA32_TSC, 1 << 50)

    operation.call(vm, vcpus)
    for vcpu in vm.vcpus[1:]:
        vcpu.set_msr(msr_index.MSR_IA32_TSC, 1 << 50)

    assert len({vcpu.tsc_offset for vcpu in vm.vcpus}) == 1
    assert flags_after_entry(*vm.vcpus) == MASTER_CLOCK


@pytest.mark.usefixtures("tsc_clocksource")
@pytest.mark.parametrize("operation", OF_NO_LINE)
def test_call_takes_no_snapshot(vm: X86Vm, target: Target, operation: Operation) -> None:
    """A call that sets neither clock nor TSC leaves the line of a record that is as old as you like."""
    vcpus = prepared(vm, 0)
    before = [vcpu.guest.pvclock() for vcpu in vcpus[:2]]
    vm.time.sleep_ns(AGE_NS[target.simulated])

    operation.call(vm, vcpus)
    enter_all(vcpus[:2])

    for old, new in zip(before, [vcpu.guest.pvclock() for vcpu in vcpus[:2]], strict=True):
        assert new.line == old.line
    clock = vm.clock()
    guest_tsc = wrap(clock.host_tsc + vcpus[0].tsc_offset)
    assert vcpus[0].guest.pvclock().kvmclock_ns(guest_tsc) == clock.kvmclock_ns
