# SPDX-License-Identifier: GPL-2.0-only
"""The time that guests read: the host's plus one difference, which user space sets by value.

Source: arch/riscv/kvm/vcpu_timer.c: kvm_riscv_guest_timer_init(), kvm_riscv_vcpu_set_reg_timer(),
kvm_riscv_vcpu_update_timedelta().
"""

from __future__ import annotations

import pytest

from fixtures.counters import Window, bracket, wrap
from fixtures.kvm.errors import GuestFault
from fixtures.kvm.riscv.vcpu import RiscvVcpu
from fixtures.kvm.riscv.vm import RiscvVm
from fixtures.kvm.system import Kvm
from fixtures.kvm.values import Reading
from fixtures.uapi.riscv.csr import EXC_INST_ILLEGAL
from kvmtests.windows import timed

pytestmark = pytest.mark.promise(de_facto="Linux 6.12 to 7.2")

FAR = 2**44  # ticks: longer than a host has been up
VALUES = [
    pytest.param(0, id="zero"),
    pytest.param(2**32, id="two-to-32"),
    pytest.param(2**63, id="two-to-63"),
    pytest.param(2**64 - 1, id="all-ones"),
    pytest.param(2**64 - 1000, id="a-wrap-ahead"),
]
PAUSE_NS = 20_000_000


def difference(reading: Reading) -> Window:
    """Return where the guest's time less the host's lies, by one reading."""
    return Window(wrap(reading.value - reading.after), wrap(reading.value - reading.before))


def overlap(one: Window, other: Window) -> bool:
    """Return whether some value lies in both windows."""
    return one.first in other or other.first in one


def written(vcpu: RiscvVcpu, time: int) -> Window:
    """Set the VM's time through *vcpu*; return the host's time between which it happened."""
    window, _ = timed(vcpu.vm, lambda: setattr(vcpu, "time", time))
    return window


def test_times_of_two_vms_are_apart(kvm: Kvm[RiscvVm]) -> None:
    """Guests of two VMs read times that are as far apart as the creation of their VMs."""
    host_time = kvm.handle.backend.time
    first_before, first, first_after = bracket(host_time.counter, kvm.create_vm)
    host_time.sleep_ns(PAUSE_NS)
    second_before, second, second_after = bracket(host_time.counter, kvm.create_vm)

    older, younger = (difference(vm.create_vcpu(0).guest.read_time()) for vm in (first, second))

    apart = Window(wrap(older.first - younger.last), wrap(older.last - younger.first))
    assert overlap(apart, Window(second_before - first_after, second_after - first_before))


@pytest.mark.promise(architectural="RISC-V Privileged Architecture, htimedelta")
def test_guest_time_is_the_hosts_plus_one_difference(vcpus: list[RiscvVcpu]) -> None:
    """Both vCPUs read the host's time plus the same difference, however often they read."""
    readings = [vcpu.guest.read_time() for _ in range(4) for vcpu in vcpus]

    assert all(overlap(difference(readings[0]), difference(reading)) for reading in readings)


def test_time_starts_with_the_vm(kvm: Kvm[RiscvVm]) -> None:
    """Time is 0 when a VM is created, not when its vCPU is."""
    before, vm, after = bracket(kvm.handle.backend.time.counter, kvm.create_vm)
    vm.time.sleep_ns(PAUSE_NS)

    reading = vm.create_vcpu(0).guest.read_time()

    assert reading.value in reading.since(before, after)


def test_later_vcpu_shares_the_time(vm: RiscvVm, vcpu: RiscvVcpu) -> None:
    """A vCPU that is created after the VM ran reads the time that the first one reads."""
    first = vcpu.guest.read_time()
    vm.time.sleep_ns(PAUSE_NS)

    second = vm.create_vcpu(1).guest.read_time()

    assert overlap(difference(first), difference(second))


def test_new_vcpu_does_not_move_the_time(vm: RiscvVm, vcpu: RiscvVcpu) -> None:
    """Creating a vCPU leaves a time that user space has set where it is."""
    vcpu.time = FAR
    first = vcpu.guest.read_time()

    vm.create_vcpu(1)

    assert overlap(difference(first), difference(vcpu.guest.read_time()))


def test_vms_have_times_of_their_own(kvm: Kvm[RiscvVm], vcpu: RiscvVcpu) -> None:
    """Writing the time of one VM leaves another's where it is."""
    other = kvm.create_vm().create_vcpu(0)
    first = other.guest.read_time()

    vcpu.time = FAR

    assert overlap(difference(first), difference(other.guest.read_time()))


def test_time_counts_while_no_vcpu_runs(vm: RiscvVm, vcpu: RiscvVcpu) -> None:
    """The difference stays the same over a pause without KVM_RUN."""
    first = vcpu.guest.read_time()

    vm.time.sleep_ns(PAUSE_NS)

    assert overlap(difference(first), difference(vcpu.guest.read_time()))


def test_user_space_reads_what_the_guest_reads(vm: RiscvVm, vcpu: RiscvVcpu) -> None:
    """KVM_GET_ONE_REG of the time is the host's plus the guest's difference, between two of its readings."""
    first = vcpu.guest.read_time()
    vm.time.sleep_ns(PAUSE_NS)
    window, seen = timed(vm, lambda: vcpu.time)
    last = vcpu.guest.read_time()

    assert seen in Window(first.value, last.value)
    assert overlap(difference(first), Window(wrap(seen - window.last), wrap(seen - window.first)))


@pytest.mark.parametrize("value", VALUES)
def test_written_time_continues_from_there(vcpu: RiscvVcpu, value: int) -> None:
    """KVM_SET_ONE_REG of the time sets what guests read, which continues to count and wraps."""
    window = written(vcpu, value)

    reading = vcpu.guest.read_time()

    assert reading.value in reading.since(window.first, window.last).shifted(value)


@pytest.mark.parametrize("value", VALUES)
def test_written_time_reads_back_later(vm: RiscvVm, vcpu: RiscvVcpu, value: int) -> None:
    """KVM_GET_ONE_REG returns the value that was written, plus the time since."""
    wrote = written(vcpu, value)

    read, seen = timed(vm, lambda: vcpu.time)

    assert seen in Window(read.first - wrote.last, read.last - wrote.first).shifted(value)


def test_time_read_twice_has_gained_the_time_between(vm: RiscvVm, vcpu: RiscvVcpu) -> None:
    """KVM_GET_ONE_REG of the time counts on from one reading to the next."""
    early, first = timed(vm, lambda: vcpu.time)
    vm.time.sleep_ns(PAUSE_NS)
    late, second = timed(vm, lambda: vcpu.time)

    gained_ticks = second - first
    assert gained_ticks in Window(late.first - early.last, late.last - early.first)


def test_time_can_be_written_after_a_run(vcpu: RiscvVcpu) -> None:
    """A VM that has run takes another time, back as well as forth."""
    for value in (FAR, 5):
        vcpu.guest.read_time()
        window = written(vcpu, value)

        reading = vcpu.guest.read_time()

        assert reading.value in reading.since(window.first, window.last).shifted(value)


def test_time_written_twice_loses_what_passed_between(vm: RiscvVm, vcpu: RiscvVcpu) -> None:
    """The same value written later sets the guest back by the time since."""
    first = written(vcpu, FAR)
    early = vcpu.guest.read_time()
    vm.time.sleep_ns(PAUSE_NS)

    second = written(vcpu, FAR)
    late = vcpu.guest.read_time()

    lost = Window(second.first - first.last, second.last - first.first)
    seen = Window(
        difference(early).first - difference(late).last, difference(early).last - difference(late).first
    )
    assert overlap(lost, seen)


def test_written_time_holds_for_every_vcpu(vm: RiscvVm, vcpus: list[RiscvVcpu]) -> None:
    """Written through one vCPU, the time is another's too: for user space at once, and for its guest."""
    vcpus[0].guest.read_time()
    window = written(vcpus[1], 5)

    read, seen = timed(vm, lambda: vcpus[0].time)
    reading = vcpus[0].guest.read_time()

    assert seen in Window(read.first - window.last, read.last - window.first).shifted(5)
    assert reading.value in reading.since(window.first, window.last).shifted(5)


def test_time_moved_under_a_running_vcpu_holds_at_its_next_entry(vcpus: list[RiscvVcpu]) -> None:
    """A vCPU inside of its guest while another's time is written reads that time when it enters again."""
    with vcpus[0].guest.spinning():
        window = written(vcpus[1], FAR)

    reading = vcpus[0].guest.read_time()

    assert reading.value in reading.since(window.first, window.last).shifted(FAR)


@pytest.mark.promise(architectural="RISC-V Privileged Architecture, the CSR time is read-only")
def test_guest_cannot_write_the_time(vm: RiscvVm, vcpu: RiscvVcpu) -> None:
    """CSRW of time in the guest is an illegal instruction, and the time that user space reads continues."""
    first = vcpu.guest.read_time()

    with pytest.raises(GuestFault) as fault:
        vcpu.guest.write_csr("time", FAR)

    assert fault.value.vector == EXC_INST_ILLEGAL
    window, seen = timed(vm, lambda: vcpu.time)
    assert overlap(difference(first), Window(wrap(seen - window.last), wrap(seen - window.first)))


@pytest.mark.parametrize("program", ["read_htimedelta", "write_htimedelta"])
def test_guest_has_no_htimedelta(vcpu: RiscvVcpu, program: str) -> None:
    """The difference to the host's time is the hypervisor's: htimedelta is an illegal instruction."""
    with pytest.raises(GuestFault) as fault:
        vcpu.guest.run(program, (0,))

    assert fault.value.vector == EXC_INST_ILLEGAL
