# SPDX-License-Identifier: GPL-2.0-only
"""The wall clock structure is written at once, once for each write of its MSR, and is the whole VM's.

Source: Documentation/virt/kvm/x86/msr.rst; arch/x86/kvm/x86.c: kvm_write_wall_clock().
"""

from __future__ import annotations

import ctypes

import pytest

from fixtures.counters import NSEC_PER_SEC
from fixtures.guests import layout
from fixtures.kvm.spans import spanned
from fixtures.kvm.values import WallClock
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.uapi.x86.kvm_para import MSR_KVM_WALL_CLOCK, MSR_KVM_WALL_CLOCK_NEW
from fixtures.uapi.x86.pvclock import pvclock_wall_clock
from kvmtests.x86.clocks import enter_all, epoch_window

pytestmark = pytest.mark.promise(documented="Documentation/virt/kvm/x86/msr.rst, MSR_KVM_WALL_CLOCK_NEW")

WALL_CLOCK_MSRS = pytest.mark.parametrize(
    "msr",
    [
        pytest.param(MSR_KVM_WALL_CLOCK_NEW, id="new-msr"),
        pytest.param(MSR_KVM_WALL_CLOCK, id="legacy-msr"),
    ],
)


def structure(vm: X86Vm) -> bytes:
    """Return the bytes at the wall clock's address."""
    return bytes(vm.memory[layout.WALL_CLOCK : layout.WALL_CLOCK + ctypes.sizeof(pvclock_wall_clock)])


@WALL_CLOCK_MSRS
@pytest.mark.parametrize("kvmclock_ns", [0, 1000 * NSEC_PER_SEC], ids=["zero", "1000s"])
def test_wall_clock_and_kvmclock_make_realtime(vm: X86Vm, vcpu: X86Vcpu, msr: int, kvmclock_ns: int) -> None:
    """Wall clock plus kvmclock is CLOCK_REALTIME; nsec is below a second."""
    vm.set_clock(kvmclock_ns)

    written, wall_clock = spanned(vm.time, lambda: vcpu.guest.write_wall_clock(msr))

    assert wall_clock.epoch_ns in epoch_window(vm, written)
    assert wall_clock.nsec < NSEC_PER_SEC


def test_wall_clock_follows_set_clock_when_written_again(vm: X86Vm, vcpu: X86Vcpu) -> None:
    """The structure stays as written, whatever kvmclock does, until the MSR is written again."""
    first = vcpu.guest.write_wall_clock()
    written = structure(vm)

    vm.set_clock(1000 * NSEC_PER_SEC)
    vcpu.guest.read_tsc()
    untouched = structure(vm)
    rewritten, again = spanned(vm.time, vcpu.guest.write_wall_clock)

    assert untouched == written
    assert again.version == first.version + 2
    assert again.epoch_ns in epoch_window(vm, rewritten)


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
@WALL_CLOCK_MSRS
def test_host_write_writes_the_structure(vm: X86Vm, vcpu: X86Vcpu, msr: int) -> None:
    """KVM_SET_MSRS of the MSR writes the structure before it returns, as a restored VM needs."""
    written, _ = spanned(vm.time, lambda: vcpu.set_msr(msr, layout.WALL_CLOCK))

    raw = pvclock_wall_clock.from_buffer_copy(structure(vm))
    assert WallClock(raw.version, raw.sec, raw.nsec).epoch_ns in epoch_window(vm, written)


def test_address_belongs_to_the_vm(vcpus: list[X86Vcpu]) -> None:
    """Both MSRs of all vCPUs read back the address that any of them wrote."""
    first, second = vcpus
    enter_all(vcpus)

    second.guest.write_wall_clock()

    for vcpu in (first, second):
        assert vcpu.get_msr(MSR_KVM_WALL_CLOCK_NEW) == layout.WALL_CLOCK
        assert vcpu.guest.rdmsr(MSR_KVM_WALL_CLOCK).value == layout.WALL_CLOCK


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
def test_version_of_a_scribbled_structure_ends_even(vm: X86Vm, vcpu: X86Vcpu) -> None:
    """An odd version that the guest left there is followed by an even one."""
    vm.memory[layout.WALL_CLOCK] = 7

    assert vcpu.guest.write_wall_clock().version % 2 == 0


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
def test_address_zero_writes_nothing(vm: X86Vm, vcpu: X86Vcpu) -> None:
    """KVM does not write the structure to address 0."""
    before = bytes(vm.memory[:64])

    vcpu.guest.wrmsr(MSR_KVM_WALL_CLOCK_NEW, 0)

    assert bytes(vm.memory[:64]) == before
