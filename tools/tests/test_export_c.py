# SPDX-License-Identifier: GPL-2.0-only
"""Claims as C programs: what they say, and that their verdict is the claim's."""

from __future__ import annotations

import importlib
import operator
import shlex
import subprocess
import zipfile
from pathlib import Path

import pytest

from fixtures.lab import image
from tools.export_c import command, in_lab
from tools.export_c.expected import BY_NAME
from tools.tests.exported import HAS_KVM, ROOT, compiled, export, export_together, exported, run

WINDOW = "kvmtests/x86/test_tsc_offset.py::test_guest_tsc_is_host_tsc_plus_offset[sim-x86_64-plus-180e9]"
REFUSAL = "kvmtests/x86/test_set_clock.py::test_unknown_flag_is_refused_and_changes_nothing[sim-x86_64-bit-4]"
FREQUENCY = "kvmtests/arm64/test_counters_by_value.py::test_counter_frequency_is_the_hosts[sim-arm64-vhe]"
EXCEPTION = "kvmtests/x86/test_pv_features.py::test_features_decide_one_by_one[sim-x86_64]"
REGISTER = "kvmtests/arm64/test_timers.py::test_condition_is_unsigned_for_large_counts[sim-arm64-vhe-virtual]"
STARTED_AGAIN = "kvmtests/arm64/test_timers.py::test_guest_sees_status_of_an_enabled_timer[{}-ENABLE-virtual]"
DEVICE = "kvmtests/arm64/test_interrupt_numbers.py::test_bad_pointer_is_refused[{}-IRQ_VTIMER]"
LONG_STRUCTURE = "kvmtests/x86/test_tsc_deadline.py::test_deadline_reads_back[sim-x86_64-far]"
export_together("sim-x86_64", WINDOW, REFUSAL, EXCEPTION, LONG_STRUCTURE)
export_together(
    "sim-arm64-vhe",
    *(FREQUENCY, REGISTER, STARTED_AGAIN.format("sim-arm64-vhe"), DEVICE.format("sim-arm64-vhe")),
)
VERDICTS = {0: "ok 1 - ", 1: "not ok 1 - ", 4: "ok 1 - "}


@pytest.mark.thorough
@pytest.mark.parametrize("nodeid", [pytest.param(WINDOW, id="window"), pytest.param(REFUSAL, id="refusal")])
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_program_compiles_without_a_warning(nodeid: str, compiler: str, tmp_path: Path) -> None:
    """A program is C11 in which neither compiler finds anything to warn about."""
    assert compiled(exported(nodeid, "sim-x86_64"), tmp_path, compiler).exists()


def test_program_says_what_it_claims() -> None:
    """The claim's sentence, its source, the command and the guest's listing are in the program."""
    text = exported(WINDOW, "sim-x86_64")

    assert "The guest reads host_tsc + tsc_offset, modulo 2**64." in text
    assert "Source: Documentation/virt/kvm/devices/vcpu.rst" in text
    assert "test_guest_tsc_is_host_tsc_plus_offset[plus-180e9]' --target sim-x86_64" in text
    assert "/* loop: rdtsc; " in text


@pytest.mark.parametrize("named", BY_NAME, ids="-".join)
def test_function_that_is_treated_apart_exists(named: tuple[str, str]) -> None:
    """What the recorder treats apart, by module and name, is a function that still has them."""
    module, name = named
    found = operator.attrgetter(name)(importlib.import_module(module))

    assert (found.__module__, found.__qualname__) == named


def test_claim_that_requires_a_register_has_a_program() -> None:
    """A program does not carry the list of registers: the call that uses the register finds out."""
    text = exported(REGISTER, "sim-arm64-vhe")

    assert "MUST_REG(vcpu_0.fd, KVM_SET_ONE_REG, KVM_REG_ARM_TIMER_CNT, " in text
    assert "KVM_GET_REG_LIST" not in text


def test_arm64_vcpu_starts_its_programs_by_one_function() -> None:
    """A start sets the registers and finishes the exit before it, whatever program it is of."""
    text = exported(STARTED_AGAIN.format("sim-arm64-vhe"), "sim-arm64-vhe")

    main = text.partition("int main(void)")[2]
    assert main.count("start(&vcpu_0, ") == main.count("run_guest(&vcpu_0);") > 1
    assert "finish_exit" not in main
    assert "finish_exit(vcpu);" in text


def test_descriptor_of_a_device_decides_nothing() -> None:
    """The number of a descriptor, another one in each run, does not decide how a program continues."""
    text = exported(DEVICE.format("sim-arm64-vhe"), "sim-arm64-vhe")

    assert "KVM_CREATE_DEVICE" in text
    assert "device_0.fd ==" not in text


def test_claim_with_a_long_structure_has_a_program() -> None:
    """A structure of more than 1024 bytes, as that of a local APIC, is followed as any other."""
    assert "KVM_SET_LAPIC" in exported(LONG_STRUCTURE, "sim-x86_64")


@pytest.mark.thorough
@pytest.mark.parametrize("form", [(), ("--libkvm",)], ids=["alone", "libkvm"])
def test_parts_are_one_empty_line_apart(form: tuple[str, ...]) -> None:
    """No two empty lines follow each other, in either form: the kernel's checkpatch.pl complains of them."""
    assert "\n\n\n" not in exported(WINDOW, "sim-x86_64", *form)


@pytest.mark.thorough
def test_command_in_the_program_writes_it_again() -> None:
    """The command that a program names, run as it stands there, writes the same program."""
    text = exported(WINDOW, "sim-x86_64")
    [line] = [line for line in text.splitlines() if "Written by: " in line]
    interpreter, *words = shlex.split(line.partition("Written by: ")[2])

    done = subprocess.run(
        [ROOT / ".venv/bin" / interpreter, *words], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.stdout == text, done.stderr


def test_window_is_computed_from_what_the_program_measures() -> None:
    """The window's ends are the program's own readings, shifted by the claim's constant."""
    text = exported(WINDOW, "sim-x86_64")

    assert "check_window(guest_1, (before_1 + 180000000000), (after_1 + 180000000000));" in text


@HAS_KVM
def test_program_runs_as_a_kselftest(tmp_path: Path) -> None:
    """The program prints one TAP line, and its status says the same."""
    program = compiled(exported(REFUSAL, "sim-x86_64"), tmp_path)

    done = run(program)

    version, plan, line = done.stdout.splitlines()
    assert (version, plan) == ("TAP version 13", "1..1")
    assert line.startswith(VERDICTS[done.returncode])


def test_libkvm_form_uses_its_vms_ucalls_and_assertions() -> None:
    """With --libkvm the VM is libkvm's, the guest is C that leaves by a ucall, and checks are TEST_ASSERT."""
    text = exported(WINDOW, "sim-x86_64", "--libkvm")

    assert '#include "kvm_util.h"' in text
    assert ".vcpu = vm_vcpu_add(vm_0, 0, guest_code)" in text
    assert "GUEST_SYNC1(rdtsc());" in text
    assert "TEST_ASSERT(in_window(value, first, last)," in text
    assert "program_tsc" not in text


@pytest.mark.thorough
def test_libkvm_form_of_guest_memory_is_refused() -> None:
    """A claim that looks at guest memory has no form on libkvm, and the command says so."""
    case = "kvmtests/x86/test_steal_time.py::test_area_belongs_to_one_vcpu[sim-x86_64]"

    done = export(case, "--target", "sim-x86_64", "--libkvm")

    assert done.returncode == 1
    assert "libkvm" in done.stderr.partition("has no program: ")[2]


def test_recorder_goes_into_a_lab_host(tmp_path: Path) -> None:
    """The recorder's archive and the test that starts it lie where a lab host's suite takes them from."""
    root = in_lab.checkout(tmp_path, ["case", "--target", "lab-x86_64-svm"])
    module = root / in_lab.MODULE

    compile(module.read_text(), str(module), "exec")

    with zipfile.ZipFile(module.with_name(in_lab.ARCHIVE)) as archive:
        assert {"tools/export_c/__main__.py", "tools/export_c/runtime/common.c"} <= set(archive.namelist())
    assert image._belongs(Path(in_lab.MODULE).with_name(in_lab.ARCHIVE))


@pytest.mark.thorough
def test_what_has_no_program_says_why() -> None:
    """A claim without a program is refused in one sentence, with status 1."""
    done = export("kvmtests/x86/test_benchmark_counters.py", "--target", "sim-x86_64")

    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("export_c: ")
    assert "Traceback" not in done.stderr


def test_program_is_ascii() -> None:
    """A claim's text with another character than ASCII's gives a program all the same."""
    assert command._in_ascii("within 5 µs – or so") == "within 5 us ? or so"


@pytest.mark.thorough
def test_unknown_target_is_named() -> None:
    """A target that does not exist is named, with the nearest one."""
    done = export(WINDOW, "--target", "sim-x86_46")

    assert done.returncode == 1
    assert "sim-x86_46" in done.stderr


@pytest.mark.thorough
def test_arm64_program_carries_the_guest_that_it_starts() -> None:
    """Every guest program whose registers are set is in the guest's memory."""
    text = exported(FREQUENCY, "sim-arm64-vhe")

    assert "start(&vcpu_0, 0x100a0 /* cntfrq */, " in text
    assert "program_cntfrq, sizeof(program_cntfrq)" in text


@pytest.mark.thorough
def test_union_is_filled_by_its_padding() -> None:
    """What a claim puts into a union of Xen's attributes is in the program, by the member that covers it."""
    text = exported("kvmtests/x86/test_xen.py::test_unaligned_vcpu_info_is_refused[sim-x86_64]", "sim-x86_64")

    assert ".u.pad[0] = 4186114 " in text


def test_address_of_the_recorded_process_does_not_come_out() -> None:
    """A claim that has KVM fill a bitmap of written pages has no program, not one with its address."""
    case = "kvmtests/x86/test_written_pages.py::test_calls_of_a_paused_vcpu_write_no_page[sim-x86_64-set-khz]"

    done = export(case, "--target", "sim-x86_64")

    assert (done.returncode, done.stdout) == (1, "")
    assert "bitmap" in done.stderr.partition("has no program: ")[2]


def test_exception_handlers_come_with_claims_that_expect_exceptions() -> None:
    """Handlers and their tables are there where a check expects an exception, and nowhere else."""
    plain, faulting = exported(WINDOW, "sim-x86_64"), exported(EXCEPTION, "sim-x86_64")

    assert "run_guest_to_exception(&vcpu_0);" in faulting
    for part in ("program_faults", "/* IDT */", "sregs.idt = ", "/* TSS */"):
        assert (part in faulting, part in plain) == (True, False)


def test_guest_that_never_runs_stays_out() -> None:
    """A program whose vCPUs never run has no guest."""
    assert "load_guest" not in exported(REFUSAL, "sim-x86_64")


def test_programs_stay_readable() -> None:
    """Programs of one window, one refusal and one register of arm64 have at most 250 lines."""
    for nodeid, target in ((WINDOW, "sim-x86_64"), (REFUSAL, "sim-x86_64"), (FREQUENCY, "sim-arm64-vhe")):
        assert len(exported(nodeid, target).splitlines()) <= 250


def test_libkvm_form_reads_the_frequency_without_kvm() -> None:
    """On arm64 a program that reads the host's frequency opens no KVM of its own, which it would not use."""
    text = exported(FREQUENCY, "sim-arm64-vhe", "--libkvm")

    assert "= frequency_hz();" in text
    assert "open_kvm_dev_path_or_exit" not in text
