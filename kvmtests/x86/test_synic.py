# SPDX-License-Identifier: GPL-2.0-only
"""Hyper-V's synthetic interrupt controller, as far as timers need it: who may write which register.

Source: Hyper-V TLFS, "Virtual Interrupt Controller": Synthetic Interrupt Controller; KVM's api.rst,
KVM_CAP_HYPERV_SYNIC; arch/x86/kvm/hyperv.c: synic_set_msr().
"""

from __future__ import annotations

import errno

import pytest

from fixtures.guests import layout
from fixtures.guests.x86.state import TIMER_VECTOR
from fixtures.kvm.errors import GuestFault, MsrRefused
from fixtures.kvm.exits import IoExit
from fixtures.kvm.expect import refused
from fixtures.kvm.x86.guest import GENERAL_PROTECTION
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.uapi import kvm as uapi
from fixtures.uapi.x86 import msr_index
from fixtures.uapi.x86.hyperv import HV_SYNIC_CONTROL_ENABLE, HV_SYNIC_SINT_MASKED, HV_SYNIC_VERSION_1
from kvmtests.x86.hyperv import enlighten, require_hyperv
from kvmtests.x86.stimers import (
    HOUR,
    ONE_SHOT,
    config_msr,
    count_msr,
    guest_writes,
    simp,
    with_synic,
    without_synic,
)

pytestmark = [
    pytest.mark.promise(architectural="Hyper-V TLFS, Virtual Interrupt Controller: SynIC Registers"),
    pytest.mark.thorough,
]

API = "Documentation/virt/kvm/api.rst, KVM_CAP_HYPERV_SYNIC2"
EXITS = "Documentation/virt/kvm/api.rst, KVM_EXIT_HYPERV"
HABIT = "Linux 5.10 to 7.3"
FILLED = b"\x5a" * layout.PAGE_SIZE
WRITTEN = [
    pytest.param(msr_index.HV_X64_MSR_SIMP, 1, id="message-page"),
    pytest.param(msr_index.HV_X64_MSR_SINT0 + 5, TIMER_VECTOR, id="source"),
    pytest.param(config_msr(0), ONE_SHOT, id="timer-configuration"),
    pytest.param(count_msr(3), HOUR, id="timer-count"),
]
MSRS = [msr_index.HV_X64_MSR_SIMP, msr_index.HV_X64_MSR_SINT0 + 5, config_msr(0), count_msr(3)]


def fill_message_page(vcpu: X86Vcpu) -> slice:
    """Fill the vCPU's message page; return where it lies in the VM's memory."""
    start = layout.message_page(vcpu.id)
    place = slice(start, start + layout.PAGE_SIZE)
    vcpu.vm.memory[place] = FILLED
    return place


def is_refused(vcpu: X86Vcpu, msr: int, value: int) -> bool:
    """Return whether the guest's write of *msr* is #GP."""
    try:
        vcpu.guest.wrmsr(msr, value)
    except GuestFault as fault:
        return fault.vector == GENERAL_PROTECTION
    return False


def test_new_controller(vm: X86Vm) -> None:
    """A new controller has version 1, all sources masked, and no pages."""
    vcpu = without_synic(vm)
    vcpu.enable_cap(uapi.KVM_CAP_HYPERV_SYNIC2)

    assert vcpu.guest.rdmsr(msr_index.HV_X64_MSR_SVERSION).value == HV_SYNIC_VERSION_1
    assert vcpu.guest.rdmsr(msr_index.HV_X64_MSR_SIMP).value == 0
    assert vcpu.guest.rdmsr(msr_index.HV_X64_MSR_SIEFP).value == 0
    for number in range(16):
        assert vcpu.guest.rdmsr(msr_index.HV_X64_MSR_SINT0 + number).value == HV_SYNIC_SINT_MASKED


def test_each_source_has_its_own_register(vm: X86Vm) -> None:
    """What the guest writes to one interrupt source reads back, to guest and host, from no other."""
    vcpu = with_synic(vm)
    written = {msr_index.HV_X64_MSR_SINT0 + number: 0x40 + number for number in range(16)}

    for source, value in written.items():
        vcpu.guest.wrmsr(source, value)

    assert {source: vcpu.guest.rdmsr(source).value for source in written} == written
    assert {source: vcpu.get_msr(source) for source in written} == written


def test_version_is_read_only(vm: X86Vm) -> None:
    """The guest's write of HV_X64_MSR_SVERSION is #GP, and the version stays."""
    vcpu = with_synic(vm)

    assert is_refused(vcpu, msr_index.HV_X64_MSR_SVERSION, 2)
    assert vcpu.guest.rdmsr(msr_index.HV_X64_MSR_SVERSION).value == HV_SYNIC_VERSION_1


@pytest.mark.promise(de_facto=HABIT)
def test_version_of_user_space_survives_the_guest(vm: X86Vm) -> None:
    """The version that user space restores is the guest's, who cannot write it, not even as it is."""
    vcpu = with_synic(vm)
    vcpu.set_msr(msr_index.HV_X64_MSR_SVERSION, 3)

    attempts = [is_refused(vcpu, msr_index.HV_X64_MSR_SVERSION, value) for value in (3, HV_SYNIC_VERSION_1)]

    assert attempts == [True, True]
    assert vcpu.get_msr(msr_index.HV_X64_MSR_SVERSION) == 3
    assert vcpu.guest.rdmsr(msr_index.HV_X64_MSR_SVERSION).value == 3


@pytest.mark.parametrize("vector", [0, 2, 15])
def test_vector_below_16_is_refused(vm: X86Vm, vector: int) -> None:
    """The guest may not give a source that is not masked a vector below 16: #GP, and the source stays."""
    vcpu = with_synic(vm)
    source = msr_index.HV_X64_MSR_SINT0 + 4

    assert is_refused(vcpu, source, vector)
    assert vcpu.guest.rdmsr(source).value == HV_SYNIC_SINT_MASKED
    vcpu.guest.wrmsr(source, 16)
    assert vcpu.guest.rdmsr(source).value == 16


@pytest.mark.promise(de_facto=HABIT)
def test_masked_source_may_have_any_vector(vm: X86Vm) -> None:
    """A masked source takes a vector below 16: nested Hyper-V writes 0x10000 when it boots."""
    vcpu = with_synic(vm)
    source = msr_index.HV_X64_MSR_SINT0 + 4
    vcpu.guest.wrmsr(source, 16)

    vcpu.guest.wrmsr(source, HV_SYNIC_SINT_MASKED)

    assert vcpu.guest.rdmsr(source).value == HV_SYNIC_SINT_MASKED


@pytest.mark.promise(documented=API)
@pytest.mark.parametrize(("msr", "value"), WRITTEN)
def test_registers_need_the_capability(vm: X86Vm, msr: int, value: int) -> None:
    """Without KVM_CAP_HYPERV_SYNIC2 on the vCPU, its guest's writes are #GP and user space's are refused."""
    vcpu = without_synic(vm)

    assert is_refused(vcpu, msr, value)
    with pytest.raises(MsrRefused):
        vcpu.set_msr(msr, value)


@pytest.mark.promise(de_facto=HABIT)
@pytest.mark.parametrize("msr", MSRS)
def test_user_space_may_write_zero_without_the_capability(vm: X86Vm, msr: int) -> None:
    """A VMM that resets all MSRs may write 0 to those of a controller that is not enabled."""
    vcpu = without_synic(vm)

    vcpu.set_msr(msr, 0)


@pytest.mark.promise(de_facto=HABIT)
def test_capability_needs_an_apic(vm: X86Vm, vcpu: X86Vcpu) -> None:
    """Without an in-kernel APIC the capability is refused: EINVAL."""
    require_hyperv(vm)
    vm.require(uapi.KVM_CAP_HYPERV_SYNIC2)
    enlighten(vcpu)

    with refused(errno.EINVAL):
        vcpu.enable_cap(uapi.KVM_CAP_HYPERV_SYNIC2)


@pytest.mark.promise(documented=API)
@pytest.mark.parametrize(
    ("capability", "kept"),
    [
        pytest.param(uapi.KVM_CAP_HYPERV_SYNIC, bytes(layout.PAGE_SIZE), id="cleared-by-the-first"),
        pytest.param(uapi.KVM_CAP_HYPERV_SYNIC2, FILLED, id="kept-by-the-second"),
    ],
)
def test_guest_enables_its_message_page(vm: X86Vm, capability: int, kept: bytes) -> None:
    """A page that the guest enables is cleared with KVM_CAP_HYPERV_SYNIC, not with the newer one."""
    vcpu = with_synic(vm, capability=capability)
    place = fill_message_page(vcpu)

    guest_writes(vcpu, msr_index.HV_X64_MSR_SIMP, simp(vcpu))

    assert bytes(vm.memory[place]) == kept


@pytest.mark.promise(documented=API)
@pytest.mark.parametrize("capability", [uapi.KVM_CAP_HYPERV_SYNIC, uapi.KVM_CAP_HYPERV_SYNIC2])
def test_user_space_restores_a_message_page(vm: X86Vm, capability: int) -> None:
    """A page that user space enables keeps the messages in it: they were restored before."""
    vcpu = with_synic(vm, capability=capability)
    place = fill_message_page(vcpu)

    vcpu.set_msr(msr_index.HV_X64_MSR_SIMP, simp(vcpu))
    vcpu.guest.read_tsc()

    assert bytes(vm.memory[place]) == FILLED


@pytest.mark.promise(documented=EXITS)
def test_user_space_learns_of_pages(vm: X86Vm) -> None:
    """The guest's writes of SIMP, SIEFP and SCONTROL leave to user space with the state that they make."""
    vcpu = with_synic(vm)
    vcpu.set_msr(msr_index.HV_X64_MSR_SIMP, 0)
    events = layout.message_page(1) | 1

    seen = [
        guest_writes(vcpu, msr_index.HV_X64_MSR_SIMP, simp(vcpu)),
        guest_writes(vcpu, msr_index.HV_X64_MSR_SIEFP, events),
        guest_writes(vcpu, msr_index.HV_X64_MSR_SCONTROL, 0),
    ]

    assert [each.state for each in seen] == [
        (HV_SYNIC_CONTROL_ENABLE, 0, simp(vcpu)),
        (HV_SYNIC_CONTROL_ENABLE, events, simp(vcpu)),
        (0, events, simp(vcpu)),
    ]
    assert [each.msr for each in seen] == [
        msr_index.HV_X64_MSR_SIMP,
        msr_index.HV_X64_MSR_SIEFP,
        msr_index.HV_X64_MSR_SCONTROL,
    ]


@pytest.mark.promise(documented=EXITS)
@pytest.mark.parametrize(
    "msr", [msr_index.HV_X64_MSR_SIMP, msr_index.HV_X64_MSR_SIEFP], ids=["simp", "siefp"]
)
def test_page_taken_away_is_announced_by_its_vcpu(vm: X86Vm, msr: int) -> None:
    """A page that the guest disables leaves to user space by its register; another vCPU keeps its page."""
    vcpus = [with_synic(vm, number) for number in range(2)]
    for vcpu in vcpus:
        vcpu.set_msr(msr, layout.message_page(vcpu.id) | 1)

    left = guest_writes(vcpus[1], msr, 0)

    assert (left.msr, vcpus[1].get_msr(msr)) == (msr, 0)
    assert vcpus[0].get_msr(msr) == layout.message_page(0) | 1


@pytest.mark.promise(de_facto=HABIT)
def test_control_that_stays_is_announced_as_well(vm: X86Vm) -> None:
    """The guest's write of SCONTROL leaves though it changes nothing; that of user space does not leave."""
    vcpu = with_synic(vm)
    place = layout.message_page(vcpu.id) | 1

    seen = [guest_writes(vcpu, msr_index.HV_X64_MSR_SCONTROL, HV_SYNIC_CONTROL_ENABLE) for _ in range(2)]
    vcpu.set_msr(msr_index.HV_X64_MSR_SCONTROL, 0)
    vcpu.guest.load("tsc")
    left = vcpu.run()

    assert [(each.msr, each.state) for each in seen] == 2 * [
        (msr_index.HV_X64_MSR_SCONTROL, (HV_SYNIC_CONTROL_ENABLE, 0, place))
    ]
    assert isinstance(left, IoExit)


@pytest.mark.promise(de_facto=HABIT)
def test_end_of_message_reads_as_zero(vm: X86Vm) -> None:
    """HV_X64_MSR_EOM reads 0, whatever was written."""
    vcpu = with_synic(vm)

    vcpu.guest.wrmsr(msr_index.HV_X64_MSR_EOM, 7)

    assert vcpu.guest.rdmsr(msr_index.HV_X64_MSR_EOM).value == 0
    assert vcpu.get_msr(msr_index.HV_X64_MSR_EOM) == 0
