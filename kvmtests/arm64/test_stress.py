# SPDX-License-Identifier: GPL-2.0-only
"""Counters under load: guests that read while user space sets offsets, signals, and a thousand VMs.

Source: arch/arm64/kvm/arch_timer.c: kvm_vm_ioctl_set_counter_offset(); Documentation/virt/kvm/api.rst.
"""

from __future__ import annotations

import errno
import functools

import pytest

from fixtures.kvm.arm64.values import Counter
from fixtures.kvm.arm64.vcpu import Arm64Vcpu
from fixtures.kvm.arm64.vm import Arm64Vm
from fixtures.kvm.errors import KvmError
from fixtures.kvm.exits import Interrupted
from fixtures.kvm.system import Kvm
from fixtures.kvm.threads import Until, together
from fixtures.targets import Target
from kvmtests.arm64.counters import fitted, offset_counter
from kvmtests.arm64.timers import ENABLE, IMASK, TIMERS, Timer

pytestmark = [
    pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_ARM_SET_COUNTER_OFFSET"),
    pytest.mark.stress,
]

ROUNDS = 300
LINES = [2**40, 2**41, 2**42]  # offsets so far apart that a reading belongs to one of them


@pytest.fixture
def vms(target: Target) -> int:
    """How many VMs are created: 1,000 on real KVM, fewer on a simulated host, where each has an emulator."""
    return 200 if target.simulated else 1_000


def read_on_lines(vcpu: Arm64Vcpu, until: Until) -> None:
    """Let the guest read CNTVCT_EL0 again and again: always on one of LINES."""
    for _ in until.repeat():
        reading = vcpu.guest.read_cntvct()
        assert any(reading.value in reading.window.shifted(-offset) for offset in LINES)


@pytest.mark.generation("upstream")
def test_guests_read_while_user_space_sets_the_offset(vm: Arm64Vm, vcpus: list[Arm64Vcpu]) -> None:
    """KVM_ARM_SET_COUNTER_OFFSET takes effect or gives EBUSY; no guest ever reads between two offsets."""
    vm.require_counter_offset()
    vm.set_counter_offset(LINES[0])
    until = Until()
    errors: list[int] = []

    def write() -> None:
        for number in range(ROUNDS):
            try:
                vm.set_counter_offset(LINES[number % len(LINES)])
            except KvmError as error:
                errors.append(error.errno)

    together(lambda: until.finished(write), *(functools.partial(read_on_lines, one, until) for one in vcpus))

    assert set(errors) <= {errno.EBUSY}
    vm.set_counter_offset(12345)
    for vcpu in vcpus:
        reading = vcpu.guest.read_cntvct()
        assert reading.value in reading.window.shifted(-12345)


@pytest.mark.generation("upstream")
def test_offset_is_taken_or_refused_as_a_whole(vm: Arm64Vm, vcpus: list[Arm64Vcpu]) -> None:
    """After each call, accepted or EBUSY, the counter of every vCPU is on the line accepted last."""
    vm.require_counter_offset()
    first, second = vcpus
    vm.set_counter_offset(LINES[0])
    granted = LINES[0]
    for number in range(20):
        with first.guest.spinning():
            with pytest.raises(KvmError) as refusal:
                vm.set_counter_offset(LINES[(number + 1) % 3])
            assert refusal.value.errno == errno.EBUSY
            reading = second.guest.read_cntvct()
            assert reading.value in reading.window.shifted(-granted)
        granted = LINES[number % 3]
        vm.set_counter_offset(granted)
        for vcpu in vcpus:
            reading = vcpu.guest.read_cntvct()
            assert reading.value in reading.window.shifted(-granted)


@pytest.mark.promise(de_facto="the series of July 2021")
@pytest.mark.generation("series")
def test_guests_read_while_user_space_broadcasts(vcpus: list[Arm64Vcpu]) -> None:
    """Two threads set the virtual offset of all vCPUs while both guests read: never between two offsets."""
    vcpus[0].require_series_offsets()
    vcpus[0].virtual_offset = LINES[0]

    def write_and_read(vcpu: Arm64Vcpu) -> None:
        for number in range(ROUNDS):
            vcpu.virtual_offset = LINES[(number + vcpu.id) % len(LINES)]
            reading = vcpu.guest.read_cntvct()
            assert any(reading.value in reading.window.shifted(-offset) for offset in LINES)

    together(*(functools.partial(write_and_read, vcpu) for vcpu in vcpus))

    assert vcpus[0].virtual_offset == vcpus[1].virtual_offset
    assert vcpus[0].virtual_offset in LINES


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_RUN")
@pytest.mark.parametrize("timer", TIMERS)
def test_timers_survive_signals(vcpu: Arm64Vcpu, timer: Timer) -> None:
    """KVM_RUN interrupted again and again keeps CTL, CVAL and the counter's line."""
    offset_counter(vcpu, timer.counter, 0)
    cval = fitted(vcpu, 2**64 - 1)
    timer.arm(vcpu, cval, ENABLE | IMASK)

    for _ in range(20):
        with vcpu.guest.spinning():
            pass
        vcpu.poke_without_entry()

    assert timer.read(vcpu, "ctl").value == ENABLE | IMASK
    assert timer.read(vcpu, "cval").value == cval
    reading = vcpu.guest.read_counter(timer.counter)
    assert reading.value in reading.window


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, the kvm_run structure: immediate_exit")
def test_interrupted_run_is_reported_as_such(vcpu: Arm64Vcpu) -> None:
    """While immediate_exit is set every KVM_RUN fails with EINTR, and none runs the guest."""
    vcpu.guest.load("cntvct")
    where = vcpu.where()
    vcpu.immediate_exit = True

    exits = [vcpu.run() for _ in range(ROUNDS)]

    vcpu.immediate_exit = False
    assert [type(left) for left in exits] == [Interrupted] * ROUNDS
    assert vcpu.where() == where


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
def test_vms_by_the_thousand(kvm: Kvm[Arm64Vm], vms: int) -> None:
    """Each of many VMs, created one after the other, starts its virtual counter at 0 and has no offset."""
    for number in range(vms):
        vm = kvm.create_vm()
        before = vm.time.counter()
        vcpu = vm.create_vcpu(0)
        after = vm.time.counter()
        virtual, physical = vcpu.guest.read_cntvct(), vcpu.guest.read_cntpct()
        assert virtual.value in virtual.since(before, after)
        assert physical.value in physical.window
        offset_counter(vcpu, Counter.PHYSICAL, 2**40 + number)
        vcpu.guest.read_cntpct()
        vm.close()
        kvm.vms.remove(vm)


def test_vms_at_once_keep_their_own_counters(kvm: Kvm[Arm64Vm]) -> None:
    """50 VMs at the same time keep the offsets that each was given."""
    vcpus = []
    for number in range(50):
        vcpu = kvm.create_vm().create_vcpu(0)
        offset_counter(vcpu, Counter.VIRTUAL, number << 40)
        vcpus.append(vcpu)

    for number, vcpu in enumerate(vcpus):
        reading = vcpu.guest.read_cntvct()
        assert reading.value in reading.window.shifted(-(number << 40))
