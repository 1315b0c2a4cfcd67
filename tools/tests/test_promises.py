# SPDX-License-Identifier: GPL-2.0-only
"""The pages of claims say of each claim what the claim itself says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.promises import ListedClaim, Promise, PromiseKind
from tools import promises

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(300)  # collects the whole suite, and may share its host with emulators
def test_pages_are_up_to_date() -> None:
    """docs/claims-*.md are what `tools.promises` writes."""
    done = subprocess.run(
        [sys.executable, "-m", "tools.promises", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_table_holds_what_a_claim_says() -> None:
    """A claim is a row of its module: name, sentence, promise; signs that Markdown takes are escaped."""
    promise = Promise(PromiseKind.DE_FACTO, "Linux 5.10 to 7.3")
    claim = ListedClaim("kvmtests/x86/test_a.py", "test_it", "It is 2**64 | more.", promise)

    text = promises.section([claim])

    assert "### test_a.py" in text
    assert r"| `test_it` | It is 2\*\*64 \| more. | de facto: Linux 5.10 to 7.3 |" in text


def test_rest_of_a_page_is_kept(tmp_path: Path) -> None:
    """What was written by hand above the heading stays; what stood below it is replaced."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/claims-x86.md").write_text(f"# By hand\n\ntext\n\n{promises.HEADING}\nold\n")
    claim = ListedClaim("kvmtests/x86/test_a.py", "test_it", "It.", Promise(PromiseKind.DOCUMENTED, "p"))

    [(path, text)] = promises.pages([claim], tmp_path)

    assert path == tmp_path / "docs/claims-x86.md"
    assert text.startswith(f"# By hand\n\ntext\n\n{promises.HEADING}")
    assert "old" not in text
