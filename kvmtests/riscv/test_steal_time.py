# SPDX-License-Identifier: GPL-2.0-only
"""Steal time by the SBI: where it lies, and how long a vCPU's thread waited for a CPU.

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
from fixtures.uapi.riscv.kvm import REG_STA_SHMEM_HI, REG_STA_SHMEM_LO
from fixtures.uapi.riscv.sbi import (
    SBI_ERR_INVALID_ADDRESS,
    SBI_ERR_INVALID_PARAM,
    SBI_EXT_BASE,
    SBI_EXT_BASE_PROBE_EXT,
    SBI_EXT_STA,
    SBI_EXT_STA_STEAL_TIME_SET_SHMEM,
    SBI_STA_SHMEM_DISABLE,
    SBI_SUCCESS,
    sbi_sta_struct,
)

pytestmark = pytest.mark.promise(architectural="RISC-V SBI, Steal-time Accounting Extension")

OUTSIDE_OF_MEMORY = 0x7000_0000
NOWHERE = (SBI_STA_SHMEM_DISABLE, 0)  # the upper half is that of riscv32, and 0 here


@pytest.fixture(autouse=True)
def steal_time(vcpu: RiscvVcpu) -> None:
    """KVM offers steal time, which needs the scheduler's statistics."""
    vcpu.require_steal_time()


def set_shmem(vcpu: RiscvVcpu, low: int, high: int = 0, flags: int = 0) -> int:
    """Have the guest set where its steal time lies; return the SBI's error."""
    return vcpu.guest.call_sbi(SBI_EXT_STA, SBI_EXT_STA_STEAL_TIME_SET_SHMEM, low, high, flags).error


def place(vcpu: RiscvVcpu) -> tuple[int, int]:
    """Return where user space reads that the steal time lies."""
    return vcpu.get_reg(REG_STA_SHMEM_LO), vcpu.get_reg(REG_STA_SHMEM_HI)


def record(vcpu: RiscvVcpu) -> sbi_sta_struct:
    """Return the record as it lies in the guest's memory."""
    return sbi_sta_struct.from_buffer_copy(vcpu.vm.memory, layout.steal_time(vcpu.id))


@pytest.mark.promise(architectural="RISC-V SBI, Base Extension")
def test_extension_is_offered(vcpu: RiscvVcpu) -> None:
    """A guest that probes for steal time finds it."""
    assert vcpu.guest.call_sbi(SBI_EXT_BASE, SBI_EXT_BASE_PROBE_EXT, SBI_EXT_STA).value


def test_steal_time_lies_nowhere_at_first(vcpu: RiscvVcpu) -> None:
    """Before the guest says where, the address reads as all ones."""
    assert place(vcpu) == NOWHERE


def test_record_starts_empty(vcpu: RiscvVcpu, run_delay: RunDelay) -> None:
    """The call that sets the address clears all that lies there: steal time counts from then on."""
    at = layout.steal_time(vcpu.id)
    vcpu.vm.memory[at : at + 64] = bytes([0xFF]) * 64
    before_ns = run_delay.so_far_ns()

    error = set_shmem(vcpu, at)

    found, waited_ns = record(vcpu), run_delay.so_far_ns() - before_ns
    assert (error, found.sequence % 2, found.flags, found.preempted) == (SBI_SUCCESS, 0, 0, 0)
    assert found.steal <= waited_ns
    assert not any(found.pad)


def test_guest_sets_the_address(vcpus: list[RiscvVcpu]) -> None:
    """The address that a guest sets is what user space reads, of this vCPU only."""
    error = set_shmem(vcpus[0], layout.steal_time(0))

    assert (error, place(vcpus[0])) == (SBI_SUCCESS, (layout.steal_time(0), 0))
    assert place(vcpus[1]) == NOWHERE


@pytest.mark.parametrize("distance", [1, 8, 32, 63], ids="{}-bytes".format)
def test_unaligned_address_is_refused(vcpu: RiscvVcpu, distance: int) -> None:
    """An address that is not a multiple of 64 gives SBI_ERR_INVALID_PARAM; none is set."""
    error = set_shmem(vcpu, layout.steal_time(0) + distance)

    assert (error, place(vcpu)[0]) == (SBI_ERR_INVALID_PARAM, SBI_STA_SHMEM_DISABLE)


def test_flags_are_refused(vcpu: RiscvVcpu) -> None:
    """Flags other than 0 give SBI_ERR_INVALID_PARAM; none is set."""
    error = set_shmem(vcpu, layout.steal_time(0), flags=1)

    assert (error, place(vcpu)[0]) == (SBI_ERR_INVALID_PARAM, SBI_STA_SHMEM_DISABLE)


@pytest.mark.parametrize(
    ("low", "high"),
    [pytest.param(OUTSIDE_OF_MEMORY, 0, id="a-gap"), pytest.param(0, 1, id="beyond-64-bits")],
)
def test_address_outside_of_memory_is_refused(vcpu: RiscvVcpu, low: int, high: int) -> None:
    """An address outside of all memory gives SBI_ERR_INVALID_ADDRESS; none is set."""
    error = set_shmem(vcpu, low, high)

    assert (error, place(vcpu)[0]) == (SBI_ERR_INVALID_ADDRESS, SBI_STA_SHMEM_DISABLE)


def test_guest_takes_the_address_back(vcpu: RiscvVcpu, run_delay: RunDelay) -> None:
    """All ones in both halves end the accounting: user space reads no address, and no entry writes there."""
    set_shmem(vcpu, layout.steal_time(0))

    error = set_shmem(vcpu, SBI_STA_SHMEM_DISABLE, SBI_STA_SHMEM_DISABLE)

    assert (error, place(vcpu)) == (SBI_SUCCESS, NOWHERE)
    before = bytes(record(vcpu))
    run_delay.wait()
    vcpu.guest.read_time()
    assert bytes(record(vcpu)) == before


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_SET_ONE_REG")
def test_user_space_takes_the_address_back(vcpu: RiscvVcpu, run_delay: RunDelay) -> None:
    """After user space has written all ones for the address, entries leave the guest's memory alone."""
    at = layout.steal_time(vcpu.id)
    set_shmem(vcpu, at)
    vcpu.guest.read_time()
    vcpu.set_reg(REG_STA_SHMEM_LO, SBI_STA_SHMEM_DISABLE)
    vcpu.vm.memory[at : at + 64] = bytes([0xA5]) * 64

    run_delay.wait()
    vcpu.guest.read_time()

    assert bytes(vcpu.vm.memory[at : at + 64]) == bytes([0xA5]) * 64


def test_each_vcpu_has_its_own_record(vcpus: list[RiscvVcpu]) -> None:
    """Each of two guests' records counts its own vCPU's entries, and lies where that vCPU's guest put it."""
    for vcpu in vcpus:
        set_shmem(vcpu, layout.steal_time(vcpu.id))
    before = [record(vcpu).sequence for vcpu in vcpus]

    vcpus[0].guest.read_time()

    after = [record(vcpu).sequence for vcpu in vcpus]
    assert [place(vcpu)[0] for vcpu in vcpus] == [layout.steal_time(0), layout.steal_time(1)]
    assert (after[0] > before[0], after[1]) == (True, before[1])


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_SET_ONE_REG")
@pytest.mark.parametrize("order", ["lower-first", "upper-first"])
def test_user_space_restores_the_address(vcpu: RiscvVcpu, order: str) -> None:
    """An address that user space writes reads back, whichever half is written first."""
    halves = [(REG_STA_SHMEM_LO, layout.steal_time(0)), (REG_STA_SHMEM_HI, 0)]
    for reg_id, value in halves if order == "lower-first" else reversed(halves):
        vcpu.set_reg(reg_id, value)

    assert place(vcpu) == (layout.steal_time(0), 0)


@pytest.mark.promise(de_facto="Linux 6.12 to 7.2")
def test_user_space_cannot_set_an_address_beyond_64_bits(vcpu: RiscvVcpu) -> None:
    """An upper half other than 0 gives EINVAL."""
    with refused(errno.EINVAL):
        vcpu.set_reg(REG_STA_SHMEM_HI, 1)


def test_steal_time_is_what_the_thread_waited(vcpu: RiscvVcpu, run_delay: RunDelay) -> None:
    """From entry to entry steal time adds up what the vCPU's thread waited for its CPU; sequence is even."""
    set_shmem(vcpu, layout.steal_time(0))
    outer_before = run_delay.so_far_ns()
    vcpu.guest.read_time()
    first, inner_before = record(vcpu), run_delay.so_far_ns()
    before = first

    for _ in range(2):
        run_delay.wait()
        inner_after = run_delay.so_far_ns()
        vcpu.guest.read_time()
        after, outer_after = record(vcpu), run_delay.so_far_ns()

        stolen_ns = after.steal - first.steal
        assert stolen_ns in Window(inner_after - inner_before, outer_after - outer_before)
        assert after.sequence % 2 == 0
        assert after.sequence > before.sequence
        before = after
