# SPDX-License-Identifier: GPL-2.0-only
"""How KVM writes pvclock records: versions, registration, flags.

Source: Documentation/virt/kvm/x86/msr.rst; arch/x86/kvm/x86.c: kvm_setup_guest_pvclock(),
kvm_write_system_time().
"""

from __future__ import annotations

import ctypes
import errno
import threading

import pytest

from fixtures.counters import NSEC_PER_SEC, wrap
from fixtures.guests import layout
from fixtures.kvm.expect import refused
from fixtures.kvm.threads import together
from fixtures.kvm.values import Pvclock
from fixtures.kvm.x86.vcpu import X86Vcpu
from fixtures.kvm.x86.vm import X86Vm
from fixtures.targets import Target
from fixtures.uapi import kvm as uapi
from fixtures.uapi.x86.kvm_para import KVM_MSR_ENABLED, MSR_KVM_SYSTEM_TIME, MSR_KVM_SYSTEM_TIME_NEW
from fixtures.uapi.x86.pvclock import PVCLOCK_GUEST_STOPPED, pvclock_vcpu_time_info
from kvmtests.x86.clocks import enter_all

pytestmark = [pytest.mark.promise(de_facto="Linux 5.10 to 7.3"), pytest.mark.thorough]

RECORD_SIZE = ctypes.sizeof(pvclock_vcpu_time_info)
ELSEWHERE = layout.SHARED + 0x200
ENOUGH_CHANGES = 50
MOST_ENTRIES = 20


def update(vcpu: X86Vcpu) -> Pvclock:
    """Have KVM update the record of *vcpu* once, and return it."""
    vcpu.vm.set_clock(1000 * NSEC_PER_SEC)
    vcpu.guest.read_tsc()
    return vcpu.guest.pvclock()


def record_bytes(vm: X86Vm, address: int) -> bytes:
    """Return the bytes of a record that was registered at *address*."""
    return bytes(vm.memory[address : address + RECORD_SIZE])


def clear_flag(vcpu: X86Vcpu, flag: int) -> None:
    """Clear a flag in the record of *vcpu*, as its guest does."""
    at = layout.pvclock(vcpu.id) + pvclock_vcpu_time_info.flags.offset
    vcpu.vm.memory[at] &= ~flag


@pytest.mark.promise(documented="Documentation/virt/kvm/x86/msr.rst, MSR_KVM_SYSTEM_TIME_NEW: version")
def test_versions_of_finished_updates_are_even(vcpu: X86Vcpu) -> None:
    """Each update leaves an even version, larger than the one before; the first is not 0."""
    vcpu.guest.enable_kvmclock()
    vcpu.guest.read_tsc()
    versions = [vcpu.guest.pvclock().version]

    versions += [update(vcpu).version for _ in range(3)]

    assert versions == sorted(set(versions))
    assert versions[0] >= 2
    assert [version % 2 for version in versions] == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("scribbled", "version"),
    [
        pytest.param(7, 10, id="odd"),
        pytest.param(1000, 1002, id="even"),
        pytest.param(2**32 - 1, 2, id="largest-odd"),
        pytest.param(2**32 - 2, 0, id="largest-even"),
    ],
)
def test_version_counts_from_what_the_guest_left(vcpu: X86Vcpu, scribbled: int, version: int) -> None:
    """Whatever the guest wrote into version, the next update takes it over an odd value to an even one."""
    vcpu.guest.enable_kvmclock()
    vcpu.guest.read_tsc()
    at = layout.pvclock(vcpu.id)
    vcpu.vm.memory[at : at + 4] = scribbled.to_bytes(4, "little")

    record = update(vcpu)

    assert record.version == version
    assert record.system_time_ns >= 1000 * NSEC_PER_SEC


@pytest.fixture
def looks(target: Target) -> int:
    """How often a reader looks at a record in one entry: tens of ms, on real and on simulated CPUs.

    A lab host's CPU is also emulated: 10 million looks take it a minute, and see no more changes, since
    writer and reader have one CPU and a time slice each.
    """
    return 500_000 if target.simulated or target.kind == "lab" else 10_000_000


@pytest.mark.promise(documented="Documentation/virt/kvm/x86/msr.rst, MSR_KVM_SYSTEM_TIME_NEW: version")
def test_reader_never_sees_half_an_update(vcpus: list[X86Vcpu], looks: int) -> None:
    """A reader that heeds the version finds one content for each version, while KVM updates the record."""
    written, reader = vcpus
    written.guest.enable_kvmclock()
    written.guest.read_tsc()
    reader.guest.watch_pvclock(written.id, looks=1)
    done = threading.Event()

    def watch() -> list[Pvclock]:
        # A busy host runs writer and reader in turns, and the reader then sees few changes.
        records: list[Pvclock] = []
        try:
            for _ in range(MOST_ENTRIES):
                records += reader.guest.watch_pvclock(written.id, looks)
                if len(records) >= ENOUGH_CHANGES:
                    break
        finally:
            done.set()
        return records

    def write() -> list[Pvclock]:
        records = [written.guest.pvclock()]
        while not done.is_set():
            written.vm.set_clock(len(records) * NSEC_PER_SEC)
            written.guest.read_tsc()
            records.append(written.guest.pvclock())
        return records

    seen, finished = together(watch, write)

    contents = {record.version: record for record in finished}
    assert seen != []
    for record in seen:
        assert record == contents.setdefault(record.version, record)


@pytest.mark.promise(documented="Documentation/virt/kvm/x86/msr.rst, MSR_KVM_SYSTEM_TIME")
def test_both_msrs_share_one_value(vcpu: X86Vcpu) -> None:
    """The legacy and the new MSR read back what was last written to either, by guest or host."""
    value = layout.pvclock(vcpu.id) | KVM_MSR_ENABLED

    vcpu.guest.wrmsr(MSR_KVM_SYSTEM_TIME, value)
    vcpu.set_msr(MSR_KVM_SYSTEM_TIME_NEW, value + 0x100)

    assert vcpu.get_msr(MSR_KVM_SYSTEM_TIME) == value + 0x100
    assert vcpu.get_msr(MSR_KVM_SYSTEM_TIME_NEW) == value + 0x100
    assert vcpu.guest.rdmsr(MSR_KVM_SYSTEM_TIME).value == value + 0x100


def test_host_may_register_the_record(vm: X86Vm, vcpu: X86Vcpu) -> None:
    """A record that user space registers, as after migration, is written at the next entry."""
    vm.set_clock(1000 * NSEC_PER_SEC)

    vcpu.set_msr(MSR_KVM_SYSTEM_TIME_NEW, layout.pvclock(vcpu.id) | KVM_MSR_ENABLED)

    assert vcpu.guest.pvclock().version == 0
    assert vcpu.guest.read_kvmclock().kvmclock_ns >= 1000 * NSEC_PER_SEC


@pytest.mark.usefixtures("tsc_clocksource")
@pytest.mark.parametrize(
    "distance",
    [1 << 1, 1 << 2, 0x36, layout.PAGE_SIZE - RECORD_SIZE - ELSEWHERE % layout.PAGE_SIZE],
    ids=["2-bytes", "4-bytes", "54-bytes", "last-in-the-page"],
)
def test_any_address_within_a_page_is_written(vm: X86Vm, vcpu: X86Vcpu, distance: int) -> None:
    """KVM strips only bit 0: an unaligned record is written like any other, up to the page's end."""
    address = ELSEWHERE + distance
    vcpu.guest.wrmsr(MSR_KVM_SYSTEM_TIME_NEW, address | KVM_MSR_ENABLED)

    vcpu.guest.read_tsc()

    clock = vm.clock()
    seen = Pvclock.at(vm.memory, address)
    assert seen.kvmclock_ns(wrap(clock.host_tsc + vcpu.tsc_offset)) == clock.kvmclock_ns


@pytest.mark.promise(de_facto="Linux 6.1 to 7.3")
@pytest.mark.parametrize(
    "address",
    [
        pytest.param(layout.SHARED + layout.PAGE_SIZE - 8, id="across-two-pages"),
        pytest.param(1 << 40, id="no-memory-there"),
    ],
)
def test_impossible_address_is_kept_and_not_written(vm: X86Vm, vcpu: X86Vcpu, address: int) -> None:
    """An address that KVM cannot write is accepted and reads back; the guest runs on without a record."""
    before = bytes(vm.memory[layout.SHARED : layout.SHARED + 2 * layout.PAGE_SIZE])

    vcpu.guest.wrmsr(MSR_KVM_SYSTEM_TIME_NEW, address | KVM_MSR_ENABLED)
    vcpu.guest.read_tsc()

    assert vcpu.get_msr(MSR_KVM_SYSTEM_TIME_NEW) == address | KVM_MSR_ENABLED
    assert bytes(vm.memory[layout.SHARED : layout.SHARED + 2 * layout.PAGE_SIZE]) == before


def test_moved_record_leaves_the_old_one_alone(vm: X86Vm, vcpu: X86Vcpu) -> None:
    """Once a new address is registered only the record there is written; the old bytes stay."""
    vcpu.guest.enable_kvmclock()
    vcpu.guest.read_tsc()

    vcpu.guest.wrmsr(MSR_KVM_SYSTEM_TIME_NEW, ELSEWHERE | KVM_MSR_ENABLED)
    old = record_bytes(vm, layout.pvclock(vcpu.id))
    update(vcpu)

    assert record_bytes(vm, layout.pvclock(vcpu.id)) == old
    assert record_bytes(vm, ELSEWHERE) > bytes(RECORD_SIZE)


@pytest.mark.promise(documented="Documentation/virt/kvm/x86/msr.rst, MSR_KVM_SYSTEM_TIME_NEW")
def test_each_vcpu_has_its_own_record(vcpus: list[X86Vcpu]) -> None:
    """A vCPU that has not enabled its record gets none written, though another vCPU has one."""
    first, second = vcpus
    first.guest.enable_kvmclock()
    second.guest.wrmsr(MSR_KVM_SYSTEM_TIME_NEW, layout.pvclock(second.id))

    enter_all(vcpus)

    assert first.guest.pvclock().version > 0
    assert record_bytes(second.vm, layout.pvclock(second.id)) == bytes(RECORD_SIZE)


@pytest.fixture
def stopped(vm: X86Vm, vcpu: X86Vcpu) -> X86Vcpu:
    """A vCPU whose record has PVCLOCK_GUEST_STOPPED set."""
    vm.require(uapi.KVM_CAP_KVMCLOCK_CTRL)
    vcpu.guest.enable_kvmclock()
    vcpu.guest.read_tsc()
    vcpu.kvmclock_ctrl()
    vcpu.guest.read_tsc()
    assert vcpu.guest.pvclock().flags & PVCLOCK_GUEST_STOPPED
    return vcpu


def test_stopped_flag_stays_until_the_guest_clears_it(stopped: X86Vcpu) -> None:
    """Updates keep PVCLOCK_GUEST_STOPPED as long as the guest has not cleared it."""
    assert [update(stopped).flags & PVCLOCK_GUEST_STOPPED for _ in range(3)] == [PVCLOCK_GUEST_STOPPED] * 3


def test_cleared_stopped_flag_stays_cleared(stopped: X86Vcpu) -> None:
    """Once the guest has cleared PVCLOCK_GUEST_STOPPED no update sets it again; the stable bit stays."""
    flags = stopped.guest.pvclock().flags & ~PVCLOCK_GUEST_STOPPED
    clear_flag(stopped, PVCLOCK_GUEST_STOPPED)

    assert [update(stopped).flags for _ in range(3)] == [flags] * 3


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_KVMCLOCK_CTRL")
def test_stopped_flag_concerns_one_vcpu(vm: X86Vm, vcpus: list[X86Vcpu]) -> None:
    """KVM_KVMCLOCK_CTRL of one vCPU never shows in the other's record, also when both are updated."""
    vm.require(uapi.KVM_CAP_KVMCLOCK_CTRL)
    for vcpu in vcpus:
        vcpu.guest.enable_kvmclock()
    enter_all(vcpus)

    vcpus[0].kvmclock_ctrl()
    vm.set_clock(0)
    enter_all(vcpus)

    stopped = [vcpu.guest.pvclock().flags & PVCLOCK_GUEST_STOPPED for vcpu in vcpus]
    assert stopped == [PVCLOCK_GUEST_STOPPED, 0]


def test_stopped_flag_waits_for_the_entry(vm: X86Vm, vcpu: X86Vcpu) -> None:
    """KVM_KVMCLOCK_CTRL leaves the record alone until the vCPU enters its guest."""
    vm.require(uapi.KVM_CAP_KVMCLOCK_CTRL)
    vcpu.guest.enable_kvmclock()
    vcpu.guest.read_tsc()
    before = vcpu.guest.pvclock()

    vcpu.kvmclock_ctrl()
    vcpu.poke_without_entry()

    assert vcpu.guest.pvclock() == before


def test_stopped_flag_needs_a_record_still_registered(vm: X86Vm, vcpu: X86Vcpu) -> None:
    """KVM_KVMCLOCK_CTRL after the guest has unregistered its record is refused with EINVAL."""
    vm.require(uapi.KVM_CAP_KVMCLOCK_CTRL)
    vcpu.guest.enable_kvmclock()
    vcpu.guest.read_tsc()
    vcpu.guest.disable_kvmclock()

    with refused(errno.EINVAL):
        vcpu.kvmclock_ctrl()
