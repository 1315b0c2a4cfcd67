# SPDX-License-Identifier: GPL-2.0-only
"""The SBI of KVM as far as it is about time: which extensions there are, and when they can be switched.

Source: arch/riscv/kvm/vcpu_sbi.c, vcpu_sbi_replace.c: kvm_sbi_ext_time_handler(); RISC-V SBI.
"""

from __future__ import annotations

import errno
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from fixtures.kvm.errors import CapabilityMissing
from fixtures.kvm.expect import refused
from fixtures.kvm.riscv.vcpu import RiscvVcpu
from fixtures.targets import Target
from fixtures.uapi.riscv.kvm import (
    KVM_RISCV_ISA_EXT_SSTC,
    KVM_RISCV_SBI_EXT_TIME,
    isa_ext_reg,
    sbi_ext_reg,
)
from fixtures.uapi.riscv.sbi import (
    SBI_ERR_NOT_SUPPORTED,
    SBI_EXT_0_1_SET_TIMER,
    SBI_EXT_BASE,
    SBI_EXT_BASE_PROBE_EXT,
    SBI_EXT_TIME,
    SBI_SUCCESS,
)
from kvmtests.riscv.timers import FAR, NEVER

pytestmark = pytest.mark.promise(architectural="RISC-V SBI, Timer Extension")

TIME = sbi_ext_reg(KVM_RISCV_SBI_EXT_TIME)
SSTC = isa_ext_reg(KVM_RISCV_ISA_EXT_SSTC)
HABIT = "Linux 6.12 to 7.2"


@pytest.fixture
def rounds(target: Target) -> int:
    """How many deadlines are set; on a simulated host nothing is preempted."""
    return 10 if target.simulated else 500


@contextmanager
def competing() -> Iterator[None]:
    """Keep another thread busy, which competes for this thread's CPU."""
    ended, work = threading.Event(), bytes(1 << 20)

    def compete() -> None:
        while not ended.is_set():
            zlib.crc32(work)

    thread = threading.Thread(target=compete, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def offered(vcpu: RiscvVcpu, extension: int) -> bool:
    """Return whether the SBI says that it has *extension*."""
    answer = vcpu.guest.call_sbi(SBI_EXT_BASE, SBI_EXT_BASE_PROBE_EXT, extension)
    assert answer.error == SBI_SUCCESS
    return answer.value != 0


def test_set_timer_succeeds_and_is_compare(vcpu: RiscvVcpu) -> None:
    """The SBI's set_timer takes a value of the guest's time, which user space reads as compare."""
    vcpu.time = 2**40

    answer = vcpu.guest.set_timer(FAR)

    assert (answer.error, vcpu.compare) == (SBI_SUCCESS, FAR)


@pytest.mark.parametrize("deadline", [0, 2**63, NEVER], ids=["zero", "two-to-63", "never"])
@pytest.mark.usefixtures("no_sstc")
def test_set_timer_takes_any_deadline(vcpu: RiscvVcpu, deadline: int) -> None:
    """Without Sstc, where none is lost, user space reads every deadline of set_timer as compare."""
    answer = vcpu.guest.set_timer(deadline)

    assert (answer.error, vcpu.compare) == (SBI_SUCCESS, deadline)


def test_every_deadline_is_kept(vcpu: RiscvVcpu, rounds: int) -> None:
    """Each deadline that set_timer accepts is compare afterwards, also if the vCPU's thread is preempted."""
    kept = []
    with competing():
        for number in range(rounds):
            vcpu.guest.set_timer(FAR + number)
            kept.append(vcpu.compare)

    assert [found - FAR for found in kept] == list(range(rounds))


@pytest.mark.promise(architectural="RISC-V SBI, Base Extension")
def test_timer_extension_is_offered(vcpu: RiscvVcpu) -> None:
    """A guest that probes for the Timer Extension finds it."""
    assert offered(vcpu, SBI_EXT_TIME)


@pytest.mark.parametrize("function", [1, 2**31], ids=["one", "two-to-31"])
def test_unknown_function_is_not_supported(vcpu: RiscvVcpu, function: int) -> None:
    """Another function of the Timer Extension gives SBI_ERR_NOT_SUPPORTED and sets no deadline."""
    answer = vcpu.guest.call_sbi(SBI_EXT_TIME, function, FAR)

    assert (answer.error, vcpu.compare) == (SBI_ERR_NOT_SUPPORTED, NEVER)


@pytest.mark.promise(architectural="RISC-V SBI, Legacy Extensions")
def test_legacy_set_timer_sets_the_deadline(vcpu: RiscvVcpu) -> None:
    """The legacy call sets the deadline as the Timer Extension's does."""
    if not offered(vcpu, SBI_EXT_0_1_SET_TIMER):
        raise CapabilityMissing("KVM_RISCV_SBI_EXT_V01")

    vcpu.guest.call_sbi(SBI_EXT_0_1_SET_TIMER, 0, FAR)

    assert vcpu.compare == FAR


@pytest.mark.promise(de_facto=HABIT)
def test_timer_extension_can_be_switched_off(vcpu: RiscvVcpu) -> None:
    """User space takes the Timer Extension from a vCPU before it runs: its guest finds and gets none."""
    vcpu.set_reg(TIME, 0)

    answer = vcpu.guest.set_timer(FAR)

    assert (vcpu.get_reg(TIME), answer.error, vcpu.compare) == (0, SBI_ERR_NOT_SUPPORTED, NEVER)
    assert not offered(vcpu, SBI_EXT_TIME)


@pytest.mark.promise(de_facto=HABIT)
def test_extension_of_one_vcpu_is_not_anothers(vcpus: list[RiscvVcpu]) -> None:
    """Switching the Timer Extension off on one vCPU leaves it on another."""
    vcpus[0].set_reg(TIME, 0)

    assert vcpus[1].guest.set_timer(FAR).error == SBI_SUCCESS


@pytest.mark.promise(de_facto=HABIT)
def test_later_vcpu_lacks_what_it_was_denied(vcpus: list[RiscvVcpu]) -> None:
    """Switching the Timer Extension off on vCPU 1 takes it from its guest's calls, and from no other's."""
    vcpus[1].set_reg(TIME, 0)

    errors = [vcpu.guest.set_timer(FAR).error for vcpu in vcpus]

    assert errors == [SBI_SUCCESS, SBI_ERR_NOT_SUPPORTED]


@pytest.mark.promise(de_facto=HABIT)
def test_timer_extension_stays_once_the_vcpu_ran(vcpu: RiscvVcpu) -> None:
    """After KVM_RUN another value gives EBUSY."""
    vcpu.guest.read_time()

    with refused(errno.EBUSY):
        vcpu.set_reg(TIME, 0)


@pytest.mark.promise(de_facto=HABIT)
@pytest.mark.parametrize("value", [2, 2**64 - 1], ids=["two", "all-ones"])
def test_other_value_of_the_extension_is_refused(vcpu: RiscvVcpu, value: int) -> None:
    """A value that is neither 0 nor 1 gives EINVAL; after KVM_RUN the EBUSY comes first."""
    with refused(errno.EINVAL):
        vcpu.set_reg(TIME, value)
    vcpu.guest.read_time()

    with refused(errno.EBUSY):
        vcpu.set_reg(TIME, value)


@pytest.mark.promise(de_facto=HABIT)
@pytest.mark.usefixtures("sstc")
def test_own_value_of_sstc_is_accepted_after_a_run(vcpu: RiscvVcpu) -> None:
    """The value that the extension has can be written after KVM_RUN; the other one gives EBUSY."""
    vcpu.guest.read_time()

    vcpu.set_reg(SSTC, 1)

    with refused(errno.EBUSY):
        vcpu.set_reg(SSTC, 0)
