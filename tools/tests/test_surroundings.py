# SPDX-License-Identifier: GPL-2.0-only
"""Signals of others end KVM_RUN, and a host may have just booted: no claim takes that for a defect of KVM."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from fixtures.targets import all_targets, probe
from fixtures.tests import booted, signalled
from reports import read_journal
from reports.model import Verdict

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 600
FINE = {Verdict.PASS, Verdict.SKIP, Verdict.XFAIL}
ALL = pytest.mark.thorough, pytest.mark.timeout(LIMIT_S)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        pytest.param("sim-x86_64", (), id="sim-x86_64"),
        pytest.param("sim-arm64-vhe", (), id="sim-arm64-vhe"),
        pytest.param("host", ("--all",), marks=ALL, id="host-all"),
        pytest.param("sim-x86_64", ("--all",), marks=ALL, id="sim-x86_64-all"),
        pytest.param("sim-arm64-vhe", ("--all",), marks=ALL, id="sim-arm64-vhe-all"),
        pytest.param("sim-arm64-nested", ("--all",), marks=ALL, id="sim-arm64-nested-all"),
        pytest.param("sim-riscv64-sstc", ("--all",), marks=ALL, id="sim-riscv64-sstc-all"),
    ],
)
def test_claims_hold_whatever_signals_arrive(name: str, arguments: tuple[str, ...], tmp_path: Path) -> None:
    """With a signal at a quarter of all KVM_RUNs each claim passes, or ends as it does without."""
    reason = probe(all_targets()[name]).reason
    if reason is not None:
        pytest.skip(reason)

    found = verdicts(tmp_path, "--target", name, *arguments, "--", "-p", signalled.__name__)

    assert set(found) <= FINE
    assert found[Verdict.PASS] > 50


AGES = [
    pytest.param(10**8, id="seconds"),
    pytest.param(2**32 - 10**6, id="minutes"),  # 2**32 passes
    pytest.param(2**37 + 7 * 10**9, id="half-an-hour"),  # counts of guests with offsets pass 0
    pytest.param(180 * 10**9 - 10**6, id="an-hour"),
    pytest.param(2**40 - 10**6, id="hours"),
    pytest.param(2**56 - 2**41, id="decades"),
]
"""Host counters as claims begin, near the offsets that claims have; the ages are of a board with 62.5 MHz."""
OF_ALL_AGES = ("sim-x86_64", "sim-arm64-vhe", "sim-arm64-nested", "sim-riscv64-sstc")


@pytest.mark.thorough
@pytest.mark.timeout(LIMIT_S)
@pytest.mark.parametrize("at_boot", AGES)
def test_claims_hold_however_long_the_host_has_run(at_boot: int, tmp_path: Path) -> None:
    """Whatever the host's counter shows, each claim passes, or ends as it does without."""
    targets = [word for name in OF_ALL_AGES for word in ("--target", name)]
    plugin = ("-p", booted.__name__, "--counter-at-boot", str(at_boot))

    found = verdicts(tmp_path, *targets, "--all", "--", *plugin)

    assert set(found) <= FINE
    assert found[Verdict.PASS] > 1000


def verdicts(folder: Path, *arguments: str) -> Counter[Verdict]:
    """Return how often each verdict is in a run with *arguments*."""
    words = [sys.executable, "-m", "tools.check", "--out", str(folder), *arguments]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    done = subprocess.run(
        words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    results = read_journal.read([folder / "journal.jsonl"]).results
    assert results, done.stdout[-4000:] + done.stderr
    return Counter(result.verdict for result in results)
