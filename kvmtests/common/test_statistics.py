# SPDX-License-Identifier: GPL-2.0-only
"""KVM_GET_STATS_FD: KVM's statistics describe themselves, and count each vCPU's exits.

Source: Documentation/virt/kvm/api.rst, KVM_GET_STATS_FD; virt/kvm/binary_stats.c.
"""

from __future__ import annotations

import ctypes

import pytest

from fixtures.architectures import ARCHITECTURES
from fixtures.kvm.statistics import Statistics
from fixtures.kvm.system import Kvm
from fixtures.kvm.vcpu import Vcpu
from fixtures.kvm.vm import Vm
from fixtures.uapi import kvm as uapi
from fixtures.uapi import kvm_stats

pytestmark = pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_GET_STATS_FD")

RUNS = 20
PIECE = 100  # bytes: no multiple of what a header, a descriptor or a value takes


@pytest.fixture(autouse=True)
def statistics(vm: Vm) -> None:
    """KVM has binary statistics."""
    vm.require(uapi.KVM_CAP_BINARY_STATS_FD)


def check(statistics: Statistics, owner: str) -> None:
    """Assert what holds for every file of statistics."""
    names = [one.name for one in statistics.all]
    assert statistics.id.startswith("kvm-")
    assert statistics.id.endswith(owner)
    assert len(set(names)) == len(names) > 0
    assert all(names)
    assert all(one.values for one in statistics.all)
    assert all(one.kind <= kvm_stats.KVM_STATS_TYPE_LOG_HIST for one in statistics.all)


def run(vcpu: Vcpu, times: int) -> None:
    """Let the guest leave to user space *times* times."""
    program = ARCHITECTURES[vcpu.handle.arch].counter_program
    for _ in range(times):
        vcpu.guest.run(program)


def exits(vcpu: Vcpu) -> int:
    """Return how often the guest left, as KVM counts it."""
    return vcpu.statistics.single[ARCHITECTURES[vcpu.handle.arch].exits_statistic]


def test_statistics_describe_themselves(vm: Vm, vcpus: list[Vcpu]) -> None:
    """The files of VM and vCPUs have an id, and descriptors with unique names, known types and values."""
    check(vm.statistics, "")
    for vcpu in vcpus:
        check(vcpu.statistics, f"/vcpu-{vcpu.id}")


@pytest.mark.promise(de_facto="Linux 6.1 to 7.3")
def test_file_ends_after_its_data(vcpu: Vcpu) -> None:
    """A read from the end of the data returns nothing, and a read across the end is short."""
    backend, fd = vcpu.handle.backend, vcpu.handle.call(uapi.KVM_GET_STATS_FD)
    try:
        whole = backend.pread(fd, 1 << 20, 0)
        header = kvm_stats.kvm_stats_header.from_buffer_copy(whole)

        assert header.desc_offset + ctypes.sizeof(kvm_stats.kvm_stats_desc) < header.data_offset < len(whole)
        assert len(backend.pread(fd, 64, len(whole) - 8)) == 8
        assert backend.pread(fd, 64, len(whole)) == b""
    finally:
        backend.close(fd)


@pytest.mark.promise(de_facto="Linux 6.1 to 7.3")
def test_file_can_be_read_in_pieces(vcpu: Vcpu) -> None:
    """Reads of 100 bytes, each from where the last one ended, give the file that one read gives.

    Of the data, which KVM may count on meanwhile, just the length is compared.
    """
    backend, fd = vcpu.handle.backend, vcpu.handle.call(uapi.KVM_GET_STATS_FD)
    try:
        whole = backend.pread(fd, 1 << 20, 0)
        pieces = b"".join(backend.pread(fd, PIECE, at) for at in range(0, len(whole) + PIECE, PIECE))
    finally:
        backend.close(fd)
    described = slice(kvm_stats.kvm_stats_header.from_buffer_copy(whole).data_offset)

    assert (len(pieces), pieces[described]) == (len(whole), whole[described])


@pytest.mark.promise(de_facto="Linux 6.1 to 7.3")
def test_every_exit_to_user_space_is_counted(vcpu: Vcpu) -> None:
    """The count of exits grows with each exit of the guest; the host's interrupts add more."""
    run(vcpu, 1)
    before = exits(vcpu)

    run(vcpu, RUNS)

    assert exits(vcpu) - before >= RUNS


def test_vcpus_count_for_themselves(vcpus: list[Vcpu]) -> None:
    """The exits of one vCPU are not counted for another."""
    first, second = vcpus
    run(second, 1)
    before = exits(second)

    run(first, RUNS)

    assert exits(second) == before


def test_vms_count_for_themselves(kvm: Kvm[Vm], vcpu: Vcpu) -> None:
    """The exits of a vCPU are not counted for that of another VM, which has the same number."""
    other = kvm.create_vm().create_vcpu(vcpu.id)
    run(other, 1)
    before = exits(other)

    run(vcpu, RUNS)

    assert exits(other) == before
