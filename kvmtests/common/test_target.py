# SPDX-License-Identifier: GPL-2.0-only
"""Whether each chosen target is available, and what every KVM promises."""

from __future__ import annotations

import ctypes

import pytest

from fixtures.architectures import ARCHITECTURES
from fixtures.guests.layout import PAGE_SIZE
from fixtures.kvm.exits import Interrupted
from fixtures.kvm.expect import refused
from fixtures.kvm.system import Kvm
from fixtures.kvm.vcpu import Vcpu
from fixtures.kvm.vm import Vm
from fixtures.targets import Probe
from fixtures.uapi import kvm as uapi

pytestmark = pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_GET_API_VERSION")


@pytest.mark.every_target
def test_target_is_usable(target_facts: Probe, request: pytest.FixtureRequest) -> None:
    """KVM opens, with API version 12; a target without usable KVM skips with its reason."""
    if target_facts.reason is not None:
        pytest.skip(target_facts.reason)

    kvm: Kvm[Vm] = request.getfixturevalue("kvm")

    assert kvm.handle.call(uapi.KVM_GET_API_VERSION) == uapi.KVM_API_VERSION


def test_api_version_is_12(kvm: Kvm[Vm]) -> None:
    """KVM_GET_API_VERSION returns 12."""
    assert kvm.handle.call(uapi.KVM_GET_API_VERSION) == 12


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, KVM_GET_VCPU_MMAP_SIZE")
def test_kvm_run_mapping_holds_struct_kvm_run(kvm: Kvm[Vm]) -> None:
    """KVM_GET_VCPU_MMAP_SIZE covers struct kvm_run."""
    assert kvm.handle.call(uapi.KVM_GET_VCPU_MMAP_SIZE) >= ctypes.sizeof(uapi.kvm_run)


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
def test_mapping_of_a_vcpu_has_whole_pages(kvm: Kvm[Vm]) -> None:
    """KVM_GET_VCPU_MMAP_SIZE is a number of whole pages, and the same before and after a vCPU exists."""
    before = kvm.handle.call(uapi.KVM_GET_VCPU_MMAP_SIZE)

    kvm.create_vm().create_vcpu(0)

    assert before % PAGE_SIZE == 0
    assert kvm.handle.call(uapi.KVM_GET_VCPU_MMAP_SIZE) == before


@pytest.mark.promise(documented="Documentation/virt/kvm/api.rst, the kvm_run structure: immediate_exit")
def test_immediate_exit_runs_no_guest_instruction(vcpu: Vcpu) -> None:
    """With immediate_exit each KVM_RUN fails with EINTR, and a guest that could run stays where it was."""
    vcpu.require_capability(uapi.KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT")
    vcpu.guest.load(ARCHITECTURES[vcpu.handle.arch].counter_program)
    start = vcpu.where()

    vcpu.immediate_exit = True
    exits = [vcpu.run(), vcpu.run()]
    vcpu.immediate_exit = False

    assert [type(left) for left in exits] == [Interrupted] * 2
    assert vcpu.where() == start


@pytest.mark.promise(de_facto="Linux 5.10 to 7.3")
def test_vcpu_id_is_given_once(vm: Vm) -> None:
    """KVM_CREATE_VCPU with an id in use is refused: EEXIST, and EINVAL on ppc64le."""
    vm.create_vcpu(0)

    with refused(ARCHITECTURES[vm.arch].vcpu_id_in_use):
        vm.handle.call(uapi.KVM_CREATE_VCPU, 0)
