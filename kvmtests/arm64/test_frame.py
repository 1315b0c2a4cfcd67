# SPDX-License-Identifier: GPL-2.0-only
"""Each call changes what it names, and nothing else of any vCPU of the VM.

The vCPUs are in states that differ on purpose: timers armed, masked, and off; one vCPU has never run.
"""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from fixtures.kvm.arm64.vcpu import Arm64Vcpu
from fixtures.kvm.arm64.vm import Arm64Vm
from fixtures.kvm.expect import refused
from fixtures.kvm.handle import BAD_ADDRESS
from fixtures.kvm.run_delay import RunDelay
from fixtures.uapi import kvm as uapi
from fixtures.uapi.arm64 import kvm as kvm_arm64
from fixtures.uapi.arm64 import smccc
from kvmtests.arm64.frames import EL1_TIMERS, frame, stolen_time, stolen_time_record
from kvmtests.arm64.timers import ENABLE, IMASK, PHYSICAL, VIRTUAL, Timer
from kvmtests.frames import Operation, differing

pytestmark = [pytest.mark.promise(de_facto="Linux 5.10 to 7.3"), pytest.mark.thorough]

OFFSET = 10**9
FAR = 1 << 50  # ticks: no deadline of these passes
VCPUS = range(3)


def of_all(*names: str) -> tuple[str, ...]:
    """Return the names in the frame of *names* of every vCPU."""
    return tuple(f"vcpu {number} {name}" for number in VCPUS for name in names)


def set_timer(timer: Timer, register: str, value: int) -> Callable[[list[Arm64Vcpu]], None]:
    """Return a call that sets a register of vCPU 1's *timer* by KVM_SET_ONE_REG."""
    return lambda vcpus: timer.set(vcpus[1], register, value)


def set_stolen_time(vcpus: list[Arm64Vcpu]) -> None:
    """Give vCPU 1 an address of stolen time."""
    vcpus[1].vm.require(uapi.KVM_CAP_STEAL_TIME)
    stolen_time(vcpus[1]).set_u64(stolen_time_record(1))


def refused_stolen_time(vcpus: list[Arm64Vcpu]) -> None:
    """An address of stolen time that is not a multiple of 64, and a second one after a first."""
    vcpus[1].vm.require(uapi.KVM_CAP_STEAL_TIME)
    with refused(errno.EINVAL):
        stolen_time(vcpus[1]).set_u64(stolen_time_record(1) + 8)
    set_stolen_time(vcpus)
    with refused(errno.EEXIST):
        stolen_time(vcpus[1]).set_u64(stolen_time_record(0))


def refused_offset(vcpus: list[Arm64Vcpu]) -> None:
    """KVM_ARM_SET_COUNTER_OFFSET with a reserved field that is not 0."""
    vcpus[0].vm.require_counter_offset()
    with refused(errno.EINVAL):
        vcpus[0].vm.set_counter_offset(OFFSET, reserved=1)


def unreadable_offset(vcpus: list[Arm64Vcpu]) -> None:
    """KVM_ARM_SET_COUNTER_OFFSET with a structure that cannot be read."""
    vcpus[0].vm.require_counter_offset()
    with refused(errno.EFAULT):
        vcpus[0].vm.handle.call(kvm_arm64.KVM_ARM_SET_COUNTER_OFFSET, BAD_ADDRESS)


def offset_both(vcpus: list[Arm64Vcpu]) -> None:
    """KVM_ARM_SET_COUNTER_OFFSET."""
    vcpus[0].vm.require_counter_offset()
    vcpus[0].vm.set_counter_offset(3 * OFFSET)


def unreadable(request: int) -> Operation:
    """Return a call of vCPU 1 with a structure that cannot be read."""

    def call(vcpus: list[Arm64Vcpu]) -> None:
        with refused(errno.EFAULT):
            vcpus[1].handle.call(request, BAD_ADDRESS)

    return Operation(call)


OPERATIONS = {
    **{
        f"{name}-{register}": Operation(set_timer(timer, register, value), (f"vcpu 1 {name} {register}",))
        for name, timer in EL1_TIMERS.items()
        for register, value in (("ctl", ENABLE | IMASK), ("cval", 3 * FAR))
    },
    **{
        f"{name}-cnt": Operation(set_timer(timer, "cnt", 5 * OFFSET), of_all(f"{name} cnt", f"{name} offset"))
        for name, timer in EL1_TIMERS.items()
    },
    "stolen-time": Operation(set_stolen_time, ("vcpu 1 address of stolen time",)),
    "stolen-time-refused": Operation(refused_stolen_time, ("vcpu 1 address of stolen time",)),
    "counter-offset": Operation(offset_both, of_all("virtual cnt", "physical cnt")),
    "unreadable-counter-offset": Operation(unreadable_offset),
    "counter-offset-refused": Operation(refused_offset),
    "power-state": Operation(lambda vcpus: setattr(vcpus[1], "mp_state", vcpus[1].mp_state)),
    "register": Operation(lambda vcpus: vcpus[1].reg_list()),
    "unreadable-register": unreadable(uapi.KVM_SET_ONE_REG),
    "unreadable-attribute": unreadable(uapi.KVM_SET_DEVICE_ATTR),
}
OPERATION = pytest.mark.parametrize(
    "operation", [pytest.param(operation, id=name) for name, operation in OPERATIONS.items()]
)


@pytest.fixture
def prepared(vm: Arm64Vm, run_delay: RunDelay) -> list[Arm64Vcpu]:
    """Three vCPUs: timers far in the future, masked, and never used; the first has stolen time."""
    vcpus = [vm.create_vcpu(number) for number in VCPUS]
    first, second, _ = vcpus
    if vm.check_extension(uapi.KVM_CAP_STEAL_TIME):
        stolen_time(first).set_u64(stolen_time_record(0))
        first.guest.call_hypervisor(smccc.ARM_SMCCC_HV_PV_TIME_ST)
        run_delay.wait()
    VIRTUAL.set(second, "cnt", 2 * OFFSET)
    if vm.check_extension(uapi.KVM_CAP_COUNTER_OFFSET):
        PHYSICAL.set(second, "cnt", 7 * OFFSET)
    for timer, vcpu, control in ((VIRTUAL, first, ENABLE), (PHYSICAL, first, 0), (VIRTUAL, second, IMASK)):
        timer.arm(vcpu, FAR + vcpu.id, control)
    for vcpu in (first, second):
        vcpu.guest.read_cntvct()
    return vcpus


def latch(vcpus: list[Arm64Vcpu]) -> None:
    """Give both counters an offset for good."""
    vcpus[0].vm.require_counter_offset()
    vcpus[0].vm.set_counter_offset(OFFSET)


@OPERATION
def test_call_changes_what_it_names(prepared: list[Arm64Vcpu], operation: Operation) -> None:
    """Until a vCPU runs, a call has changed nothing that can be read except for what it names."""
    before = frame(prepared)

    operation.call(prepared)

    assert differing(before, frame(prepared)) <= set(operation.changes)


@pytest.mark.generation("upstream")
@OPERATION
def test_call_changes_what_it_names_after_the_latch(prepared: list[Arm64Vcpu], operation: Operation) -> None:
    """The same once KVM_ARM_SET_COUNTER_OFFSET was called, after which CNT cannot be written."""
    latch(prepared)
    before = frame(prepared)

    operation.call(prepared)

    moved = operation.changes if operation.call is offset_both else ()
    fixed = {name for name in operation.changes if not name.endswith(" cnt")}
    assert differing(before, frame(prepared)) <= fixed | set(moved)


def test_reset_is_for_one_vcpu_and_keeps_its_counters(prepared: list[Arm64Vcpu]) -> None:
    """KVM_ARM_VCPU_INIT changes registers, CTL and CVAL of its vCPU: neither CNT and offsets nor others."""
    before = frame(prepared)

    prepared[1].init()

    changed = differing(before, frame(prepared))
    registers = {name for name in changed if name.startswith("vcpu 1 register ")}
    assert changed - registers <= {
        f"vcpu 1 {timer} {register}" for timer in EL1_TIMERS for register in ("ctl", "cval")
    }


@pytest.mark.generation("upstream")
def test_new_vcpu_after_the_latch_changes_nothing(prepared: list[Arm64Vcpu]) -> None:
    """After KVM_ARM_SET_COUNTER_OFFSET a new vCPU leaves all of the others as they were."""
    latch(prepared)
    before = frame(prepared)

    prepared[0].vm.create_vcpu(len(VCPUS))

    assert differing(before, frame(prepared)) == set()


def test_new_vcpu_restarts_counters_alone(prepared: list[Arm64Vcpu]) -> None:
    """Without an offset for good a new vCPU restarts the VM's counters, and leaves all else of the others."""
    before = frame(prepared)

    prepared[0].vm.create_vcpu(len(VCPUS))

    restarted = of_all("virtual cnt", "physical cnt", "virtual offset")
    assert differing(before, frame(prepared)) <= set(restarted)


@pytest.mark.generation("series")
@pytest.mark.promise(de_facto="the series of July 2021")
@pytest.mark.parametrize("kind", ["virtual", "physical"])
def test_one_offset_leaves_the_other(prepared: list[Arm64Vcpu], kind: str) -> None:
    """The series' attributes change one counter of all vCPUs each, and the other counter of none."""
    prepared[0].require_series_offsets()
    prepared[0].virtual_offset = OFFSET
    prepared[0].physical_offset = 2 * OFFSET
    before = frame(prepared)

    setattr(prepared[1], f"{kind}_offset", 3 * OFFSET)

    assert differing(before, frame(prepared)) == set(of_all(f"{kind} offset")) | (
        set(of_all("virtual cnt")) if kind == "virtual" else set()
    )


@pytest.mark.generation("series")
@pytest.mark.promise(de_facto="the series of July 2021")
def test_new_vcpu_keeps_the_others_physical_offset(prepared: list[Arm64Vcpu]) -> None:
    """A new vCPU restarts the virtual counter of all, and keeps the physical offset of the others."""
    prepared[0].require_series_offsets()
    prepared[0].physical_offset = 2 * OFFSET

    prepared[0].vm.create_vcpu(len(VCPUS))

    assert [vcpu.physical_offset for vcpu in prepared] == [2 * OFFSET] * len(VCPUS)
