# SPDX-License-Identifier: GPL-2.0-only
"""A guest hypervisor and its own guest: what changes when EL2 enters EL1, and how EL1 comes back.

Source: Arm ARM, ERET, HVC, CNTVOFF_EL2; arch/arm64/kvm/emulate-nested.c: kvm_emulate_nested_eret(),
kvm_inject_nested(); handle_exit.c: handle_hvc().
"""

from __future__ import annotations

import pytest

from fixtures.architectures import ARM64
from fixtures.guests import layout
from fixtures.guests.arm64.programs import PROGRAMS
from fixtures.kvm.arm64.vm import Arm64Vm
from fixtures.kvm.errors import GuestFault
from fixtures.uapi.arm64 import esr, sysreg
from kvmtests.arm64.el2 import EL1, EL2, KINDS, OFFSETS, VM_OFFSET, el2_vcpus, read

pytestmark = pytest.mark.promise(architectural="Arm ARM, CNTVOFF_EL2 and ERET")

HVC = 0xD400_0002


@pytest.mark.parametrize("vhe", KINDS)
def test_guest_of_the_hypervisor_counts_from_its_offset(vm: Arm64Vm, vhe: bool) -> None:
    """The CNTVOFF_EL2 that EL2 writes counts from its ERET to EL1 on, within one KVM_RUN, and not before."""
    vm.require_counter_offset()
    (vcpu,) = el2_vcpus(vm, vhe=vhe)
    vm.set_counter_offset(VM_OFFSET)
    vcpu.guest.enter(EL1).read_cntvct()  # turns EL1's MMU on

    for offset in OFFSETS:
        at_el2 = vcpu.guest.enter(EL2).run("guest_of_el2", (offset % 2**64,))
        _, virtual, physical = vcpu.guest.results(3)
        assert at_el2.value in at_el2.window.shifted(-VM_OFFSET)
        assert virtual in at_el2.window.shifted(-VM_OFFSET - offset)
        assert physical in at_el2.window.shifted(-VM_OFFSET)


@pytest.mark.promise(architectural="Arm ARM, HVC")
@pytest.mark.parametrize("vhe", KINDS)
def test_hvc_goes_to_the_guests_hypervisor(vm: Arm64Vm, vhe: bool) -> None:
    """HVC of EL1 is an exception to the vCPU's EL2, with the address after it in ELR_EL2."""
    (vcpu,) = el2_vcpus(vm, vhe=vhe)

    with pytest.raises(GuestFault):
        vcpu.guest.enter(EL1).run("hvc", (0, 0, 0, 0))

    syndrome = read(vcpu, sysreg.ESR_EL2)
    assert syndrome == esr.ESR_ELx_EC_HVC64 << esr.ESR_ELx_EC_SHIFT | esr.ESR_ELx_IL
    assert read(vcpu, sysreg.ELR_EL2) == layout.entry(ARM64.name, "hvc") + after_hvc()


def after_hvc() -> int:
    """Return where the program "hvc" continues after its HVC."""
    codes = [int.from_bytes(line.code, "little") for line in PROGRAMS["hvc"].listing]
    return 4 * (codes.index(HVC) + 1)
