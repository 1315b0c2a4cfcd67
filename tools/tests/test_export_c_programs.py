# SPDX-License-Identifier: GPL-2.0-only
"""Exported programs come to their claim's verdict: on a KVM that keeps a rule, and on one that breaks it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reports.model import Verdict
from tools.tests.exported import (
    FAILED,
    HAS_KVM,
    STATUS_OF,
    compared,
    compiled,
    export,
    export_together,
    exported,
    judged,
    numbers,
    run,
    symptoms,
)
from tools.tests.usual import few_of

WINDOW = "kvmtests/x86/test_tsc_offset.py::test_guest_tsc_is_host_tsc_plus_offset[{}-plus-180e9]"
EQUALITY = "kvmtests/x86/test_tsc_offset.py::test_offset_reads_back[{}-plus-180e9]"
REFUSAL = "kvmtests/x86/test_set_clock.py::test_unknown_flag_is_refused_and_changes_nothing[{}-bit-4]"
MONOTONY = "kvmtests/x86/test_clock_monotonic.py::test_kvmclock_within_one_vcpu[{}]"
AT_ONCE = "kvmtests/x86/test_clock_monotonic.py::test_kvmclock_across_vcpus[{}]"
AT_ONCE_ARM64 = "kvmtests/arm64/test_monotonic.py::test_counter_across_vcpus[{}-zero-virtual]"
SPINNING = "kvmtests/arm64/test_counter_offset.py::test_running_vcpu_makes_the_vm_busy[{}]"
MEANWHILE = "kvmtests/x86/test_running_others.py::test_clock_set_forward_takes_no_step_back[{}]"
NEXT_TO_GUESTS = "kvmtests/x86/test_running_guest.py::test_running_guest_sees_the_set_clock[{}-together]"
RIVAL = "kvmtests/x86/test_rival.py::test_tsc_keeps_its_line_next_to_a_rival[{}]"
RESTORED = "kvmtests/x86/test_deadline_restored.py::test_restored_deadline_interrupts_once[{}-to-come-qemu]"
SET = "kvmtests/x86/test_restore_by_value.py::test_one_value_gives_one_line[{}-c0-c1-w0-w1]"
TOLERATED = (
    "kvmtests/x86/test_running_others.py::test_moving_another_leaves_the_running_tsc[{}-by-vm-frequency]"
)
PERIODS = "kvmtests/x86/test_stimers.py::test_missed_periods_are_skipped[{}]"
WATCHED = "kvmtests/x86/test_watched.py::test_watched_steal_time_grows[{}]"
MEANWHILE_ARM64 = "kvmtests/arm64/test_running_others.py::test_counter_set_takes_at_most_that_step[{}]"
INTERRUPTED_ARM64 = (
    "kvmtests/arm64/test_timer_deadlines.py::test_timer_ends_the_run_of_a_busy_guest[{}-physical]"
)
TWO_VMS = "kvmtests/arm64/test_two_vms.py::test_vms_share_a_cpu[{}-plus-and-none-virtual]"

export_together(
    "sim-x86_64",
    *(
        case.format("sim-x86_64")
        for case in (WINDOW, REFUSAL, MONOTONY, AT_ONCE, MEANWHILE, RIVAL, RESTORED, SET)
    ),
)
export_together(
    "sim-arm64-vhe", *(case.format("sim-arm64-vhe") for case in (SPINNING, TWO_VMS, INTERRUPTED_ARM64))
)


@pytest.mark.thorough
@HAS_KVM
@pytest.mark.parametrize(
    "case",
    [WINDOW, EQUALITY, REFUSAL, MONOTONY, AT_ONCE, MEANWHILE, RIVAL, RESTORED],
    ids=lambda case: case.split("::")[1],
)
def test_verdict_is_the_claims(case: str, tmp_path: Path) -> None:
    """On this host the program ends as its claim does, and where that fails, with the same symptom."""
    nodeid = case.format("host")
    result = judged(nodeid, "host", tmp_path / "claim")
    if result.verdict is Verdict.SKIP:
        pytest.skip(f"the claim is skipped on this host: {result.message}")

    done = run(compiled(exported(nodeid, "host"), tmp_path))

    assert done.returncode == STATUS_OF[result.verdict], done.stdout
    if result.verdict in FAILED:
        assert symptoms(done.stdout) == symptoms(result.message)
        assert compared(done.stdout) <= numbers(result.message)


def test_program_makes_one_long_attempt() -> None:
    """A claim that comes too late for a deadline tries again with more time; a program begins with 1.6 s."""
    text = exported(RESTORED.format("sim-x86_64"), "sim-x86_64")

    _, _, main = text.partition("int main(void)")
    armed = re.findall(r"MSR_IA32_TSC_DEADLINE, \(msr_1 \+ \(+uint64_t\)(\d+) ", main)
    assert armed == ["1600000000"]
    assert main.count("sleep_ns(5000000);") == 1


@pytest.mark.thorough
@pytest.mark.parametrize(
    "case",
    [SPINNING, TWO_VMS, AT_ONCE_ARM64, MEANWHILE_ARM64],
    ids=["spinning-vcpu", "two-vms", "at-once", "meanwhile"],
)
def test_arm64_program_is_cross_compiled(case: str, tmp_path: Path) -> None:
    """Programs for arm64 are C11 in which its compiler finds nothing to warn about."""
    text = exported(case.format("sim-arm64-vhe"), "sim-arm64-vhe")

    assert compiled(text, tmp_path, "aarch64-linux-gnu-gcc", ["-static"]).exists()


def test_vcpu_that_spins_is_a_thread() -> None:
    """A vCPU that the claim keeps inside KVM_RUN runs in a thread of the program."""
    text = exported(SPINNING.format("sim-arm64-vhe"), "sim-arm64-vhe")

    assert "pthread_t vcpu_0_thread = spin_start(&vcpu_0);" in text
    assert "spin_stop(&vcpu_0, vcpu_0_thread);" in text


def test_vcpus_that_run_at_once_are_threads() -> None:
    """vCPUs of one round enter at the same time, each in its thread, and what they saw is read after it."""
    text = exported(AT_ONCE.format("sim-x86_64"), "sim-x86_64")

    loop = text.partition("run_at_once((struct vcpu *[]){ &vcpu_0, &vcpu_1 }, 2);")[2].partition("}")[0]
    assert "vcpu_0.mailbox->result[0]" in loop
    assert "vcpu_1.mailbox->result[0]" in loop
    assert "pthread_barrier_wait(&begin_together);" in text


def test_guest_that_reads_on_is_a_thread() -> None:
    """A guest runs in a thread while other calls are made, from its first reading to its end."""
    text = exported(MEANWHILE.format("sim-x86_64"), "sim-x86_64")

    _, _, main = text.partition("int main(void)")
    steps = [
        "= run_meanwhile(&vcpu_1);",
        "await_readings(&vcpu_1, ",
        "KVM_SET_CLOCK",
        "pthread_join(vcpu_1_thread",
    ]
    places = [main.index(step) for step in steps]
    assert places == sorted(places)
    assert main.index("vcpu_1.mailbox->operand[5] = 1;") < places[-1]


@pytest.mark.thorough
def test_call_next_to_running_guests_is_made_while_they_run() -> None:
    """Of calls and guests that begin together the guests are threads, and the call comes before they end."""
    text = exported(NEXT_TO_GUESTS.format("sim-x86_64"), "sim-x86_64")

    _, _, main = text.partition("int main(void)")
    assert main.count("= run_meanwhile(&vcpu_") == main.count("pthread_join(vcpu_") == 2
    assert main.rindex("= run_meanwhile") < main.index("KVM_SET_CLOCK") < main.index("pthread_join")


def test_interrupt_line_ends_the_run() -> None:
    """A KVM_RUN that ends with EINTR, since a line rose, is in the program, which demands that."""
    text = exported(INTERRUPTED_ARM64.format("sim-arm64-vhe"), "sim-arm64-vhe")

    _, _, main = text.partition("in_claim = true;")
    assert 'must_refuse(call(vcpu_0.fd, KVM_RUN, 0), EINTR, "KVM_RUN");' in main


def test_rival_takes_the_one_cpu() -> None:
    """A rival is another VM's vCPU that spins until the end, on the CPU that the program stays on."""
    text = exported(RIVAL.format("sim-x86_64"), "sim-x86_64")

    _, _, main = text.partition("int main(void)")
    assert main.index("pin(0);") < main.index("spin_start(&vcpu_0);") < main.index("in_claim = true;")
    assert "create_vcpu(kvm, vm_1, 0, memory_1)" in main


def test_restored_vcpu_gets_what_was_read() -> None:
    """A vCPU that is restored in another VM gets the guest's memory and the structures that were read."""
    text = exported(RESTORED.format("sim-x86_64"), "sim-x86_64")

    _, _, main = text.partition("int main(void)")
    assert "memcpy(memory_1, memory_0, 0x400000);" in main
    for request in ("KVM_SET_REGS, &regs_1", "KVM_SET_SREGS, &sregs_1"):
        assert f"MUST(vcpu_1.fd, {request});" in main


def test_set_of_equal_values_is_a_check() -> None:
    """That there is one value in a set is that its values are equal."""
    text = exported(SET.format("sim-x86_64"), "sim-x86_64")

    assert "check(attribute_value_1, ==, attribute_value_2, " in text


@pytest.mark.thorough
def test_call_that_may_fail_decides_nothing() -> None:
    """A call whose failure the claim suppresses ends in a skip where it fails unlike when it was recorded."""
    text = exported(TOLERATED.format("sim-x86_64"), "sim-x86_64")

    assert "would_succeed(call(vm_0, KVM_SET_TSC_KHZ, " in text


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("case", "reason"),
    [
        pytest.param(WATCHED, "as many records as its guest found", id="records"),
        pytest.param(PERIODS, "messages of Hyper-V's timers one after the other", id="messages"),
    ],
)
def test_what_depends_on_its_pace_has_no_program(case: str, reason: str) -> None:
    """A claim whose steps depend on what its guest found is refused, not written with those of one run."""
    done = export(case.format("sim-x86_64"), "--target", "sim-x86_64")

    assert done.returncode == 1
    assert reason in done.stderr


def test_two_vms_have_memories_of_their_own() -> None:
    """Each VM of a claim is a VM of the program, with its memory and its vCPUs."""
    text = exported(TWO_VMS.format("sim-arm64-vhe"), "sim-arm64-vhe")

    assert "struct vcpu vcpu_0 = create_vcpu(kvm, vm_0, 0, memory_0);" in text
    assert "struct vcpu vcpu_1 = create_vcpu(kvm, vm_1, 0, memory_1);" in text


@HAS_KVM
@pytest.mark.parametrize("compiler", few_of(["gcc", "clang"], {"gcc"}))
@pytest.mark.parametrize("case", [WINDOW, REFUSAL, MONOTONY], ids=["window", "refusal", "monotony"])
def test_program_is_clean_under_the_sanitizers(case: str, compiler: str, tmp_path: Path) -> None:
    """Neither the address sanitizer, with leaks, nor the one for undefined behaviour finds anything."""
    flags = ("-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")
    text = exported(case.format("sim-x86_64"), "sim-x86_64")

    done = run(compiled(text, tmp_path, compiler, flags, library="libclang_rt.asan"))

    assert done.stderr == ""
    assert done.returncode in {0, 1, 4}
