# SPDX-License-Identifier: GPL-2.0-only
"""The guest's time base is the host's plus an offset, which each vCPU has for itself.

Source: arch/powerpc/kvm/book3s_hv.c: kvmppc_get_one_reg_hv(), kvmppc_set_one_reg_hv(), and in
book3s_hv_p9_entry.c where the offset is put into the time base.
"""

from __future__ import annotations

from itertools import pairwise

import pytest

from fixtures.counters import NSEC_PER_SEC, Window
from fixtures.kvm.powerpc.vcpu import PpcVcpu
from fixtures.kvm.powerpc.vm import PpcVm
from fixtures.kvm.system import Kvm
from fixtures.uapi.powerpc import kvm as kvm_powerpc
from kvmtests.powerpc.timebase import OFFSETS, STEP

pytestmark = pytest.mark.promise(de_facto="Linux 6.12 to 7.2")


@pytest.mark.parametrize("offset", OFFSETS)
def test_guest_time_base_is_the_hosts_plus_offset(vcpu: PpcVcpu, offset: int) -> None:
    """The guest reads host time base + KVM_REG_PPC_TB_OFFSET, modulo 2**64."""
    vcpu.timebase_offset = offset

    reading = vcpu.guest.read_timebase()

    assert reading.value in reading.window.shifted(offset)


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_SET_ONE_REG")
@pytest.mark.parametrize("offset", OFFSETS)
def test_offset_reads_back(vcpu: PpcVcpu, offset: int) -> None:
    """KVM_GET_ONE_REG returns an offset that is a multiple of 2**24 as it was written, also after a run."""
    vcpu.timebase_offset = offset

    before = vcpu.timebase_offset
    vcpu.guest.read_timebase()

    assert (before, vcpu.timebase_offset) == (offset, offset)


def test_new_vcpu_has_no_offset(vcpu: PpcVcpu) -> None:
    """A vCPU begins with offset 0: its time base is the host's, and not 0."""
    offset = vcpu.timebase_offset

    reading = vcpu.guest.read_timebase()

    assert offset == 0
    assert reading.value in reading.window


def test_later_vcpu_does_not_take_the_offset_over(vm: PpcVm, vcpu: PpcVcpu) -> None:
    """A vCPU that is created after another got its offset begins with 0 all the same."""
    vcpu.timebase_offset = 2**36

    later = vm.create_vcpu(1)

    reading = later.guest.read_timebase()
    assert later.timebase_offset == 0
    assert reading.value in reading.window


def test_new_vcpu_leaves_the_offset_of_others(vm: PpcVm, vcpu: PpcVcpu) -> None:
    """Creating another vCPU does not move the time base of one that exists."""
    vcpu.timebase_offset = 2**36

    vm.create_vcpu(1)

    reading = vcpu.guest.read_timebase()
    assert reading.value in reading.window.shifted(2**36)


def test_vcpus_keep_different_offsets(vcpus: list[PpcVcpu]) -> None:
    """An offset is one vCPU's: two vCPUs with two offsets each read their own."""
    offsets = (2**36, 2**64 - 2**40)
    for vcpu, offset in zip(vcpus, offsets, strict=True):
        vcpu.timebase_offset = offset

    for vcpu, offset in zip(vcpus, offsets, strict=True):
        reading = vcpu.guest.read_timebase()
        assert reading.value in reading.window.shifted(offset)


@pytest.mark.parametrize("threads", [2, 4, 8])
def test_threads_of_a_core_keep_different_offsets(vm: PpcVm, threads: int) -> None:
    """Also vCPUs that are threads of one core (KVM_CAP_PPC_SMT) have an offset each."""
    vm.set_threads(threads)
    vcpus = [vm.create_vcpu(number) for number in range(2)]

    vcpus[0].timebase_offset = 2**36

    first, second = (vcpu.guest.read_timebase() for vcpu in vcpus)
    assert first.value in first.window.shifted(2**36)
    assert second.value in second.window


def test_vms_keep_different_offsets(kvm: Kvm[PpcVm], vcpu: PpcVcpu) -> None:
    """An offset in one VM does not show in another."""
    other = kvm.create_vm().create_vcpu(0)

    vcpu.timebase_offset = 2**36

    reading = other.guest.read_timebase()
    assert reading.value in reading.window


def test_vcpus_with_one_offset_have_one_clock(vcpus: list[PpcVcpu]) -> None:
    """Readings that alternate between vCPUs of one offset never go back."""
    for vcpu in vcpus:
        vcpu.timebase_offset = 2**36

    readings = [vcpu.guest.read_timebase().value for _ in range(20) for vcpu in vcpus]

    assert all(earlier <= later for earlier, later in pairwise(readings))


def test_consecutive_readings_stay_on_one_line(vcpu: PpcVcpu) -> None:
    """However often the guest leaves and enters, host time base and offset say what it reads."""
    vcpu.timebase_offset = 2**64 - 2**40

    readings = [vcpu.guest.read_timebase() for _ in range(20)]

    assert all(reading.value in reading.window.shifted(-(2**40)) for reading in readings)


def test_time_base_never_goes_back(vcpu: PpcVcpu) -> None:
    """In one entry the guest's readings do not decrease."""
    vcpu.timebase_offset = 2**36

    samples = vcpu.guest.sample_timebase(10_000)

    assert all(earlier <= later for earlier, later in pairwise(samples))


def test_time_base_wraps(vcpu: PpcVcpu) -> None:
    """An offset may take the guest's time base over 2**64: it continues from 0."""
    host = vcpu.vm.time.counter()
    vcpu.timebase_offset = 2**64 - host // STEP * STEP

    reading = vcpu.guest.read_timebase()

    assert reading.value in reading.window.shifted(-(host // STEP * STEP))
    assert reading.value < 2**63


def test_same_offset_again_later_changes_nothing(vcpu: PpcVcpu) -> None:
    """Restoring an offset is idempotent: written again 50 ms later, the guest stays on its line."""
    vcpu.timebase_offset = 2**36
    vcpu.guest.read_timebase()
    vcpu.vm.time.sleep_ns(50_000_000)

    vcpu.timebase_offset = 2**36

    reading = vcpu.guest.read_timebase()
    assert reading.value in reading.window.shifted(2**36)


def test_new_offset_counts_from_the_next_entry(vcpu: PpcVcpu) -> None:
    """An offset can be changed after the guest ran, in either direction."""
    for offset in (2**40, 2**36, 2**41):
        vcpu.timebase_offset = offset
        reading = vcpu.guest.read_timebase()
        assert reading.value in reading.window.shifted(offset)


def test_offset_leaves_other_registers(vcpu: PpcVcpu) -> None:
    """Writing the offset changes neither the deadline of the decrementer nor the virtual time base."""
    registers = (kvm_powerpc.KVM_REG_PPC_DEC_EXPIRY, kvm_powerpc.KVM_REG_PPC_VTB)
    for register in registers:
        vcpu.set_reg(register, 2**40 + 12345)

    vcpu.timebase_offset = 2**36

    assert [vcpu.get_reg(register) for register in registers] == [2**40 + 12345] * 2


@pytest.mark.parametrize("offset", OFFSETS)
def test_offset_does_not_leak_to_the_host(vcpu: PpcVcpu, offset: int, second: int) -> None:
    """After a guest with an offset has run, the host's time base keeps pace with CLOCK_MONOTONIC_RAW."""
    time = vcpu.vm.time
    vcpu.timebase_offset = offset
    first_ns, first_ticks = time.monotonic_raw_ns(), time.counter()

    vcpu.guest.read_timebase()

    last_ticks, last_ns = time.counter(), time.monotonic_raw_ns()
    elapsed_ticks = (last_ns - first_ns) * second // NSEC_PER_SEC
    assert last_ticks in Window(first_ticks, first_ticks + elapsed_ticks).widened(elapsed_ticks // 1_000 + 2)
