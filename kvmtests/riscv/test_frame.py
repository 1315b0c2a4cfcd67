# SPDX-License-Identifier: GPL-2.0-only
"""What a call changes of all that user space can read of a VM and its vCPUs, and what it leaves alone."""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Callable, Sequence

import pytest

from fixtures.counters import Window, wrap
from fixtures.guests import layout
from fixtures.kvm.expect import refused
from fixtures.kvm.handle import BAD_ADDRESS
from fixtures.kvm.riscv.vcpu import RiscvVcpu
from fixtures.kvm.riscv.vm import RiscvVm
from fixtures.uapi import kvm as uapi
from fixtures.uapi.names import reg_name
from fixtures.uapi.riscv import kvm as kvm_riscv
from kvmtests.frames import Frame, Operation, differing
from kvmtests.riscv.timers import FAR, ON
from kvmtests.windows import timed

pytestmark = [pytest.mark.promise(de_facto="Linux 6.12 to 7.2"), pytest.mark.thorough]

VCPUS = range(3)
TIMES = tuple(f"vcpu {number} time" for number in VCPUS)
COMPARE, STATE = (reg_name(each) for each in (kvm_riscv.REG_TIMER_COMPARE, kvm_riscv.REG_TIMER_STATE))
STEAL_TIME = reg_name(kvm_riscv.REG_STA_SHMEM_LO)
UNKNOWN = kvm_riscv.reg(kvm_riscv.KVM_REG_RISCV_TIMER, 4)
SBI_TIME = kvm_riscv.sbi_ext_reg(kvm_riscv.KVM_RISCV_SBI_EXT_TIME)
SSTC = kvm_riscv.isa_ext_reg(kvm_riscv.KVM_RISCV_ISA_EXT_SSTC)
TIMER = (
    kvm_riscv.REG_TIMER_FREQUENCY,
    kvm_riscv.REG_TIMER_TIME,
    kvm_riscv.REG_TIMER_COMPARE,
    kvm_riscv.REG_TIMER_STATE,
)


def refuses(number: int, call: Callable[[RiscvVcpu], object]) -> Operation:
    """Return the *call* of vCPU 1 that KVM refuses with errno *number*: it changes nothing."""

    def attempt(vcpus: Sequence[RiscvVcpu]) -> None:
        with refused(number):
            call(vcpus[1])

    return Operation(attempt)


def bad_addresses(vcpus: Sequence[RiscvVcpu]) -> None:
    """KVM_SET_ONE_REG of the timer's registers, each from an address that cannot be read."""
    for reg_id in TIMER:
        with refused(errno.EFAULT):
            vcpus[1].set_reg_from(reg_id, BAD_ADDRESS)


def other_sizes(vcpus: Sequence[RiscvVcpu]) -> None:
    """KVM_SET_ONE_REG of the timer's registers, each as one of 32 bits."""
    for reg_id in TIMER:
        with refused(errno.EINVAL):
            vcpus[1].set_reg(reg_id & ~uapi.KVM_REG_SIZE_MASK | uapi.KVM_REG_SIZE_U32, 0)


def steal_time(vcpus: Sequence[RiscvVcpu]) -> None:
    """Give vCPU 1 an address of steal time."""
    vcpus[1].require_steal_time()
    vcpus[1].set_reg(kvm_riscv.REG_STA_SHMEM_LO, layout.steal_time(1))


def upper_half(vcpu: RiscvVcpu) -> None:
    """Give a vCPU an address of steal time beyond 64 bits."""
    vcpu.require_steal_time()
    vcpu.set_reg(kvm_riscv.REG_STA_SHMEM_HI, 1)


def sstc_after_a_run(vcpus: Sequence[RiscvVcpu]) -> None:
    """Take Sstc from vCPU 0, whose guest has run."""
    vcpus[0].require_sstc()
    with refused(errno.EBUSY):
        vcpus[0].set_reg(SSTC, 0)


OPERATIONS = {
    "time": Operation(lambda vcpus: setattr(vcpus[1], "time", 3 * FAR), TIMES),
    "compare": Operation(lambda vcpus: setattr(vcpus[1], "compare", 5 * FAR), (f"vcpu 1 {COMPARE}",)),
    "state-on": Operation(lambda vcpus: setattr(vcpus[1], "state", ON), (f"vcpu 1 {STATE}",)),
    "own-frequency": Operation(lambda vcpus: setattr(vcpus[1], "frequency", vcpus[1].frequency)),
    "steal-time": Operation(steal_time, (f"vcpu 1 {STEAL_TIME}",)),
    "new-vcpu": Operation(lambda vcpus: vcpus[0].vm.create_vcpu(len(VCPUS))),
    "register-list": Operation(lambda vcpus: vcpus[1].reg_list()),
    "other-frequency": refuses(errno.EINVAL, lambda vcpu: setattr(vcpu, "frequency", vcpu.frequency + 1)),
    "other-state": refuses(errno.EINVAL, lambda vcpu: setattr(vcpu, "state", 2)),
    "unknown-register": refuses(errno.ENOENT, lambda vcpu: vcpu.set_reg(UNKNOWN, 0)),
    "steal-time-beyond-64-bits": refuses(errno.EINVAL, upper_half),
    "other-value-of-an-extension": refuses(errno.EINVAL, lambda vcpu: vcpu.set_reg(SBI_TIME, 2)),
    "sstc-after-a-run": Operation(sstc_after_a_run),
    "bad-addresses": Operation(bad_addresses),
    "other-sizes": Operation(other_sizes),
}


@pytest.fixture
def prepared(vm: RiscvVm) -> list[RiscvVcpu]:
    """Three vCPUs: one whose guest waits for a deadline, one with user space's, and one never used."""
    vcpus = [vm.create_vcpu(number) for number in VCPUS]
    vcpus[0].guest.set_deadline(2 * FAR)
    vcpus[1].compare = 2 * FAR + 1
    return vcpus


def frame(vcpus: Sequence[RiscvVcpu]) -> Frame:
    """Return each listed register of each vCPU by its name; of the time, how far it is from the host's."""
    found: dict[str, object] = {}
    for vcpu in vcpus:
        window, time = timed(vcpu.vm, lambda vcpu=vcpu: vcpu.time)  # type: ignore[misc]
        found[f"vcpu {vcpu.id} time"] = Window(wrap(time - window.last), wrap(time - window.first))
        for reg_id in vcpu.reg_list() - {kvm_riscv.REG_TIMER_TIME}:
            found[f"vcpu {vcpu.id} {reg_name(reg_id)}"] = value_of(vcpu, reg_id)
    return found


def value_of(vcpu: RiscvVcpu, reg_id: int) -> bytes:
    """Return a register's value, which has the size that its id says."""
    size = 1 << ((reg_id & uapi.KVM_REG_SIZE_MASK) >> uapi.KVM_REG_SIZE_SHIFT)
    value = (ctypes.c_ubyte * size)()
    vcpu.get_reg_into(reg_id, ctypes.addressof(value))
    return bytes(value)


@pytest.mark.parametrize(
    "operation", [pytest.param(operation, id=name) for name, operation in OPERATIONS.items()]
)
def test_call_changes_what_it_names(prepared: list[RiscvVcpu], operation: Operation) -> None:
    """Until a vCPU runs, a call has changed no register that is listed except for what it names."""
    before = frame(prepared)

    operation.call(prepared)

    assert differing(before, frame(prepared)) <= set(operation.changes)


def test_time_moves_for_all(prepared: list[RiscvVcpu]) -> None:
    """A time that is written through one vCPU has moved that of every vCPU, also of one that never ran."""
    before = frame(prepared)

    prepared[1].time = 3 * FAR

    assert differing(before, frame(prepared)) == set(TIMES)
