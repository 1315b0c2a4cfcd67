# SPDX-License-Identifier: GPL-2.0-only
"""A rack of two hosts, reached by SSH: every test on both, one journal, one report (docs/rack.md)."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from reports import read_journal
from reports.model import Verdict
from tools.tests import rack

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.rack, pytest.mark.timeout(300)]


@pytest.fixture
def hosts(tmp_path: Path, pytestconfig: pytest.Config) -> Iterator[Path]:
    """Give the SSH settings of two hosts."""
    if "rack" not in (pytestconfig.option.markexpr or ""):
        pytest.skip("network namespaces are made only with: pytest -m rack")
    reason = rack.missing()
    if reason:
        pytest.skip(reason)
    with rack.rack(tmp_path) as settings:
        yield settings


def test_every_claim_runs_on_both_hosts(hosts: Path, tmp_path: Path) -> None:
    """Both hosts get the checkout and run the same claims; their names distinguish the results."""
    words = [
        sys.executable,
        "-m",
        "tools.rack",
        *rack.NAMES,
        "--ssh-config",
        str(hosts),
        f"--out={tmp_path}/out",
    ]
    words += [f"--python={sys.executable}", f"--folder={tmp_path}/there", "--target=sim-x86_64"]
    words += ["--", "-k", "test_set_value_takes_effect and zero"]

    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=250, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    found = read_journal.read([tmp_path / "out/journal.jsonl"])
    alpha, beta = (
        [result for result in found.results if result.target == f"sim-x86_64@{name}"] for name in rack.NAMES
    )
    assert len(alpha) + len(beta) == len(found.results) > 0
    assert [result.name for result in alpha] == [result.name for result in beta]
    assert {result.verdict for result in found.results} == {Verdict.PASS}
    names = {session.host: dict(session.facts).get("hostname") for session in found.sessions}
    assert (names["alpha"], names["beta"]) == ("alpha", "beta")
