# SPDX-License-Identifier: GPL-2.0-only
"""contrib/test-definitions and contrib/tuxlava: what LKFT runs, and the job that tuxlava renders."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reports import lava, read_journal
from reports.model import counts
from reports.tests.clients import INSTALL_S, python_client
from tools import lava_results
from tools.lkft import render
from tools.tests import planted

CONTRIB = Path(__file__).parents[2] / "contrib"
SYSTEM_PYTHON = "/usr/bin/python3"
PLACE = Path("automated/linux/kvmtests")

LIBRARY = """
create_out_dir() { mkdir -p "$1"; }
error_fatal() { echo "FATAL ERROR: $1" >&2; exit 1; }
warn_msg() { echo "WARNING: $1" >&2; }
report_skip() { echo "$1 skip" >>"$RESULT_FILE"; }
generate_skipfile() { sed -n 's/^ *- "\\(.*::.*\\)"$/\\1/p' "$SKIPFILE_YAML" >"$SKIPFILE_PATH"; }
"""
"""The functions of automated/lib/sh-test-lib that the script uses, with what they do there."""


@pytest.fixture(scope="module")
def definitions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree of test definitions with ours in it, and the planted claims installed next to it."""
    tree = tmp_path_factory.mktemp("lkft")
    shutil.copytree(CONTRIB / "test-definitions", tree, dirs_exist_ok=True)
    (tree / "automated/lib").mkdir()
    (tree / "automated/lib/sh-test-lib").write_text(LIBRARY)
    planted.install(tree / "installed")
    return tree


@pytest.fixture
def place(definitions: Path) -> Iterator[Path]:
    """The folder of our definition, without the output of a run before."""
    yield definitions / PLACE
    shutil.rmtree(definitions / PLACE / "output", ignore_errors=True)


def run(place: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the definition's script with *options*."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    words = ["./kvmtests.sh", "-p", str(place.parents[2] / "installed"), *options]
    return subprocess.run(
        words, cwd=place, env={"PATH": path}, capture_output=True, text=True, timeout=55, check=False
    )


def test_results_are_those_of_the_journal(place: Path) -> None:
    """result.txt has a line for each claim, in LAVA's words, and a log for each that is not a pass."""
    done = run(place, "-t", planted.TARGET, "-S", "")

    found = read_journal.read([place / "output/journal.jsonl"])
    assert done.returncode == 0, done.stderr
    assert {verdict: n for verdict, n in counts(found.results).items() if n} == planted.VERDICTS
    assert (place / "output/result.txt").read_text() == "".join(lava.lines(found))
    assert {path.name for path in (place / "output").glob("*.log")} == {name for name, _ in lava.logs(found)}


def test_skip_list_leaves_cases_out(place: Path, tmp_path: Path) -> None:
    """The node ids of skipgen's list do not run; all others do."""
    skip = f"kvmtests/x86/test_planted.py::test_hangs[{planted.TARGET}]"
    (tmp_path / "skips.yaml").write_text(f'skiplist:\n  - tests:\n      - "{skip}"\n')

    run(place, "-t", planted.TARGET, "-S", str(tmp_path / "skips.yaml"))

    cases = (place / "output/result.txt").read_text()
    assert "test_hangs" not in cases
    assert cases.count("\n") == sum(planted.VERDICTS.values()) - 1


def test_computer_that_cannot_run_it(place: Path) -> None:
    """A tree that is not there is a fatal error in a sentence; a suite that did not start has one result."""
    missing = run(place, "-t", planted.TARGET, "-p", "/nowhere")
    unknown = run(place, "-t", "no-such-target")

    assert missing.returncode == 1
    assert missing.stderr == "FATAL ERROR: kvmtests: /nowhere holds no installed tree\n"
    assert unknown.returncode == 0
    assert (place / "output/result.txt").read_text() == lava_results.NOTHING


def test_wrong_usage_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Status 2, and one line."""
    (tmp_path / "file").write_text("")

    assert lava_results.main([]) == 2
    assert lava_results.main([str(tmp_path / "none"), str(tmp_path / "file")]) == 2

    first, second = capsys.readouterr().err.splitlines()
    assert first == "lava_results: name a journal and a folder."
    assert second.startswith("lava_results: cannot write the report")


JUDGE = """
import json, sys, yaml
from lava_common.schemas import validate
from lava_common.schemas.test import testdef
job, definition = json.load(sys.stdin)
job["context"].pop("no_network")  # Debian's LAVA is older than this key of tuxlava's boards.
validate(job)
testdef.validate(yaml.safe_load(definition))
"""
"""LAVA's own schemas of a job and of a test definition."""


@pytest.mark.clients
@pytest.mark.timeout(INSTALL_S + 60)
@pytest.mark.parametrize("device", ["qemu-arm64", "qemu-x86_64"])
def test_tuxlava_renders_a_job(device: str, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """The job names our definition, its parameters and 15 minutes; arm64's board has virtualization=on."""
    python = python_client("python", pytestconfig, "kernel-ci")
    words = ["--device", device, "--kernel", "https://ci/Image", "--rootfs", "https://ci/rootfs.ext4.zst"]
    words += ["--tests", "kvmtests", "--parameters", "KVMTESTS=https://ci/kselftest.tar.gz"]

    done = subprocess.run(
        [python, render.__file__, CONTRIB, *words],
        cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr

    job: dict[str, Any] = json.loads(done.stdout)["job"]
    test = job["actions"][-1]["test"]
    (definition,) = test["definitions"]
    assert test["timeout"] == {"minutes": 15}
    assert (definition["name"], definition["path"]) == ("kvmtests", str(PLACE / "kvmtests.yaml"))
    assert definition["parameters"]["KVMTESTS_URL"] == "https://ci/kselftest.tar.gz"
    assert ("virtualization=on" in json.dumps(job["context"])) == (device == "qemu-arm64")
    if Path(SYSTEM_PYTHON).exists():
        text = json.dumps([job, (CONTRIB / "test-definitions" / PLACE / "kvmtests.yaml").read_text()])
        judged = subprocess.run(
            [SYSTEM_PYTHON, "-c", JUDGE], input=text, capture_output=True, text=True, check=False
        )
        assert judged.returncode == 0 or "ModuleNotFoundError" in judged.stderr, judged.stderr


def test_definition_names_every_parameter() -> None:
    """What tuxlava's template sets is a parameter of the definition."""
    template = (CONTRIB / "tuxlava/templates/tests/kvmtests.yaml.jinja2").read_text()
    definition = (CONTRIB / "test-definitions" / PLACE / "kvmtests.yaml").read_text()

    named = [line.split(":")[0].strip() for line in template.partition("parameters:\n")[2].splitlines()]
    assert named
    assert all(f"\n    {name}: " in definition for name in named)
