# SPDX-License-Identifier: GPL-2.0-only
"""Jobs for kernel CIs, checked by their validators if those are installed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from reports import ktap
from reports.tests.test_clients import hostile_run
from reports.whole_file import write_file
from tools import ci_jobs, lava_signals

ROOT = Path(__file__).parents[2]
SYSTEM_PYTHON = "/usr/bin/python3"

LAVA = [
    "lava",
    "--device-type",
    "bcm2711-rpi-4-b",
    "--kernel",
    "http://ci/Image",
    "--rootfs",
    "http://ci/root.tar.xz",
]
LAVA += ["--suite", "http://ci/kselftest.tar.gz"]
MORE = [
    "--dtb",
    "http://ci/b.dtb",
    "--modules",
    "http://ci/m.tar.xz",
    "--method",
    "grub",
    "--prompt",
    "$ # :",
]
KERNELCI = ["kernelci", "--arch", "arm64", "--build", "kbuild-gcc-14-arm64", "--runtime", "lava-lab"]
KERNELCI += [
    "--platform",
    "bcm2711-rpi-4-b",
    "--platform",
    "rk3588-rock-5b",
    "--rootfs",
    "http://ci/{debarch}",
]

VALIDATE = """
import sys, yaml
from lava_common.schemas import validate
from lava_common.schemas.test import testdef
job = yaml.safe_load(sys.stdin)
validate(job)
testdef.validate(job["actions"][2]["test"]["definitions"][0]["repository"])
"""


def document(capsys: pytest.CaptureFixture[str], words: list[str]) -> str:
    """Return what the command prints."""
    assert ci_jobs.main(words) == 0
    return capsys.readouterr().out


def system_python(program: str, text: str, package: str) -> str:
    """Return what Debian's python3 prints for *program* with *text* before it, or skip."""
    if not Path(SYSTEM_PYTHON).exists():
        pytest.skip(f"no {SYSTEM_PYTHON}")
    done = subprocess.run(
        [SYSTEM_PYTHON, "-c", program], input=text, capture_output=True, text=True, timeout=50, check=False
    )
    if "ModuleNotFoundError" in done.stderr:
        pytest.skip(f"install Debian's {package}")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.clients
@pytest.mark.parametrize("words", [LAVA, LAVA + MORE], ids=["least", "most"])
def test_lava_takes_job_and_definition(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """LAVA's own schemas, strict, take the job and the test definition in it."""
    system_python(VALIDATE, document(capsys, words), "lava-common")


@pytest.mark.clients
@pytest.mark.parametrize("words", [LAVA + MORE, KERNELCI], ids=["lava", "kernelci"])
def test_yaml_says_what_was_meant(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A YAML reader gets the document back, every text a text."""
    options = ci_jobs._parser().parse_args(words)
    meant = ci_jobs.lava(options) if words[0] == "lava" else ci_jobs.kernelci(options)

    read = system_python(
        "import json, sys, yaml; print(json.dumps(yaml.safe_load(sys.stdin)))",
        document(capsys, words),
        "python3-yaml",
    )

    assert json.loads(read) == meant


@pytest.mark.parametrize(
    "text", ["yes", "1.5", "12:30", "a: b", "# x", "", "- a", "{x}", "*a", "@b", "über", "a\nb"]
)
def test_texts_that_yaml_would_take_for_something_else_are_quoted(text: str) -> None:
    """Truth values, numbers, times, comments, anchors: a text stays a text."""
    (line,) = ci_jobs.yaml({"key": text})

    assert line == f"key: {json.dumps(text)}"


def test_kernelci_entry_names_one_job_throughout(capsys: pytest.CaptureFixture[str]) -> None:
    """The scheduler's item names the job; the suite's path is one that KCIDB takes."""
    lines = document(capsys, KERNELCI).splitlines()

    name = lines[lines.index("jobs:") + 1].strip().removesuffix(":")
    suite = next(line for line in lines if "kcidb_test_suite" in line).split(": ")[1]
    assert f"  - job: {name}" in lines
    assert re.fullmatch(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", suite)


def test_signals_are_what_lava_splits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Even for hostile names: one space between words, one "=" in each, no ">" inside, LAVA's verdicts."""
    run = hostile_run()
    log = write_file(tmp_path / "log", ktap.flat(run))

    status = lava_signals.main([str(log)])

    lines = capsys.readouterr().out.splitlines()
    assert status == 0
    assert len(lines) == len(run.results)
    assert len({line.split()[1] for line in lines}) == len(lines)
    pattern = r"<LAVA_SIGNAL_TESTCASE TEST_CASE_ID=[^\s=>/]+ RESULT=(pass|fail|skip)>"
    verdicts = [found[1] if (found := re.fullmatch(pattern, line)) else line for line in lines]
    assert verdicts.count("fail") == sum(result.bad for result in run.results)
    assert verdicts.count("skip") == sum(result.verdict == "skip" for result in run.results)


def test_signals_need_no_packages(tmp_path: Path) -> None:
    """On the board there is python3 alone."""
    log = tmp_path / "log"
    log.write_text(
        "TAP version 13\n1..1\n# TAP version 13\n# 1..1\n# ok 1 a\nok 1 selftests: kvmtests: kvm_x86_a.sh\n"
    )
    path = f"import sys; sys.path.insert(0, {str(ROOT)!r})"
    program = f"{path}; from tools import lava_signals; lava_signals.main(sys.argv[1:])"

    words = [sys.executable, "-I", "-S", "-c", program, str(log)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=50, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("<LAVA_SIGNAL_TESTCASE ") == 1
