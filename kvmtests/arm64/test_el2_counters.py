# SPDX-License-Identifier: GPL-2.0-only
"""What the counters read at each exception level of a vCPU with EL2, under both offsets.

Source: Arm ARM, D12.1.2 (virtual counter), CNTVOFF_EL2, CNTVCT_EL0; arch/arm64/kvm/arch_timer.c:
kvm_timer_vcpu_reset(), timer_get_offset().
"""

from __future__ import annotations

import pytest

from fixtures.kvm.arm64.values import Counter
from fixtures.kvm.arm64.vcpu import Arm64Vcpu
from fixtures.kvm.arm64.vm import Arm64Vm
from fixtures.kvm.errors import GuestFault
from fixtures.uapi.arm64 import kvm as kvm_arm64
from fixtures.uapi.arm64 import sysreg
from kvmtests.arm64.el2 import (
    EL0,
    EL1,
    EL2,
    KINDS,
    OFFSETS,
    VM_OFFSET,
    el2_vcpus,
    guest_reads,
    guest_writes,
    read,
    write,
)
from kvmtests.windows import timed

pytestmark = [
    pytest.mark.promise(architectural="Arm ARM, CNTVOFF_EL2 and CNTVCT_EL0"),
    pytest.mark.requires("KVM_CAP_ARM_EL2"),
]


@pytest.fixture
def hypervisor(vm: Arm64Vm, hypervisor: Arm64Vcpu) -> Arm64Vcpu:
    """The vCPU with EL2 in a VM with an offset."""
    vm.require_counter_offset()
    vm.set_counter_offset(VM_OFFSET)
    return hypervisor


@pytest.mark.parametrize("vhe", KINDS)
def test_virtual_counter_of_el1_has_both_offsets(vm: Arm64Vm, vhe: bool) -> None:
    """At EL1 CNTVCT_EL0 is the host's counter less the VM's offset less CNTVOFF_EL2, of either sign."""
    (vcpu,) = el2_vcpus(vm, vhe=vhe)
    vm.set_counter_offset(VM_OFFSET)

    for offset in OFFSETS:
        write(vcpu, sysreg.CNTVOFF_EL2, offset)
        reading = vcpu.guest.enter(EL1).read_cntvct()
        assert reading.value in reading.window.shifted(-VM_OFFSET - offset)


@pytest.mark.parametrize("vhe", KINDS)
def test_physical_counter_of_el1_ignores_cntvoff(vm: Arm64Vm, vhe: bool) -> None:
    """At EL1 CNTPCT_EL0 is the host's counter less the VM's offset, whatever CNTVOFF_EL2 is."""
    (vcpu,) = el2_vcpus(vm, vhe=vhe)
    vm.set_counter_offset(VM_OFFSET)

    for offset in OFFSETS:
        write(vcpu, sysreg.CNTVOFF_EL2, offset)
        reading = vcpu.guest.enter(EL1).read_cntpct()
        assert reading.value in reading.window.shifted(-VM_OFFSET)


@pytest.mark.parametrize("vhe", KINDS)
def test_counters_of_el2_have_the_vms_offset_alone(vm: Arm64Vm, vhe: bool) -> None:
    """At EL2 neither CNTVCT_EL0 nor CNTPCT_EL0 has CNTVOFF_EL2, before EL1 ran and after it."""
    (vcpu,) = el2_vcpus(vm, vhe=vhe)
    vm.set_counter_offset(VM_OFFSET)
    write(vcpu, sysreg.CNTVOFF_EL2, 2**32)

    for counter in (*Counter, *Counter):
        reading = vcpu.guest.enter(EL2).read_counter(counter)
        assert reading.value in reading.window.shifted(-VM_OFFSET)
        vcpu.guest.enter(EL1).read_cntvct()


@pytest.mark.parametrize("counter", Counter)
def test_self_synchronised_counters_have_the_same_offsets(hypervisor: Arm64Vcpu, counter: Counter) -> None:
    """CNTVCTSS_EL0 and CNTPCTSS_EL0 follow CNTVCT_EL0 and CNTPCT_EL0 at EL1 and at EL2."""
    hypervisor.require_self_synchronised_counters()
    write(hypervisor, sysreg.CNTVOFF_EL2, 2**32)

    at_el1 = hypervisor.guest.enter(EL1).read_self_synchronised(counter)
    at_el2 = hypervisor.guest.enter(EL2).read_self_synchronised(counter)

    own_offset = 2**32 if counter is Counter.VIRTUAL else 0
    assert at_el1.value in at_el1.window.shifted(-VM_OFFSET - own_offset)
    assert at_el2.value in at_el2.window.shifted(-VM_OFFSET)


def test_el0_of_a_host_does_not_see_cntvoff(hypervisor: Arm64Vcpu) -> None:
    """With HCR_EL2.TGE, EL0 belongs to EL2: its virtual counter is EL2's."""
    write(hypervisor, sysreg.CNTVOFF_EL2, 2**32)
    write(hypervisor, sysreg.HCR_EL2, read(hypervisor, sysreg.HCR_EL2) | sysreg.HCR_E2H | sysreg.HCR_TGE)
    allowed = sysreg.CNTHCTL_E2H_EL0VCTEN | sysreg.CNTHCTL_E2H_EL0PCTEN
    write(hypervisor, sysreg.CNTHCTL_EL2, read(hypervisor, sysreg.CNTHCTL_EL2) | allowed)

    for counter in Counter:
        reading = hypervisor.guest.enter(EL0).read_counter(counter)
        assert reading.value in reading.window.shifted(-VM_OFFSET)


def test_el0_of_a_guest_sees_cntvoff(hypervisor: Arm64Vcpu) -> None:
    """Without HCR_EL2.TGE, EL0 belongs to EL1: its virtual counter is EL1's, with both offsets."""
    write(hypervisor, sysreg.CNTVOFF_EL2, 2**32)
    allowed = sysreg.ARCH_TIMER_USR_VCT_ACCESS_EN | sysreg.ARCH_TIMER_USR_PCT_ACCESS_EN
    write(hypervisor, sysreg.CNTKCTL_EL1, allowed)

    virtual = hypervisor.guest.enter(EL0).read_cntvct()
    physical = hypervisor.guest.enter(EL0).read_cntpct()

    assert virtual.value in virtual.window.shifted(-VM_OFFSET - 2**32)
    assert physical.value in physical.window.shifted(-VM_OFFSET)


def test_cntvoff_belongs_to_one_vcpu(vm: Arm64Vm) -> None:
    """CNTVOFF_EL2 moves the virtual counter of its own vCPU; the VM's offset those of all."""
    first, second = el2_vcpus(vm, 2)
    vm.set_counter_offset(VM_OFFSET)

    write(first, sysreg.CNTVOFF_EL2, 2**32)

    assert read(second, sysreg.CNTVOFF_EL2) == 0
    moved = first.guest.enter(EL1).read_cntvct()
    other = second.guest.enter(EL1).read_cntvct()
    assert moved.value in moved.window.shifted(-VM_OFFSET - 2**32)
    assert other.value in other.window.shifted(-VM_OFFSET)


def test_cntvoff_is_one_register_for_guest_and_user_space(hypervisor: Arm64Vcpu) -> None:
    """What user space writes to CNTVOFF_EL2 the guest hypervisor reads, and the reverse; EL1 follows both."""
    write(hypervisor, sysreg.CNTVOFF_EL2, 0x1234_5678_9ABC)
    assert guest_reads(hypervisor, "cntvoff_el2") == 0x1234_5678_9ABC

    guest_writes(hypervisor, "cntvoff_el2", -(2**33))
    assert read(hypervisor, sysreg.CNTVOFF_EL2) == 2**64 - 2**33

    reading = hypervisor.guest.enter(EL1).read_cntvct()
    assert reading.value in reading.window.shifted(-VM_OFFSET + 2**33)


@pytest.mark.promise(de_facto="Linux 6.16 to 7.3")
def test_user_space_reads_the_counters_of_el1(hypervisor: Arm64Vcpu) -> None:
    """KVM_REG_ARM_TIMER_CNT is what CNTVCT_EL0 reads at EL1, KVM_REG_ARM_PTIMER_CNT what CNTPCT_EL0 does."""
    write(hypervisor, sysreg.CNTVOFF_EL2, 2**32)

    host_counter, virtual = timed(hypervisor.vm, lambda: hypervisor.get_reg(kvm_arm64.KVM_REG_ARM_TIMER_CNT))
    assert virtual in host_counter.shifted(-VM_OFFSET - 2**32)

    host_counter, physical = timed(
        hypervisor.vm, lambda: hypervisor.get_reg(kvm_arm64.KVM_REG_ARM_PTIMER_CNT)
    )
    assert physical in host_counter.shifted(-VM_OFFSET)


@pytest.mark.promise(de_facto="Linux 6.16 to 7.3")
def test_new_vcpu_with_el2_starts_with_the_hosts_count(vm: Arm64Vm) -> None:
    """The virtual counter of a new vCPU with EL2 is the host's; a plain one counts from its creation."""
    (vcpu,) = el2_vcpus(vm)

    reading = vcpu.guest.enter(EL1).read_cntvct()

    assert reading.value in reading.window


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_SET_ONE_REG")
def test_virtual_count_that_is_set_reads_back(vm: Arm64Vm) -> None:
    """KVM_REG_ARM_TIMER_CNT continues from what was written to it, also where CNTVOFF_EL2 is not 0."""
    (vcpu,) = el2_vcpus(vm)
    write(vcpu, sysreg.CNTVOFF_EL2, 2**32)

    span, seen_ticks = timed(vm, lambda: set_and_get_virtual_count(vcpu, 10**12))

    assert seen_ticks in span.shifted(10**12 - span.first)


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_SET_ONE_REG")
def test_virtual_count_that_is_set_leaves_the_physical_one(vm: Arm64Vm) -> None:
    """Writing KVM_REG_ARM_TIMER_CNT of a vCPU with EL2 does not move its physical counter."""
    (vcpu,) = el2_vcpus(vm)

    vcpu.set_reg(kvm_arm64.KVM_REG_ARM_TIMER_CNT, 10**12)

    reading = vcpu.guest.enter(EL2).read_cntpct()
    assert reading.value in reading.window


def set_and_get_virtual_count(vcpu: Arm64Vcpu, count: int) -> int:
    """Write *count* to KVM_REG_ARM_TIMER_CNT and read it back."""
    vcpu.set_reg(kvm_arm64.KVM_REG_ARM_TIMER_CNT, count)
    return vcpu.get_reg(kvm_arm64.KVM_REG_ARM_TIMER_CNT)


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_ARM_VCPU_INIT")
def test_initialising_again_ends_cntvoff(vm: Arm64Vm) -> None:
    """After KVM_ARM_VCPU_INIT the virtual counter of EL1 has no CNTVOFF_EL2: EL2's registers start again."""
    (vcpu,) = el2_vcpus(vm)
    write(vcpu, sysreg.CNTVOFF_EL2, 2**44)
    before = vcpu.guest.enter(EL1).read_cntvct()

    vcpu.init()

    after = vcpu.guest.enter(EL1).read_cntvct()
    assert before.value in before.window.shifted(-(2**44))
    assert after.value in after.window


@pytest.mark.parametrize("vhe", KINDS)
def test_guest_of_el2_neither_finds_nor_moves_its_offset(vm: Arm64Vm, vhe: bool) -> None:
    """CNTVOFF_EL2 is undefined at EL1, to read and to write: the offset and EL1's virtual counter stay."""
    (vcpu,) = el2_vcpus(vm, vhe=vhe)
    write(vcpu, sysreg.CNTVOFF_EL2, OFFSETS[0])
    first = vcpu.guest.enter(EL1).read_cntvct()

    for program in ("read_cntvoff_el2", "write_cntvoff_el2"):
        with pytest.raises(GuestFault):
            vcpu.guest.enter(EL1).run(program, (2**40,))

    assert read(vcpu, sysreg.CNTVOFF_EL2) == OFFSETS[0]
    last = vcpu.guest.enter(EL1).read_cntvct()
    assert last.value in last.since(first.before, first.after).shifted(first.value)
