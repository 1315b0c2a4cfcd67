# SPDX-License-Identifier: GPL-2.0-only
"""The timer's registers as user space reads and writes them: frequency, time, compare and state.

Source: arch/riscv/kvm/vcpu_timer.c: kvm_riscv_vcpu_get_reg_timer(), kvm_riscv_vcpu_set_reg_timer(),
kvm_riscv_vcpu_timer_reset().
"""

from __future__ import annotations

import errno

import pytest

from fixtures.counters import NSEC_PER_MSEC, NSEC_PER_SEC, Window
from fixtures.kvm.expect import refused
from fixtures.kvm.riscv.vcpu import RiscvVcpu
from fixtures.kvm.riscv.vm import RiscvVm
from fixtures.uapi.riscv import kvm as kvm_riscv
from fixtures.uapi.riscv.csr import SIP_STIP
from kvmtests.windows import timed

pytestmark = pytest.mark.promise(de_facto="Linux 6.12 to 7.2")

OFF, ON = kvm_riscv.KVM_RISCV_TIMER_STATE_OFF, kvm_riscv.KVM_RISCV_TIMER_STATE_ON
NEVER = 2**64 - 1
FAR = 2**44  # ticks: no test lasts so long
DEADLINES = [
    pytest.param(0, id="zero"),
    pytest.param(2**32, id="two-to-32"),
    pytest.param(2**63, id="two-to-63"),
    pytest.param(2**64 - 2, id="one-before-never"),
]
LATER_NS = 300 * NSEC_PER_MSEC
RATE_MARGIN = 100  # one part in so many: clocks of one host differ by less


def ticks(vcpu: RiscvVcpu, duration_ns: int) -> int:
    """Return how far the guest's time counts in *duration_ns*."""
    return duration_ns * vcpu.frequency // NSEC_PER_SEC


def test_frequency_is_the_rate_of_time(vm: RiscvVm, vcpu: RiscvVcpu) -> None:
    """Over a pause the guest's time gains what the frequency says."""
    earliest_ns, first, latest_ns = vm.time.monotonic_raw_ns(), vcpu.time, vm.time.monotonic_raw_ns()
    vm.time.sleep_ns(LATER_NS)
    before_ns, last, after_ns = vm.time.monotonic_raw_ns(), vcpu.time, vm.time.monotonic_raw_ns()

    least, most = ticks(vcpu, before_ns - latest_ns), ticks(vcpu, after_ns - earliest_ns)
    assert last - first in Window(least, most).widened(most // RATE_MARGIN + 1)


def test_every_vcpu_has_the_frequency(vcpus: list[RiscvVcpu]) -> None:
    """All vCPUs have one frequency, and take the one that they have."""
    for vcpu in vcpus:
        vcpu.frequency = vcpus[0].frequency

    assert vcpus[0].frequency == vcpus[1].frequency


@pytest.mark.parametrize("difference", [1, -1, 2**32])
def test_another_frequency_is_refused(vcpu: RiscvVcpu, difference: int) -> None:
    """Any other frequency gives EINVAL, and the one that was stays."""
    own = vcpu.frequency

    with refused(errno.EINVAL):
        vcpu.frequency = own + difference

    assert vcpu.frequency == own


def test_time_read_twice_has_gained_the_time_between(vm: RiscvVm, vcpu: RiscvVcpu) -> None:
    """KVM_GET_ONE_REG of the time counts on from one reading to the next."""
    early, first = timed(vm, lambda: vcpu.time)
    vm.time.sleep_ns(20 * NSEC_PER_MSEC)
    late, second = timed(vm, lambda: vcpu.time)

    assert second - first in Window(late.first - early.last, late.last - early.first)


def test_new_vcpu_has_no_deadline(vcpu: RiscvVcpu) -> None:
    """The deadline of a new vCPU is all ones, its state OFF, and no interrupt pending."""
    assert (vcpu.compare, vcpu.state) == (NEVER, OFF)
    assert not vcpu.guest.look_at_timer().pending


@pytest.mark.parametrize("deadline", DEADLINES)
def test_deadline_reads_back(vcpu: RiscvVcpu, deadline: int) -> None:
    """Whatever is written to compare reads back, before the vCPU runs and after."""
    vcpu.compare = deadline
    before = vcpu.compare

    vcpu.guest.read_time()

    assert (before, vcpu.compare) == (deadline, deadline)


def test_deadline_keeps_its_number_when_time_moves(vcpu: RiscvVcpu) -> None:
    """The deadline is a value of the guest's time: writing the time leaves it as it is."""
    vcpu.compare = FAR

    for time in (2 * FAR, 0):
        vcpu.time = time
        assert vcpu.compare == FAR
        vcpu.guest.read_time()
        assert vcpu.compare == FAR


def test_deadlines_are_each_vcpus_own(vcpus: list[RiscvVcpu]) -> None:
    """compare of one vCPU leaves another's where it is."""
    vcpus[0].compare = FAR

    assert (vcpus[0].compare, vcpus[1].compare) == (FAR, NEVER)


@pytest.mark.usefixtures("no_sstc")
def test_written_deadline_arms_nothing(vcpu: RiscvVcpu) -> None:
    """Without Sstc compare alone starts no timer: the state stays OFF, and nothing is pending."""
    vcpu.compare = 0

    assert vcpu.state == OFF
    assert not vcpu.guest.look_at_timer().pending


@pytest.mark.usefixtures("no_sstc")
def test_state_on_arms_a_deadline_that_is_over(vcpu: RiscvVcpu) -> None:
    """ON with a deadline in the past makes the interrupt pending. The state may still be ON: KVM races."""
    vcpu.time = FAR
    vcpu.compare = 0

    vcpu.state = ON

    vcpu.vm.time.sleep_ns(NSEC_PER_MSEC)  # the host's timer comes by an interrupt
    assert vcpu.guest.look_at_timer().pending


@pytest.mark.usefixtures("no_sstc")
def test_state_off_cancels_the_timer(vm: RiscvVm, vcpu: RiscvVcpu) -> None:
    """OFF stops a timer that is armed, so that its interrupt never comes; a second OFF gives EINVAL."""
    vcpu.guest.set_timer(vcpu.time + ticks(vcpu, NSEC_PER_SEC))

    vcpu.state = OFF

    with refused(errno.EINVAL):
        vcpu.state = OFF
    vm.time.sleep_ns(NSEC_PER_SEC + LATER_NS)
    assert not vcpu.guest.look_at_timer().pending


@pytest.mark.usefixtures("sstc")
def test_state_is_off_with_sstc(vcpu: RiscvVcpu) -> None:
    """With Sstc KVM arms nothing for a vCPU outside of its guest: the state is OFF, and stays OFF."""
    vcpu.compare = FAR
    vcpu.guest.read_time()
    before = vcpu.state

    vcpu.state = ON

    assert (before, vcpu.state, vcpu.compare) == (OFF, OFF, FAR)


@pytest.mark.parametrize("state", [2, 2**32, 2**64 - 1])
def test_unknown_state_is_refused(vcpu: RiscvVcpu, state: int) -> None:
    """A state that is neither ON nor OFF gives EINVAL where no timer is armed."""
    with refused(errno.EINVAL):
        vcpu.state = state

    assert (vcpu.state, vcpu.compare) == (OFF, NEVER)


@pytest.mark.usefixtures("no_sstc")
def test_restored_sip_shows_to_the_guest(vcpu: RiscvVcpu) -> None:
    """Without Sstc a pending interrupt is part of sip, which user space reads and restores."""
    sip = kvm_riscv.csr_reg("sip")
    vcpu.set_reg(sip, SIP_STIP)

    assert vcpu.guest.look_at_timer().pending
    assert vcpu.get_reg(sip) == SIP_STIP
