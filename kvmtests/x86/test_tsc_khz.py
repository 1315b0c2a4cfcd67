# SPDX-License-Identifier: GPL-2.0-only
"""KVM_SET_TSC_KHZ: which frequencies KVM accepts, and what they do to the guest's TSC and kvmclock.

Source: Documentation/virt/kvm/api.rst, KVM_SET_TSC_KHZ and KVM_GET_TSC_KHZ;
arch/x86/kvm/x86.c: kvm_set_tsc_khz().
"""

from __future__ import annotations

import errno
from dataclasses import dataclass

import pytest

from fixtures.counters import NSEC_PER_MSEC, NSEC_PER_SEC, Window, wrap
from fixtures.kvm.errors import CapabilityMissing
from fixtures.kvm.expect import refused
from fixtures.kvm.values import MASTER_CLOCK, ClockFlags
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.uapi import kvm as uapi
from fixtures.uapi.x86.msr_index import MSR_IA32_TSC
from kvmtests.windows import timed
from kvmtests.x86.clocks import (
    check_tsc_continues,
    flags_after_entry,
    fraction_bits,
    host_reading,
    ticks_between,
)

pytestmark = [pytest.mark.promise(de_facto="Linux 6.1 to 7.3"), pytest.mark.thorough]

FAR = 2**45  # ticks, hours from where any TSC starts
# Each as a fraction of the host's frequency, in parts per thousand.
HALF = 500
SCALED = [
    pytest.param(HALF, id="half"),
    pytest.param(999, id="a-thousandth-less"),
    pytest.param(1001, id="a-thousandth-more"),
    pytest.param(1234, id="a-quarter-more"),
    pytest.param(3000, id="three-times"),
]


@dataclass(frozen=True, slots=True)
class KhzScaling:
    """The multiplication that gives a guest its frequency."""

    ratio: int
    fraction_bits: int

    def scaled(self, host_ticks: Window) -> Window:
        """Return the guest's ticks, before its offset, at the host's TSC in *host_ticks*."""
        first, last = host_ticks.first * self.ratio, host_ticks.last * self.ratio
        return Window(wrap(first >> self.fraction_bits), wrap(last >> self.fraction_bits))


@pytest.fixture
def hardware_scaling(vm: X86Vm) -> None:
    """This processor scales the TSC of guests."""
    vm.require(uapi.KVM_CAP_TSC_CONTROL)


@pytest.fixture
def no_hardware_scaling(vm: X86Vm) -> None:
    """This processor cannot scale the TSC of guests."""
    if vm.check_extension(uapi.KVM_CAP_TSC_CONTROL):
        raise CapabilityMissing("a processor without KVM_CAP_TSC_CONTROL")


def scaling(vcpu: X86Vcpu, host_khz: int) -> KhzScaling:
    """Return what KVM computes for the frequency of *vcpu* (arch/x86/kvm/x86.c: set_tsc_khz())."""
    bits = fraction_bits(vcpu)
    return KhzScaling((vcpu.tsc_khz << bits) // host_khz, bits)


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_SET_TSC_KHZ")
@pytest.mark.usefixtures("settable_tsc")
def test_new_vcpu_has_the_vms_frequency(vm: X86Vm) -> None:
    """A vCPU starts with the frequency that its VM reports; KVM_SET_TSC_KHZ 0 means the host's."""
    host_khz = vm.tsc_khz
    vm.tsc_khz = host_khz - 1

    first_khz = vm.create_vcpu(0).tsc_khz

    other = vm.create_vcpu(1)
    other.tsc_khz = 0
    assert (first_khz, vm.tsc_khz, other.tsc_khz) == (host_khz - 1, host_khz - 1, host_khz)


@pytest.mark.usefixtures("stable_tsc", "settable_tsc")
@pytest.mark.parametrize("ppm", [0, -200, 200], ids=["equal", "200-ppm-less", "200-ppm-more"])
def test_frequency_within_the_tolerance_runs_unscaled(vcpu: X86Vcpu, ppm: int) -> None:
    """A frequency within 250 ppm of the host's is accepted and reported; the TSC counts on as before."""
    start, tsc_offset = host_reading(vcpu), vcpu.tsc_offset
    khz = vcpu.tsc_khz * (1_000_000 + ppm) // 1_000_000

    vcpu.tsc_khz = khz

    assert (vcpu.tsc_khz, vcpu.tsc_offset) == (khz, tsc_offset)
    check_tsc_continues(vcpu, start.value, since=start.window)


@pytest.mark.usefixtures("stable_tsc", "settable_tsc")
@pytest.mark.parametrize("ppm", [-200, 200], ids=["200-ppm-less", "200-ppm-more"])
def test_frequency_within_the_tolerance_is_not_caught_up_with(vcpu: X86Vcpu, ppm: int) -> None:
    """However long the guest runs at such a frequency, KVM does not make its TSC catch up."""
    vcpu.tsc_khz = vcpu.tsc_khz * (1_000_000 + ppm) // 1_000_000
    tsc_offset = vcpu.tsc_offset

    for _ in range(3):
        vcpu.vm.time.sleep_ns(10_000_000)
        vcpu.guest.read_tsc()

    assert vcpu.tsc_offset == tsc_offset


@pytest.mark.usefixtures("no_hardware_scaling")
def test_slower_frequency_needs_scaling(vcpu: X86Vcpu) -> None:
    """Without hardware scaling a slower TSC is refused with EINVAL, and the old frequency stays."""
    host_khz = vcpu.tsc_khz

    with refused(errno.EINVAL):
        vcpu.tsc_khz = host_khz // 2

    assert vcpu.tsc_khz == host_khz


@pytest.mark.usefixtures("hardware_scaling")
def test_too_fast_frequency_is_refused(vm: X86Vm, vcpu: X86Vcpu) -> None:
    """A TSC frequency of 2**31 kHz is refused with EINVAL for vCPU and VM, and the old one stays."""
    host_khz = vcpu.tsc_khz

    with refused(errno.EINVAL):
        vcpu.tsc_khz = 2**31
    with refused(errno.EINVAL):
        vm.tsc_khz = 2**31

    assert (vcpu.tsc_khz, vm.tsc_khz) == (host_khz, host_khz)


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_SET_TSC_KHZ")
def test_vm_frequency_is_fixed_with_the_first_vcpu(vm: X86Vm, vcpu: X86Vcpu) -> None:
    """Once a vCPU exists the VM's frequency cannot change: EINVAL, and all frequencies stay.

    Since Linux commit dcbe5a466c12 ("KVM: x86: Reject KVM_SET_TSC_KHZ VM ioctl when vCPUs have
    been created") (in v6.17).
    """
    host_khz = vm.tsc_khz

    with refused(errno.EINVAL):
        vm.tsc_khz = host_khz - 100

    assert (vm.tsc_khz, vcpu.tsc_khz) == (host_khz, host_khz)


@pytest.mark.usefixtures("tsc_clocksource", "settable_tsc")
def test_frequencies_that_differ_part_generations(vcpus: list[X86Vcpu]) -> None:
    """vCPUs of different frequencies never share a TSC generation, even with the same offset."""
    first, second = vcpus
    second.tsc_khz = first.tsc_khz - 100

    first.tsc_offset = 2**40
    second.tsc_offset = 2**40

    assert flags_after_entry(first, second) == ClockFlags(0)


@pytest.mark.usefixtures("tsc_clocksource", "settable_tsc")
def test_equal_frequencies_share_a_generation(vcpus: list[X86Vcpu]) -> None:
    """vCPUs of one frequency, whichever it is, share a generation once they have one offset."""
    first, second = vcpus
    second.tsc_khz = first.tsc_khz = first.tsc_khz - 100

    first.tsc_offset = 2**40
    second.tsc_offset = 2**40

    assert flags_after_entry(first, second) == MASTER_CLOCK


@pytest.mark.usefixtures("hardware_scaling", "stable_tsc")
@pytest.mark.parametrize("permille", SCALED)
def test_guest_tsc_is_scaled_host_tsc_plus_offset(vm: X86Vm, permille: int) -> None:
    """guest TSC = (host TSC * ratio >> fraction bits) + offset; ratio = guest kHz / host kHz, truncated."""
    host_khz = vm.tsc_khz
    vm.tsc_khz = most_fractional_khz(host_khz, permille)
    vcpu = vm.create_vcpu(0)
    scale = scaling(vcpu, host_khz)

    by_guest, by_host = vcpu.guest.read_tsc(), host_reading(vcpu)

    assert by_guest.value in scale.scaled(by_guest.window).shifted(vcpu.tsc_offset)
    assert by_host.value in scale.scaled(by_host.window).shifted(vcpu.tsc_offset)


def most_fractional_khz(host_khz: int, permille: int) -> int:
    """Return the frequency near *permille* of the host's whose ratio would lose most without its low bits."""
    about = host_khz * permille // 1000
    return max(range(about, about + 50), key=lambda khz: (khz << 48) // host_khz & 0xFFFF)


@pytest.mark.usefixtures("hardware_scaling", "stable_tsc")
def test_scaled_vcpus_keep_together(vm: X86Vm) -> None:
    """vCPUs of a scaled VM to which user space gives one value in turn count on one line."""
    vm.tsc_khz = vm.tsc_khz * 9 // 10
    first, second = vm.create_vcpu(0), vm.create_vcpu(1)

    first.set_msr(MSR_IA32_TSC, 200_000_000)
    second.set_msr(MSR_IA32_TSC, 200_000_000)

    assert first.tsc_offset == second.tsc_offset
    before, seen, after = first.guest.read_tsc(), second.guest.read_tsc(), first.guest.read_tsc()
    assert seen.value in Window(before.value, after.value)


@pytest.mark.usefixtures("hardware_scaling", "stable_tsc")
def test_later_vcpus_join_the_scaled_line(vm: X86Vm) -> None:
    """19 vCPUs created after one that has its value count on its line: read in turn, no TSC goes back."""
    vm.tsc_khz = 2_345_678
    first = vm.create_vcpu(0)
    first.set_msr(MSR_IA32_TSC, 200_000_000)
    vcpus = [first, *(vm.create_vcpu(number) for number in range(1, 20))]

    readings = [vcpu.guest.read_tsc().value for _ in range(2) for vcpu in vcpus]

    assert {vcpu.tsc_offset for vcpu in vcpus} == {first.tsc_offset}
    assert readings == sorted(readings)


@pytest.mark.usefixtures("hardware_scaling", "stable_tsc", "settable_tsc")
@pytest.mark.parametrize("permille", SCALED)
def test_scaled_tsc_counts_from_the_value_written(vm: X86Vm, permille: int) -> None:
    """A value written to IA32_TSC is what a scaled guest's TSC counts from, at the guest's frequency."""
    host_khz = vm.tsc_khz
    vm.tsc_khz = host_khz * permille // 1000
    vcpu = vm.create_vcpu(0)

    written, _ = timed(vm, lambda: vcpu.set_msr(MSR_IA32_TSC, FAR))

    seen = vcpu.guest.read_tsc()
    counted = scaling(vcpu, host_khz).scaled(ticks_between(written, seen.window))
    assert seen.value in counted.shifted(FAR).widened(1)  # the products of both ends are cut off


@pytest.mark.usefixtures("hardware_scaling", "stable_tsc")
def test_elapsed_time_counts_in_the_guests_ticks(vm: X86Vm) -> None:
    """Whether a value joins a scaled line is decided in the guest's ticks, of which elapsed time has more.

    1.5 s ahead after 0.8 s is within a second; 0.8 s of the host's ticks, a third as many, would not do.
    """
    vm.tsc_khz *= 3
    first, second = vm.create_vcpu(0), vm.create_vcpu(1)
    first.set_msr(MSR_IA32_TSC, FAR)
    vm.time.sleep_ns(NSEC_PER_SEC * 8 // 10)

    second.set_msr(MSR_IA32_TSC, FAR + second.tsc_khz * 1500)

    assert second.tsc_offset == first.tsc_offset


@pytest.mark.generation("upstream")
@pytest.mark.usefixtures("hardware_scaling", "stable_tsc", "settable_tsc")
def test_value_near_an_offset_joins_the_scaled_line(vm: X86Vm) -> None:
    """A scaled vCPU that is given what another reads, whose offset was set, gets its offset."""
    vm.tsc_khz *= 3
    first, second = vm.create_vcpu(0), vm.create_vcpu(1)
    first.tsc_offset = FAR

    second.set_msr(MSR_IA32_TSC, first.get_msr(MSR_IA32_TSC))

    assert second.tsc_offset == FAR


@pytest.mark.promise(
    documented="Documentation/virt/kvm/x86/msr.rst, MSR_KVM_SYSTEM_TIME_NEW: tsc_to_system_mul"
)
@pytest.mark.usefixtures("hardware_scaling", "tsc_clocksource")
@pytest.mark.parametrize(
    ("khz", "shift", "mul"),
    [
        pytest.param(1_000_000, 1, 2147483648, id="1-ghz"),
        pytest.param(1_500_000, 0, 2863311530, id="1.5-ghz"),
        pytest.param(2_000_000, 0, 2147483648, id="2-ghz"),
        pytest.param(3_000_000, -1, 2863311530, id="3-ghz"),
        pytest.param(5_000_000, -2, 3435973836, id="5-ghz"),
    ],
)
def test_record_is_made_for_the_guests_frequency(vm: X86Vm, khz: int, shift: int, mul: int) -> None:
    """tsc_shift and tsc_to_system_mul fit the frequency that the guest gets, to within a kHz."""
    vm.tsc_khz = khz
    vcpu = vm.create_vcpu(0)
    vcpu.guest.enable_kvmclock()

    vcpu.guest.read_kvmclock()

    # The ratio is rounded down, and the record's frequency is in whole kHz of what that gives.
    record = vcpu.guest.pvclock()
    slower_by_a_khz = mul * khz // (khz - 1) + 1
    assert record.tsc_shift == shift
    assert mul <= record.tsc_to_system_mul <= slower_by_a_khz


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_SET_TSC_KHZ")
@pytest.mark.usefixtures("hardware_scaling", "stable_tsc", "settable_tsc")
@pytest.mark.parametrize("permille", SCALED)
def test_change_of_frequency_does_not_jump(vcpu: X86Vcpu, permille: int) -> None:
    """A new frequency changes how fast the guest's TSC counts from now on, not where it is."""
    khz = vcpu.tsc_khz * permille // 1000
    start = host_reading(vcpu)

    vcpu.tsc_khz = khz

    seen = host_reading(vcpu)
    elapsed = ticks_between(start.window, seen.window)
    assert seen.value in Window(start.value, start.value + elapsed.last * max(permille, 1000) // 1000)


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_SET_TSC_KHZ")
@pytest.mark.usefixtures("hardware_scaling", "stable_tsc", "settable_tsc")
@pytest.mark.parametrize("permille", SCALED)
def test_guest_sees_no_jump_with_the_frequency(vcpu: X86Vcpu, permille: int) -> None:
    """What the guest reads after a new frequency lies as many ticks ahead as passed, of either frequency."""
    khz = vcpu.tsc_khz * permille // 1000
    start = vcpu.guest.read_tsc()

    vcpu.tsc_khz = khz

    seen = vcpu.guest.read_tsc()
    elapsed = ticks_between(start.window, seen.window)
    assert seen.value in Window(start.value, start.value + elapsed.last * max(permille, 1000) // 1000)


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_GET_CLOCK: KVM_CLOCK_TSC_STABLE")
@pytest.mark.usefixtures("hardware_scaling", "tsc_clocksource")
@pytest.mark.parametrize("permille", SCALED)
def test_scaled_record_and_get_clock_agree(vm: X86Vm, permille: int) -> None:
    """Also with TSC scaling the record evaluated at KVM_GET_CLOCK's host_tsc is its clock.

    Within 2 ns for what both cut off, and one tick of the guest, whose TSC is in whole ticks.
    """
    host_khz = vm.tsc_khz
    if permille == HALF and host_khz % 2:
        raise CapabilityMissing("a TSC of even kHz, which has a half")
    vm.tsc_khz = host_khz * permille // 1000
    vcpu = vm.create_vcpu(0)
    vcpu.guest.enable_kvmclock()
    vcpu.guest.read_kvmclock()
    vm.time.sleep_ns(NSEC_PER_SEC // 20)

    clock = vm.clock()

    scale = scaling(vcpu, host_khz)
    guest_tsc = scale.scaled(Window(clock.host_tsc, clock.host_tsc)).shifted(vcpu.tsc_offset).first
    seen_ns = vcpu.guest.pvclock().kvmclock_ns(guest_tsc)
    tick_ns = -(-NSEC_PER_MSEC // vcpu.tsc_khz)
    assert seen_ns in Window(clock.kvmclock_ns, clock.kvmclock_ns).widened(2 + tick_ns)
