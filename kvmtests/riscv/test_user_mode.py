# SPDX-License-Identifier: GPL-2.0-only
"""Time in the guest's user mode: what scounteren allows, and nothing of KVM changes that.

Source: RISC-V Privileged Architecture, scounteren; arch/riscv/kvm/vcpu.c:
kvm_riscv_vcpu_swap_in_guest_state().
"""

from __future__ import annotations

import pytest

from fixtures.kvm.errors import GuestFault
from fixtures.kvm.riscv.vcpu import RiscvVcpu
from fixtures.uapi.riscv import kvm as kvm_riscv
from fixtures.uapi.riscv.csr import EXC_INST_ILLEGAL, SCOUNTEREN_TM

pytestmark = pytest.mark.promise(architectural="RISC-V Privileged Architecture, scounteren")

COUNTERS = 0x7  # cycle, time, instret


def enter_user_mode(vcpu: RiscvVcpu, scounteren: int) -> None:
    """Let the next program, which reads the time, start in user mode."""
    vcpu.guest.restart("time")
    vcpu.set_reg(kvm_riscv.csr_reg("scounteren"), scounteren)
    vcpu.set_reg(kvm_riscv.core_reg("mode"), kvm_riscv.KVM_RISCV_MODE_U)


def test_user_mode_reads_the_time(vcpu: RiscvVcpu) -> None:
    """With scounteren.TM, user mode reads the time that supervisor mode reads."""
    vcpu.time = 2**40
    first = vcpu.guest.read_time()

    enter_user_mode(vcpu, SCOUNTEREN_TM)
    reading = vcpu.guest.read_time()

    assert vcpu.get_reg(kvm_riscv.core_reg("mode")) == kvm_riscv.KVM_RISCV_MODE_U
    assert reading.value - first.value in range(reading.after - first.before + 1)


def test_user_mode_has_no_time_without_scounteren(vcpu: RiscvVcpu) -> None:
    """Without scounteren.TM, rdtime in user mode is an illegal instruction."""
    enter_user_mode(vcpu, COUNTERS & ~SCOUNTEREN_TM)

    with pytest.raises(GuestFault) as fault:
        vcpu.guest.read_time()

    assert fault.value.vector == EXC_INST_ILLEGAL
