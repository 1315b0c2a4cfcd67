# SPDX-License-Identifier: GPL-2.0-only
"""The decrementer: KVM keeps at which time base count of the guest it passes 0, and shows it.

Source: arch/powerpc/kvm/book3s_hv.c: KVM_REG_PPC_DEC_EXPIRY; kvmppc_dec_expires_host_tb() in
arch/powerpc/kvm/book3s_hv.h, relative to the guest's time base since Linux v5.16.
"""

from __future__ import annotations

import pytest

from fixtures.counters import Window
from fixtures.kvm.errors import CapabilityMissing
from fixtures.kvm.powerpc.vcpu import PpcVcpu
from fixtures.uapi.powerpc.kvm import KVM_REG_PPC_LPCR_64
from fixtures.uapi.powerpc.reg import LPCR_LD
from kvmtests.powerpc.timebase import OFFSETS, guest_now

pytestmark = pytest.mark.promise(de_facto="Linux 6.12 to 7.2")

VALUES = [
    pytest.param(2**20, id="two-to-20"),
    pytest.param(2**30, id="two-to-30"),
    pytest.param(2**31 - 1, id="largest"),
    pytest.param(2**32 - 2**30, id="minus-two-to-30"),
    pytest.param(2**32 - 1, id="minus-one"),
]
"""What a decrementer of 32 bits can hold, as the guest writes it."""


@pytest.fixture
def large(vcpu: PpcVcpu) -> PpcVcpu:
    """A vCPU whose decrementer has more than 32 bits."""
    vcpu.use_large_decrementer()
    if not vcpu.get_reg(KVM_REG_PPC_LPCR_64) & LPCR_LD:
        raise CapabilityMissing("LPCR.LD")
    return vcpu


def test_deadline_of_a_new_vcpu_is_0(vcpu: PpcVcpu) -> None:
    """KVM_REG_PPC_DEC_EXPIRY begins at 0."""
    assert vcpu.deadline_ticks == 0


@pytest.mark.parametrize("offset", OFFSETS)
def test_guest_reads_the_time_to_the_deadline(vcpu: PpcVcpu, offset: int) -> None:
    """The decrementer is the deadline less the guest's time base, whatever the offset."""
    vcpu.timebase_offset = offset
    vcpu.deadline_ticks = deadline_ticks = (guest_now(vcpu) + 2**30) % 2**64

    access = vcpu.guest.read_decrementer()

    assert deadline_ticks in access.deadline()


@pytest.mark.parametrize("value", VALUES)
def test_guest_sets_the_deadline(vcpu: PpcVcpu, value: int) -> None:
    """A value that the guest writes to the decrementer becomes a deadline: time base + value, signed."""
    vcpu.timebase_offset = 2**36

    access = vcpu.guest.write_decrementer(value)

    assert vcpu.deadline_ticks in access.deadline()


def test_deadline_long_past_comes_around(vcpu: PpcVcpu) -> None:
    """Of a deadline that passed 3 * 2**30 ticks ago a decrementer of 32 bits shows one that lies ahead."""
    vcpu.deadline_ticks = guest_now(vcpu) - 2**32 + 2**30

    access = vcpu.guest.read_decrementer()

    assert access.value < 2**31


@pytest.mark.parametrize("offset", [2**64 - 2**36, 2**36])
def test_deadline_is_a_count_of_the_guest(vcpu: PpcVcpu, offset: int) -> None:
    """An offset written after the deadline leaves it: what changes is how long it is until then."""
    vcpu.deadline_ticks = deadline_ticks = (guest_now(vcpu) + offset + 2**30) % 2**64

    vcpu.timebase_offset = offset

    access = vcpu.guest.read_decrementer()
    assert deadline_ticks in access.deadline()


def test_deadline_stays_over_runs(vcpu: PpcVcpu) -> None:
    """Entries and exits leave the deadline, except for the time that KVM is at it."""
    vcpu.deadline_ticks = deadline_ticks = guest_now(vcpu) + 2**31 - 2**20
    inside = 0

    for _ in range(20):
        inside += vcpu.guest.read_timebase().window.width

    assert vcpu.deadline_ticks in Window(deadline_ticks, deadline_ticks).widened(inside)


def test_deadline_stays_while_nothing_runs(vcpu: PpcVcpu) -> None:
    """Without a run the deadline is the same after 20 ms, also one that has passed."""
    vcpu.deadline_ticks = deadline_ticks = guest_now(vcpu) + 1000

    vcpu.vm.time.sleep_ns(20_000_000)

    assert vcpu.deadline_ticks == deadline_ticks


def test_vcpus_keep_different_deadlines(vcpus: list[PpcVcpu]) -> None:
    """A deadline is one vCPU's."""
    for number, vcpu in enumerate(vcpus):
        vcpu.deadline_ticks = 2**40 + number

    assert [vcpu.deadline_ticks for vcpu in vcpus] == [2**40, 2**40 + 1]


def test_large_decrementer_has_more_bits(large: PpcVcpu) -> None:
    """With LPCR.LD the guest reads a deadline beyond 2**32 ticks."""
    large.deadline_ticks = deadline_ticks = guest_now(large) + 2**33

    access = large.guest.read_decrementer()

    assert deadline_ticks in access.deadline(bits=64)


def test_large_decrementer_keeps_a_deadline_long_past(large: PpcVcpu, second: int) -> None:
    """With LPCR.LD a deadline that passed 3 * 2**30 ticks ago interrupts at once."""
    large.deadline_ticks = guest_now(large) - 2**32 + 2**30

    assert large.guest.await_decrementer(guest_now(large) + second)


@pytest.mark.parametrize("value", [2**33, 2**50, 2**64 - 2**33])
def test_guest_sets_a_large_deadline(large: PpcVcpu, value: int) -> None:
    """With LPCR.LD a value of more than 32 bits becomes a deadline, also a negative one."""
    access = large.guest.write_decrementer(value)

    assert large.deadline_ticks in access.deadline(bits=64)
