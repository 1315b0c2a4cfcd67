# SPDX-License-Identifier: GPL-2.0-only
"""Offsets of the time base are rounded up to 2**24 ticks, so a time base is not restored exactly.

Source: arch/powerpc/kvm/book3s_hv.c: kvmppc_set_one_reg_hv() ("round up to multiple of 2^24"), because
mtspr TBU40 writes the upper 40 bits only (Power ISA, Book III, Time Base).
"""

from __future__ import annotations

import pytest

from fixtures.counters import Window
from fixtures.kvm.powerpc.vcpu import PpcVcpu
from fixtures.kvm.powerpc.vm import PpcVm
from fixtures.kvm.system import Kvm
from kvmtests.powerpc.timebase import STEP, rounded

pytestmark = pytest.mark.promise(de_facto="Linux 6.12 to 7.2")

BETWEEN = [
    pytest.param(1, id="one"),
    pytest.param(STEP - 1, id="step-less-one"),
    pytest.param(STEP + 1, id="step-and-one"),
    pytest.param(2**36 + 0xABCDEF, id="beyond-two-to-36"),
    pytest.param(2**64 - 1, id="minus-one"),
    pytest.param(2**64 - STEP + 1, id="minus-step-and-one"),
    pytest.param(2**63 + 1, id="beyond-two-to-63"),
]
"""Offsets between two multiples of 2**24."""
RESTORES = 10


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_SET_ONE_REG")
@pytest.mark.parametrize("offset", BETWEEN)
def test_any_offset_reads_back(vcpu: PpcVcpu, offset: int) -> None:
    """KVM_SET_ONE_REG sets the offset to the value given, whatever it is."""
    vcpu.timebase_offset = offset

    assert vcpu.timebase_offset == offset


@pytest.mark.parametrize("offset", BETWEEN)
def test_offset_is_rounded_up(vcpu: PpcVcpu, offset: int) -> None:
    """An offset becomes the next multiple of 2**24: the guest's time base is never less than meant."""
    vcpu.timebase_offset = offset

    assert vcpu.timebase_offset == rounded(offset)


@pytest.mark.parametrize("offset", BETWEEN)
def test_guest_has_the_offset_that_reads_back(vcpu: PpcVcpu, offset: int) -> None:
    """What KVM_GET_ONE_REG returns is what the guest's time base has."""
    vcpu.timebase_offset = offset

    reading = vcpu.guest.read_timebase()

    assert reading.value in reading.window.shifted(vcpu.timebase_offset)


def test_rounded_offset_is_not_rounded_again(vcpu: PpcVcpu) -> None:
    """An offset that was read can be written again without moving the guest."""
    vcpu.timebase_offset = 2**36 + 1
    saved = vcpu.timebase_offset

    vcpu.timebase_offset = saved

    assert vcpu.timebase_offset == saved


def test_restored_count_is_ahead(kvm: Kvm[PpcVm], vcpu: PpcVcpu) -> None:
    """A count that is restored by an offset computed for it is 0 to 2**24 - 1 ticks ahead, never back."""
    saved = vcpu.guest.read_timebase().value
    restored = kvm.create_vm().create_vcpu(0)

    host = restored.vm.time.counter()
    restored.timebase_offset = saved - host

    reading = restored.guest.read_timebase()
    since = reading.since(host, host)
    ahead = Window(since.first + saved, since.last + saved + STEP - 1)
    assert reading.value in ahead


def test_restores_add_up(kvm: Kvm[PpcVm], vcpu: PpcVcpu) -> None:
    """Each further restore may take the guest ahead again: after ten, by up to ten times 2**24 ticks.

    Counts are chosen so that each offset needed is one tick more than a multiple of 2**24.
    """
    ahead = 0
    vcpu.timebase_offset = 2**36
    for _ in range(RESTORES):
        needed = vcpu.timebase_offset + 1
        vcpu = kvm.create_vm().create_vcpu(0)
        vcpu.timebase_offset = needed
        ahead += vcpu.timebase_offset - needed

    reading = vcpu.guest.read_timebase()

    assert ahead == RESTORES * (STEP - 1)
    assert reading.value in reading.window.shifted(2**36 + RESTORES + ahead)
