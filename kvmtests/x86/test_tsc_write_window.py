# SPDX-License-Identifier: GPL-2.0-only
"""User space writes IA32_TSC by value: less than a second off, KVM takes it for "as the others".

A value within a second of what the last written TSC has reached by now joins the vCPU to the
current TSC generation, and is itself discarded; any other value is taken literally and starts a
generation. The master clock shows whether all vCPUs are of one generation.

Source: arch/x86/kvm/x86.c: kvm_synchronize_tsc().
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import pytest

from fixtures.counters import NSEC_PER_MSEC
from fixtures.kvm.errors import HarnessError
from fixtures.kvm.spans import spanned
from fixtures.kvm.system import Kvm
from fixtures.kvm.values import ClockFlags
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.uapi.x86.msr_index import MSR_IA32_TSC
from kvmtests.windows import timed
from kvmtests.x86.clocks import check_tsc_continues, continued, flags_after_entry, host_reading

pytestmark = [pytest.mark.promise(de_facto="Linux 5.10 to 7.3"), pytest.mark.thorough]

ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class Write:
    """One write of a vCPU's IA32_TSC: *seconds* in its ticks, *pause_ms* after the previous write."""

    vcpu: int
    seconds: float
    pause_ms: int = 0


def at_once(kvm: Kvm[X86Vm], *writes: Write, pauses_within_ms: int = 400) -> list[X86Vcpu]:
    """Return two vCPUs of a new VM that user space has written to, one write right after the other.

    The window depends on elapsed time, which a busy host stretches: an attempt that took longer
    than *pauses_within_ms* beyond its pauses does not arrange what the claim needs, and is repeated.
    """
    pauses_ms = sum(write.pause_ms for write in writes)
    for _ in range(ATTEMPTS):
        vcpus = two_vcpus(kvm)
        span, _ = spanned(vcpus[0].vm.time, partial(play, vcpus, writes))
        last_ns = span.raw_ns.width
        if last_ns <= (pauses_ms + pauses_within_ms) * NSEC_PER_MSEC:
            return vcpus
    raise HarnessError(
        f"this host is too busy: {ATTEMPTS} times the writes took too long, {last_ns} ns at last"
    )


def two_vcpus(kvm: Kvm[X86Vm]) -> list[X86Vcpu]:
    """Return vCPUs 0 and 1 of a new VM."""
    vm = kvm.create_vm()
    return [vm.create_vcpu(0), vm.create_vcpu(1)]


def play(vcpus: list[X86Vcpu], writes: tuple[Write, ...]) -> None:
    """Make the writes in their order, each after its pause."""
    for write in writes:
        vcpus[0].vm.time.sleep_ns(write.pause_ms * NSEC_PER_MSEC)
        vcpus[write.vcpu].set_msr(MSR_IA32_TSC, ticks(vcpus[0], write.seconds))


def ticks(vcpu: X86Vcpu, seconds: float) -> int:
    """Return *seconds* in ticks of the vCPU's TSC."""
    return round(seconds * vcpu.tsc_khz * 1000)


JOINING = [
    pytest.param([Write(0, 100), Write(1, 100)], id="same"),
    pytest.param([Write(0, 100), Write(1, 100.5)], id="half-a-second-ahead"),
    pytest.param([Write(0, 100), Write(1, 99.5)], id="half-a-second-behind"),
    pytest.param([Write(0, 100), Write(1, 100.95)], id="just-below-a-second-ahead"),
    pytest.param([Write(0, 100), Write(1, 0)], id="zero"),
    pytest.param([Write(0, 0.5), Write(1, 0.5)], id="small"),
    pytest.param([Write(0, 0)], id="only-zero"),
    pytest.param([Write(0, 0), Write(1, 0)], id="zero-twice"),
    pytest.param(
        [Write(0, 100), Write(1, 100.9), Write(1, 101.8), Write(1, 102.7)], id="chain-slides-the-window"
    ),
    pytest.param([Write(0, 100), Write(1, 101.05, pause_ms=100)], id="elapsed-time-counts"),
    pytest.param([Write(0, 100), Write(1, 200), Write(0, 200)], id="back-together"),
]

PARTING = [
    pytest.param([Write(0, 0.0000005)], id="first-write-tiny"),
    pytest.param([Write(0, 0.5)], id="first-write-near-the-start-value"),
    pytest.param([Write(0, 100), Write(1, 102)], id="two-seconds-ahead"),
    pytest.param([Write(0, 100), Write(1, 98)], id="two-seconds-behind"),
    pytest.param([Write(0, 100), Write(1, 101.5)], id="above-a-second-ahead"),
    pytest.param([Write(0, 100), Write(1, 99)], id="a-second-behind"),
    pytest.param([Write(0, 100), Write(1, 99.05, pause_ms=100)], id="stale"),
    pytest.param([Write(0, 100), Write(1, 100), Write(0, 102)], id="apart-again"),
]


@pytest.mark.usefixtures("tsc_clocksource")
@pytest.mark.parametrize("writes", JOINING)
def test_write_within_a_second_joins(kvm: Kvm[X86Vm], writes: list[Write]) -> None:
    """Less than a second off, or 0: both vCPUs have one offset, and the master clock is on."""
    first, second = at_once(kvm, *writes)

    assert flags_after_entry(first, second) == first.vm.master_clock_flags
    assert first.tsc_offset == second.tsc_offset


@pytest.mark.before("master_clock_with_offsets")
@pytest.mark.usefixtures("tsc_clocksource")
@pytest.mark.parametrize("writes", PARTING)
def test_write_beyond_a_second_parts(kvm: Kvm[X86Vm], writes: list[Write]) -> None:
    """A second off or more, or user space's first value, starts a generation: the master clock is off."""
    vcpus = at_once(kvm, *writes)

    assert flags_after_entry(*vcpus) == ClockFlags(0)


@pytest.mark.usefixtures("stable_tsc", "settable_tsc")
@pytest.mark.parametrize(
    "seconds", [pytest.param(0.0000005, id="tiny"), pytest.param(0.5, id="half-a-second")]
)
def test_first_write_is_literal(vcpu: X86Vcpu, seconds: float) -> None:
    """User space's first value is taken literally, however close to the value a new vCPU starts with.

    Since Linux commit bf328e22e472 ("KVM: x86: Don't sync user-written TSC against startup
    values") (in v6.7).
    """
    written, _ = timed(vcpu.vm, lambda: vcpu.set_msr(MSR_IA32_TSC, ticks(vcpu, seconds)))

    check_tsc_continues(vcpu, ticks(vcpu, seconds), since=written)


@pytest.mark.usefixtures("stable_tsc", "settable_tsc")
def test_write_beyond_a_second_is_literal(vcpus: list[X86Vcpu]) -> None:
    """A value that does not join is taken literally; the other vCPU's TSC stays on its line."""
    first, second = vcpus
    written_first, _ = timed(first.vm, lambda: first.set_msr(MSR_IA32_TSC, ticks(first, 100)))

    written, _ = timed(second.vm, lambda: second.set_msr(MSR_IA32_TSC, ticks(second, 90)))

    check_tsc_continues(second, ticks(second, 90), since=written)
    check_tsc_continues(first, ticks(first, 100), since=written_first)


@pytest.mark.usefixtures("stable_tsc", "settable_tsc")
def test_write_of_zero_keeps_the_tsc(vcpus: list[X86Vcpu]) -> None:
    """Writing 0 does not set the TSC to 0: the vCPU joins the line of the others."""
    first, second = vcpus
    written, _ = timed(first.vm, lambda: first.set_msr(MSR_IA32_TSC, ticks(first, 100)))

    second.set_msr(MSR_IA32_TSC, 0)
    first.set_msr(MSR_IA32_TSC, 0)

    for vcpu in vcpus:
        check_tsc_continues(vcpu, ticks(vcpu, 100), since=written)


@pytest.mark.usefixtures("stable_tsc", "settable_tsc")
def test_new_vcpu_joins_the_line(vm: X86Vm, vcpu: X86Vcpu) -> None:
    """A vCPU created later counts on the others' line, and its VM's master clock stays as it is."""
    written, _ = timed(vm, lambda: vcpu.set_msr(MSR_IA32_TSC, ticks(vcpu, 100)))
    flags = flags_after_entry(vcpu)

    later = vm.create_vcpu(1)

    assert vm.clock().flags == flags
    assert later.tsc_offset == vcpu.tsc_offset
    assert flags_after_entry(vcpu, later) == flags
    check_tsc_continues(later, ticks(vcpu, 100), since=written)


@pytest.mark.usefixtures("stable_tsc", "settable_tsc")
@pytest.mark.generation("upstream")
def test_value_near_an_offset_snaps_to_it(vcpus: list[X86Vcpu]) -> None:
    """A value within a second of another vCPU's TSC gives the vCPU just that vCPU's offset."""
    first, second = vcpus
    first.tsc_offset = 2**44

    second.set_msr(MSR_IA32_TSC, second.vm.time.counter() + 2**44)

    assert (first.tsc_offset, second.tsc_offset) == (2**44, 2**44)


@pytest.mark.generation("upstream")
@pytest.mark.usefixtures("tsc_clocksource")
def test_value_near_an_offset_keeps_the_master_clock(vcpus: list[X86Vcpu]) -> None:
    """The offset attribute counts as a write of user space: a fitting value joins its generation."""
    first, second = vcpus
    first.tsc_offset = 2**44

    second.set_msr(MSR_IA32_TSC, second.vm.time.counter() + 2**44)

    assert flags_after_entry(first, second) == first.vm.master_clock_flags


@pytest.mark.promise(documented="Documentation/virt/kvm/devices/vcpu.rst, KVM_VCPU_TSC_OFFSET")
@pytest.mark.usefixtures("stable_tsc")
def test_offset_stays_by_itself(vcpu: X86Vcpu) -> None:
    """The offset changes only when it is written: not by time, entries or kvmclock."""
    vcpu.set_msr(MSR_IA32_TSC, ticks(vcpu, 100))
    vcpu.guest.enable_kvmclock()
    tsc_offset = vcpu.tsc_offset

    for _ in range(3):
        vcpu.vm.time.sleep_ns(5 * NSEC_PER_MSEC)
        vcpu.vm.set_clock(0)
        vcpu.guest.read_kvmclock()

    assert vcpu.tsc_offset == tsc_offset


@pytest.mark.usefixtures("stable_tsc", "settable_tsc")
def test_a_late_value_is_late_and_a_late_offset_is_not(vcpu: X86Vcpu) -> None:
    """A value counts from when it is written, however old it is; an offset does not depend on when."""
    host_tsc = vcpu.vm.time.counter()
    vcpu.vm.time.sleep_ns(20 * NSEC_PER_MSEC)

    written, _ = timed(vcpu.vm, lambda: vcpu.set_msr(MSR_IA32_TSC, host_tsc + 2**44))
    by_value = host_reading(vcpu)
    vcpu.tsc_offset = 2**44
    by_offset = host_reading(vcpu)

    assert by_value.value in continued(host_tsc + 2**44, written, by_value.window)
    assert by_offset.value in by_offset.window.shifted(2**44)
