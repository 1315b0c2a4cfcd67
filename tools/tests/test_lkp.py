# SPDX-License-Identifier: GPL-2.0-only
"""contrib/lkp: what LKP's program runs, and the stats that its parser prints."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from reports import ktap, read_journal
from reports.model import Run, counts
from reports.squad import word
from tools.tests import planted

PROGRAM = Path(__file__).parents[2] / "contrib/lkp/programs/kvmtests"

LIBRARY = """
log_cmd() { echo "$@"; "$@"; }
die() { echo "$@" >&2; exit 1; }
cd_benchmark() { cd "$BENCHMARK_ROOT/kvmtests" || die missing; }
"""
"""The functions of LKP's library that the program uses, as its lib/run.sh and others have them."""

AWKS = [
    pytest.param(["awk", "-f"], id="awk"),
    pytest.param(["mawk", "-f"], id="mawk"),
    pytest.param(["gawk", "-f"], id="gawk"),
    pytest.param(["busybox", "awk", "-f"], id="busybox"),
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A computer of LKP with the planted claims installed, and its library."""
    base = tmp_path_factory.mktemp("lkp")
    planted.install(base / "benchmarks/kvmtests")
    (base / "lib").mkdir()
    for name in ("debug.sh", "reproduce-log.sh", "run.sh"):
        (base / "lib" / name).write_text(LIBRARY if name == "run.sh" else "")
    return base


def start(base: Path, *options: str, test: str = "") -> subprocess.CompletedProcess[str]:
    """Run LKP's program in *base*; *options* are pytest's, *test* is the job's parameter."""
    arguments = " ".join([f"--target={planted.TARGET}", *options])
    environment = {
        "LKP_SRC": str(base),
        "BENCHMARK_ROOT": str(base / "benchmarks"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "KSELFTEST_KVM_X86_PLANTED_SH_ARGS": arguments,
        "test": test,
    }
    return subprocess.run(
        [PROGRAM / "run"], env=environment, capture_output=True, text=True, timeout=55, check=False
    )


@pytest.fixture(scope="module")
def runs(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[Run, str]]:
    """Return a function that gives journal and log of a run with pytest's options, which runs once."""

    @cache
    def run(*options: str) -> tuple[Run, str]:
        journal = tmp_path_factory.mktemp("run") / "journal.jsonl"
        done = start(base, f"--journal={journal}", *options)
        assert done.returncode == 0, done.stderr
        return read_journal.read([journal]), done.stdout

    return run


def parsed(log: str, awk: list[str]) -> dict[str, int]:
    """Return the stats that the parser prints for *log*."""
    if shutil.which(awk[0]) is None:
        pytest.skip(f"no {awk[0]}")
    done = subprocess.run(
        [*awk, PROGRAM / "parse"], input=log, capture_output=True, text=True, timeout=50, check=True
    )
    lines = [line.rpartition(": ") for line in done.stdout.splitlines()]
    stats = {name: int(value) for name, _, value in lines}
    assert len(stats) == len(lines)
    return stats


def totals(stats: dict[str, int]) -> dict[str, int]:
    """Return how many results have each verdict, as the stats say."""
    return {name.removeprefix("total."): n for name, n in stats.items() if name.startswith("total.")}


def of_journal(run: Run) -> dict[str, int]:
    """Return the stats of claims that the results of *run* ought to be."""
    names = ktap.flat_names(run.results)
    return {f"{name}.{word(result)}": 1 for name, result in zip(names, run.results, strict=True)}


@pytest.mark.parametrize("options", [(), planted.STRICT], ids=["lenient", "strict"])
@pytest.mark.parametrize("awk", AWKS)
def test_stats_are_those_of_the_journal(
    runs: Callable[..., tuple[Run, str]], options: tuple[str, ...], awk: list[str]
) -> None:
    """Each claim has its stat, and the totals count all verdicts, as the journal of the same run does."""
    run, log = runs(*options)

    stats = parsed(log, awk)
    assert {verdict: number for verdict, number in counts(run.results).items() if number} == planted.VERDICTS
    assert totals(stats) == {verdict.value: number for verdict, number in planted.VERDICTS.items()}
    claims = {name: number for name, number in stats.items() if not name.startswith("total.")}
    assert claims == of_journal(run)
    assert Counter(name.rpartition(".")[2] for name in claims)["fail"] == sum(one.bad for one in run.results)


def test_programs_can_be_chosen_and_be_skips(base: Path) -> None:
    """The job's parameter names programs; one that cannot run is a skip and no error, an unknown name one."""
    skipped = start(base, "-k", "nothing", test="kvm_x86_planted.sh")
    unknown = start(base, test="kvm_x86_planted.sh kvm_x86_gone.sh")

    assert skipped.returncode == 0
    assert parsed(skipped.stdout, ["awk", "-f"]) == {"kvm_x86_planted.sh.skip": 1, "total.skip": 1}
    assert unknown.returncode == 2


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param(
            ["not ok 1 selftests: kvmtests: kvm_x86_a.sh # exit=137"],
            {"kvm_x86_a.sh.fail": 1, "total.error": 1},
            id="program-died",
        ),
        pytest.param(
            [
                "# TAP version 13",
                "# 1..3",
                "# ok 1 x86.a.b",
                "not ok 1 1 selftests: kvmtests: kvm_x86_a.sh # exit=1",
            ],
            {
                "x86.a.b.pass": 1,
                "kvm_x86_a.sh.fail": 1,
                "total.pass": 1,
                "total.error": 1,
                "total.not_run": 2,
            },
            id="program-died-between",
        ),
        pytest.param(
            ["# 1..2", "# ok 1 x86.a.b # skip KVM_CAP_N"],
            {"x86.a.b.skip": 1, "total.skip": 1, "total.not_run": 1},
            id="log-ends",
        ),
        pytest.param(["# # ok 1 said", "# 1..0 # SKIP no", "noise # ok 2 a"], {}, id="noise"),
    ],
)
def test_what_is_missing_never_passes(lines: list[str], expected: dict[str, int]) -> None:
    """A program that dies is a failure of its own; results that were planned and are missing are counted."""
    assert parsed("\n".join(lines) + "\n", ["awk", "-f"]) == expected
