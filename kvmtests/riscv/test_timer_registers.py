# SPDX-License-Identifier: GPL-2.0-only
"""The timer's registers: which values they take, and which errno refuses others.

Source: arch/riscv/kvm/vcpu_timer.c: kvm_riscv_vcpu_get_reg_timer(), kvm_riscv_vcpu_set_reg_timer().
"""

from __future__ import annotations

import errno

import pytest

from fixtures.counters import NSEC_PER_SEC, bracket
from fixtures.kvm.expect import refused
from fixtures.kvm.handle import BAD_ADDRESS
from fixtures.kvm.riscv.vcpu import RiscvVcpu
from fixtures.kvm.riscv.vm import RiscvVm
from fixtures.targets import Probe
from fixtures.uapi import kvm as uapi
from fixtures.uapi.riscv import kvm as kvm_riscv
from fixtures.uapi.riscv.csr import SIP_STIP
from kvmtests.riscv.timers import FAR, NEVER, OFF, ON

pytestmark = pytest.mark.promise(de_facto="Linux 6.12 to 7.2")

REGISTERS = [
    pytest.param(kvm_riscv.REG_TIMER_FREQUENCY, id="frequency"),
    pytest.param(kvm_riscv.REG_TIMER_TIME, id="time"),
    pytest.param(kvm_riscv.REG_TIMER_COMPARE, id="compare"),
    pytest.param(kvm_riscv.REG_TIMER_STATE, id="state"),
]
VALUES = [
    pytest.param(0, id="zero"),
    pytest.param(2**32, id="two-to-32"),
    pytest.param(123456789012345, id="some"),
    pytest.param(2**63, id="two-to-63"),
    pytest.param(2**64 - 2, id="one-before-never"),
    pytest.param(2**64 - 1, id="all-ones"),
]
UNKNOWN = kvm_riscv.reg(kvm_riscv.KVM_REG_RISCV_TIMER, 4)
MEASURED_NS = 100_000_000


def test_frequency_is_the_rate_of_the_hosts_time(vm: RiscvVm, vcpu: RiscvVcpu) -> None:
    """The frequency is that of the host's time, as CLOCK_MONOTONIC_RAW measures it, within a thousandth."""
    first = bracket(vm.time.counter, vm.time.monotonic_raw_ns)
    vm.time.sleep_ns(MEASURED_NS)
    second = bracket(vm.time.counter, vm.time.monotonic_raw_ns)

    passed_ns = second[1] - first[1]
    least, most = second[0] - first[2], second[2] - first[0]
    lowest, highest = least * NSEC_PER_SEC // passed_ns, most * NSEC_PER_SEC // passed_ns
    assert lowest * 999 // 1000 <= vcpu.frequency <= highest * 1001 // 1000


def test_frequency_is_the_same_on_all_vcpus(vcpus: list[RiscvVcpu], target_facts: Probe) -> None:
    """Each vCPU has the frequency that the target's facts have."""
    assert [vcpu.frequency for vcpu in vcpus] == [target_facts.facts["counter_hz"]] * 2


def test_own_frequency_can_be_written(vcpu: RiscvVcpu) -> None:
    """The frequency that was read is accepted, and stays."""
    frequency = vcpu.frequency

    vcpu.frequency = frequency

    assert vcpu.frequency == frequency


@pytest.mark.parametrize("change", [-1, 1, 2**32], ids=["lower", "higher", "two-to-32-higher"])
def test_other_frequency_is_refused(vcpu: RiscvVcpu, change: int) -> None:
    """Another frequency gives EINVAL and changes nothing: no guest's time is scaled."""
    frequency = vcpu.frequency

    with refused(errno.EINVAL):
        vcpu.frequency = frequency + change

    assert vcpu.frequency == frequency


def test_frequency_is_refused_after_a_run_as_before(vcpu: RiscvVcpu) -> None:
    """A vCPU that has run refuses another frequency by EINVAL, not by EBUSY."""
    vcpu.guest.read_time()

    with refused(errno.EINVAL):
        vcpu.frequency = vcpu.frequency + 1


@pytest.mark.parametrize("reg_id", REGISTERS)
def test_registers_of_a_vcpu_that_ran_can_be_read(vcpu: RiscvVcpu, reg_id: int) -> None:
    """No register of the timer gives EBUSY after KVM_RUN."""
    vcpu.guest.read_time()

    vcpu.get_reg(reg_id)


@pytest.mark.parametrize("reg_id", REGISTERS)
def test_bad_pointer_is_refused(vcpu: RiscvVcpu, reg_id: int) -> None:
    """A value that cannot be read or written gives EFAULT."""
    with refused(errno.EFAULT):
        vcpu.get_reg_into(reg_id, BAD_ADDRESS)
    with refused(errno.EFAULT):
        vcpu.set_reg_from(reg_id, BAD_ADDRESS)


def test_unknown_register_is_refused(vcpu: RiscvVcpu) -> None:
    """The index after the last gives ENOENT, for reading and for writing."""
    with refused(errno.ENOENT):
        vcpu.get_reg(UNKNOWN)
    with refused(errno.ENOENT):
        vcpu.set_reg(UNKNOWN, 0)


def test_unknown_register_is_refused_before_its_pointer(vcpu: RiscvVcpu) -> None:
    """For reading, an unknown index gives ENOENT whatever its value's address is."""
    with refused(errno.ENOENT):
        vcpu.get_reg_into(UNKNOWN, BAD_ADDRESS)


@pytest.mark.parametrize("reg_id", REGISTERS)
def test_register_of_32_bits_is_refused(vcpu: RiscvVcpu, reg_id: int) -> None:
    """The id with a size of 32 bits gives EINVAL."""
    small = reg_id & ~uapi.KVM_REG_SIZE_MASK | uapi.KVM_REG_SIZE_U32

    with refused(errno.EINVAL):
        vcpu.get_reg(small)
    with refused(errno.EINVAL):
        vcpu.set_reg(small, 0)


def test_size_is_refused_before_the_index(vcpu: RiscvVcpu) -> None:
    """An unknown index of 32 bits gives EINVAL, not ENOENT."""
    with refused(errno.EINVAL):
        vcpu.get_reg(UNKNOWN & ~uapi.KVM_REG_SIZE_MASK | uapi.KVM_REG_SIZE_U32)


def test_compare_is_all_ones_at_first(vcpus: list[RiscvVcpu]) -> None:
    """A new vCPU has no deadline: compare is all ones, the timer off, and no interrupt pending."""
    assert [(vcpu.compare, vcpu.state) for vcpu in vcpus] == [(NEVER, OFF)] * 2
    assert not vcpus[0].guest.look_at_timer().pending


@pytest.mark.parametrize("value", VALUES)
def test_compare_reads_back(vcpu: RiscvVcpu, value: int) -> None:
    """KVM_GET_ONE_REG returns the compare value that was written, before the vCPU runs and after."""
    vcpu.compare = value
    before = vcpu.compare

    vcpu.guest.read_time()

    assert (before, vcpu.compare) == (value, value)


def test_compare_is_the_vcpus_own(vcpus: list[RiscvVcpu]) -> None:
    """A compare value written to one vCPU is not another's."""
    vcpus[0].compare = FAR

    assert [vcpu.compare for vcpu in vcpus] == [FAR, NEVER]


@pytest.mark.parametrize("time", [0, 2 * FAR], ids=["back", "past-compare"])
def test_compare_survives_a_change_of_time(vcpu: RiscvVcpu, time: int) -> None:
    """Another time leaves compare, before a run and after: it is a time of the guest's."""
    vcpu.compare = FAR

    vcpu.time = time
    before = vcpu.compare
    vcpu.guest.read_time()

    assert (before, vcpu.compare) == (FAR, FAR)


@pytest.mark.usefixtures("no_sstc")
def test_compare_does_not_switch_the_timer_on(vcpu: RiscvVcpu) -> None:
    """Without Sstc writing compare leaves the state off, and a deadline in the past is not pending."""
    vcpu.compare = 0

    assert vcpu.state == OFF
    assert not vcpu.guest.look_at_timer().pending


@pytest.mark.parametrize("value", [2, 2**32, 2**64 - 1], ids=["two", "two-to-32", "all-ones"])
def test_other_state_is_refused(vcpu: RiscvVcpu, value: int) -> None:
    """A state that is neither ON nor OFF gives EINVAL and changes nothing."""
    with refused(errno.EINVAL):
        vcpu.state = value

    assert (vcpu.state, vcpu.compare) == (OFF, NEVER)


@pytest.mark.usefixtures("sstc")
def test_state_stays_off_where_hardware_waits(vcpu: RiscvVcpu) -> None:
    """With Sstc the state ON is accepted and reads back as OFF, before and after a run."""
    vcpu.compare = FAR
    vcpu.guest.read_time()

    vcpu.state = ON
    before = vcpu.state
    vcpu.guest.read_time()

    assert (before, vcpu.state, vcpu.compare) == (OFF, OFF, FAR)


@pytest.mark.usefixtures("no_sstc")
def test_state_of_a_timer_that_waits_can_be_switched_off(vcpu: RiscvVcpu) -> None:
    """Without Sstc the state is ON while KVM waits for a deadline, and OFF once that was written."""
    vcpu.guest.set_deadline(FAR)
    on = vcpu.state

    vcpu.state = OFF

    assert (on, vcpu.state, vcpu.compare) == (ON, OFF, FAR)


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_SET_ONE_REG")
@pytest.mark.usefixtures("no_sstc")
def test_state_does_not_change_compare(vcpu: RiscvVcpu) -> None:
    """Switching the timer on leaves the compare value that was written before, and reads back."""
    vcpu.compare = FAR

    vcpu.state = ON

    assert (vcpu.compare, vcpu.state) == (FAR, ON)


@pytest.mark.usefixtures("no_sstc")
def test_restored_sip_shows_to_the_guest(vcpu: RiscvVcpu) -> None:
    """Without Sstc a pending interrupt is part of sip, which user space reads and restores."""
    sip = kvm_riscv.csr_reg("sip")
    vcpu.set_reg(sip, SIP_STIP)

    assert vcpu.guest.look_at_timer().pending
    assert vcpu.get_reg(sip) == SIP_STIP


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_GET_REG_LIST")
@pytest.mark.parametrize("reg_id", REGISTERS)
def test_what_was_read_can_be_written_to_a_new_vcpu(vcpu: RiscvVcpu, reg_id: int) -> None:
    """Each register that is listed for both calls takes the value that a new vCPU has."""
    vcpu.set_reg(reg_id, vcpu.get_reg(reg_id))
