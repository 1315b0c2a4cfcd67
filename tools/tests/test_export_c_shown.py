# SPDX-License-Identifier: GPL-2.0-only
"""Findings, and a defect that is injected by hand, fail their program as they fail their claim.

Where a host does not have the finding, its claim holds there, and the same program ends with 0.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from reports.model import Verdict
from tools.export_c import findings
from tools.export_c.agreement import node
from tools.tests.exported import (
    FAILED,
    HAS_KVM,
    STATUS_OF,
    compared,
    compiled,
    exported,
    judged,
    numbers,
    run,
    symptoms,
)

REFUSAL = "kvmtests/x86/test_set_clock.py::test_unknown_flag_is_refused_and_changes_nothing[{}-bit-4]"
SHOWN = ("pvm-ignores-tsc-offset", "refused-khz-sticks", "creation-between-values")
"""Findings that a host of x86 can show, whatever its processor is."""

ACCEPTS_FLAGS = """\
#define _GNU_SOURCE
#include <dlfcn.h>
#include <linux/kvm.h>
#include <stdarg.h>

/* The KVM of this host, except that KVM_SET_CLOCK returns 0 for flags that it does not know. */
int ioctl(int fd, unsigned long request, ...)
{
	int (*next)(int, unsigned long, void *) = dlsym(RTLD_NEXT, "ioctl");
	va_list arguments;
	void *argument;

	va_start(arguments, request);
	argument = va_arg(arguments, void *);
	va_end(arguments);
	if (request == KVM_SET_CLOCK && ((struct kvm_clock_data *)argument)->flags & ~0xeU)
		return 0;
	return next(fd, request, argument);
}
"""


def test_parameter_may_begin_as_a_target_does() -> None:
    """A case whose parameter begins with the word host is on the host with that parameter."""
    assert node("test_a.py::test_b[host-adjust]", "host") == "test_a.py::test_b[host-host-adjust]"
    assert node("test_a.py::test_b", "host") == "test_a.py::test_b[host]"


@pytest.mark.thorough
@HAS_KVM
@pytest.mark.parametrize("page", SHOWN)
def test_finding_fails_its_program_as_its_claim(page: str, tmp_path: Path) -> None:
    """Exported, compiled and run here, the program of a finding ends as the claim, and says the same."""
    (row,) = [one for one in findings.rows() if one.page == page]
    result = judged(node(row.case, "host"), "host", tmp_path / "claim")
    if result.verdict is Verdict.SKIP:
        pytest.skip(f"the claim is skipped on this host: {result.message}")

    done = run(compiled(exported(row.case, "host"), tmp_path))

    assert done.returncode == STATUS_OF[result.verdict], done.stdout
    if result.verdict in FAILED:
        assert done.stdout.splitlines()[-1].startswith("not ok 1 - ")
        assert symptoms(done.stdout) == symptoms(result.message)
        assert compared(done.stdout) <= numbers(result.message)


@pytest.mark.thorough
@HAS_KVM
def test_injected_defect_fails_the_program_too(tmp_path: Path) -> None:
    """A KVM that takes unknown flags (C07) fails the program as it fails the claim; without, it passes.

    On the real KVM a preloaded ioctl(2) stands for the defect: the program is the same.
    """
    claim = judged(REFUSAL.format("sim-x86_64"), "sim-x86_64", tmp_path / "claim", "--defect", "C07")
    program = compiled(exported(REFUSAL.format("sim-x86_64"), "sim-x86_64"), tmp_path)
    defect = _preloaded(tmp_path)

    kept, broken = run(program), run(program, {"LD_PRELOAD": str(defect)})

    assert claim.verdict in FAILED
    assert (kept.returncode, broken.returncode) == (0, 1), kept.stdout + broken.stdout
    assert symptoms(broken.stdout) == symptoms(claim.message) == {"succeeded; the interface promises"}


def _preloaded(folder: Path) -> Path:
    source, library = folder / "defect.c", folder / "defect.so"
    source.write_text(ACCEPTS_FLAGS, encoding="ascii")
    command = ["cc", "-shared", "-fPIC", "-O2", "-o", str(library), str(source), "-ldl"]
    subprocess.run(command, check=True)
    return library
