# SPDX-License-Identifier: GPL-2.0-only
"""Stolen time by the SBI: where the record lies, and how long a vCPU's thread waited for a CPU.

Source: RISC-V SBI, Steal-time Accounting Extension; arch/riscv/kvm/vcpu_sbi_sta.c.
"""

from __future__ import annotations

import errno

import pytest

from fixtures.counters import Window
from fixtures.guests import layout
from fixtures.kvm.expect import refused
from fixtures.kvm.riscv.vcpu import RiscvVcpu
from fixtures.kvm.run_delay import RunDelay
from fixtures.uapi.riscv import kvm as kvm_riscv
from fixtures.uapi.riscv import sbi

pytestmark = [
    pytest.mark.promise(architectural="RISC-V SBI, Steal-time Accounting Extension"),
    pytest.mark.thorough,
]

OUTSIDE_OF_MEMORY = 0x7000_0000
NOWHERE = sbi.SBI_STA_SHMEM_DISABLE


@pytest.fixture(autouse=True)
def steal_time(vcpu: RiscvVcpu) -> None:
    """KVM offers stolen time, which needs the scheduler's statistics."""
    vcpu.require_steal_time()


def place(vcpu: RiscvVcpu, low: int, high: int = 0, flags: int = 0) -> int:
    """Let the guest place its record; return SBI's error."""
    return vcpu.guest.call_sbi(sbi.SBI_EXT_STA, sbi.SBI_EXT_STA_STEAL_TIME_SET_SHMEM, low, high, flags).error


def record(vcpu: RiscvVcpu) -> sbi.sbi_sta_struct:
    """Return the record as it lies in the guest's memory."""
    return sbi.sbi_sta_struct.from_buffer_copy(vcpu.vm.memory, layout.steal_time(vcpu.id))


def test_record_starts_empty(vcpu: RiscvVcpu) -> None:
    """The guest's call clears the record, and user space reads its address."""
    at = layout.steal_time(vcpu.id)
    vcpu.vm.memory[at : at + 64] = bytes([0xFF]) * 64

    assert place(vcpu, at) == sbi.SBI_SUCCESS

    found = record(vcpu)
    assert (found.sequence % 2, found.flags, found.preempted) == (0, 0, 0)
    assert vcpu.get_reg(kvm_riscv.REG_STA_SHMEM_LO) == at
    assert vcpu.get_reg(kvm_riscv.REG_STA_SHMEM_HI) == 0


@pytest.mark.parametrize(
    ("low", "high", "flags", "error"),
    [
        pytest.param(layout.steal_time(0) + 8, 0, 0, sbi.SBI_ERR_INVALID_PARAM, id="unaligned"),
        pytest.param(layout.steal_time(0), 0, 1, sbi.SBI_ERR_INVALID_PARAM, id="flags"),
        pytest.param(layout.steal_time(0), 1, 0, sbi.SBI_ERR_INVALID_ADDRESS, id="high-half"),
        pytest.param(OUTSIDE_OF_MEMORY, 0, 0, sbi.SBI_ERR_INVALID_ADDRESS, id="outside-of-memory"),
    ],
)
def test_wrong_address_is_refused(vcpu: RiscvVcpu, low: int, high: int, flags: int, error: int) -> None:
    """An address that the SBI does not allow gives its error, and there is no record."""
    assert place(vcpu, low, high, flags) == error

    assert vcpu.get_reg(kvm_riscv.REG_STA_SHMEM_LO) == NOWHERE


def test_all_ones_end_the_reports(vcpu: RiscvVcpu) -> None:
    """All ones for both halves of the address take the record away."""
    place(vcpu, layout.steal_time(vcpu.id))

    assert place(vcpu, NOWHERE, NOWHERE) == sbi.SBI_SUCCESS

    assert vcpu.get_reg(kvm_riscv.REG_STA_SHMEM_LO) == NOWHERE


@pytest.mark.promise(de_facto="Linux 6.12 to 7.2")
def test_upper_half_of_the_address_is_zero(vcpu: RiscvVcpu) -> None:
    """KVM_SET_ONE_REG refuses an upper half other than 0 on a host of 64 bits: EINVAL."""
    with refused(errno.EINVAL):
        vcpu.set_reg(kvm_riscv.REG_STA_SHMEM_HI, 1)

    assert vcpu.get_reg(kvm_riscv.REG_STA_SHMEM_HI) == 0


def test_record_counts_what_the_thread_waited(vcpu: RiscvVcpu, run_delay: RunDelay) -> None:
    """From entry to entry the record gains what the thread has waited, in ns, and a new even sequence."""
    place(vcpu, layout.steal_time(vcpu.id))
    earliest = run_delay.so_far_ns()
    vcpu.guest.read_time()
    latest = run_delay.so_far_ns()
    first = before = record(vcpu)

    for _ in range(2):
        run_delay.wait()
        low = run_delay.so_far_ns()
        vcpu.guest.read_time()
        high = run_delay.so_far_ns()
        now = record(vcpu)

        assert now.steal - first.steal in Window(low - latest, high - earliest)
        assert now.sequence % 2 == 0
        assert now.sequence > before.sequence
        before = now
