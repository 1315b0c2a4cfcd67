# SPDX-License-Identifier: GPL-2.0-only
"""Saving a guest's clocks and restoring them into a new VM of the same host, in every order.

Source: arch/powerpc/kvm/book3s_hv.c: kvmppc_get_one_reg_hv(), kvmppc_set_one_reg_hv().
"""

from __future__ import annotations

from itertools import permutations

import pytest

from fixtures.kvm.powerpc.vcpu import PpcVcpu
from fixtures.kvm.powerpc.vm import PpcVm
from fixtures.kvm.system import Kvm
from fixtures.uapi.powerpc import kvm as kvm_powerpc
from kvmtests.powerpc.timebase import guest_now

pytestmark = pytest.mark.promise(de_facto="Linux 6.12 to 7.2")

CLOCKS = {
    "offset": kvm_powerpc.KVM_REG_PPC_TB_OFFSET,
    "virtual": kvm_powerpc.KVM_REG_PPC_VTB,
    "deadline": kvm_powerpc.KVM_REG_PPC_DEC_EXPIRY,
}
ORDERS = [pytest.param(order, id="-".join(order)) for order in permutations(CLOCKS)]


def save(vcpu: PpcVcpu) -> dict[str, int]:
    """Return the registers of the guest's clocks."""
    return {name: vcpu.get_reg(register) for name, register in CLOCKS.items()}


def restore(vcpu: PpcVcpu, saved: dict[str, int], order: tuple[str, ...]) -> None:
    """Write the registers in *order*."""
    for name in order:
        vcpu.set_reg(CLOCKS[name], saved[name])


@pytest.fixture
def source(vcpu: PpcVcpu) -> PpcVcpu:
    """A vCPU that has run, with an offset and a deadline some seconds ahead."""
    vcpu.timebase_offset = 2**36
    vcpu.guest.write_decrementer(2**31 - 1)
    return vcpu


@pytest.mark.parametrize("order", ORDERS)
def test_clocks_come_in_any_order(kvm: Kvm[PpcVm], source: PpcVcpu, order: tuple[str, ...]) -> None:
    """Offset, virtual time base and deadline do not depend on each other: any order restores all three."""
    saved = save(source)
    restored = kvm.create_vm().create_vcpu(0)

    restore(restored, saved, order)

    assert save(restored) == saved


@pytest.mark.parametrize("order", ORDERS)
def test_time_base_continues(kvm: Kvm[PpcVm], source: PpcVcpu, order: tuple[str, ...]) -> None:
    """With the offset that was read the guest's time base continues with the host's, exactly."""
    restored = kvm.create_vm().create_vcpu(0)

    restore(restored, save(source), order)

    reading = restored.guest.read_timebase()
    assert reading.value in reading.window.shifted(2**36)


@pytest.mark.parametrize("order", ORDERS)
def test_deadline_goes_along(kvm: Kvm[PpcVm], source: PpcVcpu, order: tuple[str, ...]) -> None:
    """The decrementer of the restored guest runs out when the old one's would have."""
    saved = save(source)
    restored = kvm.create_vm().create_vcpu(0)

    restore(restored, saved, order)

    deadline_ticks = saved["deadline"]
    assert deadline_ticks in restored.guest.read_decrementer().deadline()


def test_restored_deadline_interrupts(kvm: Kvm[PpcVm], vcpu: PpcVcpu, second: int) -> None:
    """A deadline that came over interrupts the restored guest, not before the count that it was set for."""
    vcpu.timebase_offset = 2**36
    vcpu.deadline_ticks = deadline_ticks = guest_now(vcpu) + second // 10
    restored = kvm.create_vm().create_vcpu(0)

    restore(restored, save(vcpu), tuple(CLOCKS))

    assert restored.guest.await_decrementer(deadline_ticks + 4 * second) >= deadline_ticks


def test_restoring_twice_is_restoring_once(kvm: Kvm[PpcVm], source: PpcVcpu) -> None:
    """What is written again later moves nothing: every register says a fact, and none an age."""
    saved = save(source)
    restored = kvm.create_vm().create_vcpu(0)
    restore(restored, saved, tuple(CLOCKS))
    kvm.vms[-1].time.sleep_ns(20_000_000)

    restore(restored, saved, tuple(CLOCKS))

    assert save(restored) == saved
    reading = restored.guest.read_timebase()
    assert reading.value in reading.window.shifted(2**36)


def test_each_vcpu_is_restored_for_itself(kvm: Kvm[PpcVm], vcpus: list[PpcVcpu]) -> None:
    """Two vCPUs with different clocks keep them apart in the new VM."""
    for number, vcpu in enumerate(vcpus):
        clocks = {"offset": (number + 1) << 36, "virtual": number, "deadline": 2**50 + number}
        restore(vcpu, clocks, tuple(CLOCKS))
    saved = [save(vcpu) for vcpu in vcpus]
    vm = kvm.create_vm()
    restored = [vm.create_vcpu(number) for number in range(len(vcpus))]

    for vcpu, values in zip(restored, saved, strict=True):
        restore(vcpu, values, tuple(CLOCKS))

    assert [save(vcpu) for vcpu in restored] == saved
    for number, vcpu in enumerate(restored):
        reading = vcpu.guest.read_timebase()
        assert reading.value in reading.window.shifted((number + 1) << 36)
