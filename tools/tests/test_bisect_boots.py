# SPDX-License-Identifier: GPL-2.0-only
"""`git bisect run` over a tree whose commits are bootable: nothing stands in for anything.

A commit says which packaged kernel it is, as a kernel tree says by its sources, and the build makes that
kernel's image. Skipped where the lab's parts were not fetched (`make lab`); it boots a lab host five times.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.lab import availability, kernel, parts
from fixtures.lab.errors import LabError
from fixtures.lab.hosts import LabHost, find
from tools.tests.git_tree import git

ROOT = Path(__file__).parents[2]
STEP = ROOT / "tools/bisect_step.py"
LAB_HOST = "lab-arm64-protected"
CLAIM = (
    "kvmtests/arm64/test_counter_offset.py::test_physical_counter_is_host_counter_minus_offset"
    f"[{LAB_HOST}-plus-180e9]"
)
"""It fails on 6.12, finding protected-physical-counter, and holds on the newest kernel."""

COMMITS, CULPRIT = 12, 7
BROKEN_BUILD = 6

pytestmark = pytest.mark.timeout(1200)


def image_of(release: str) -> Path:
    """Return the image of the packaged kernel *release* of the lab host; skip where it was not fetched."""
    lab_host = find(f"{LAB_HOST}@{release}")
    assert isinstance(lab_host, LabHost)
    try:
        availability.check(lab_host)
        return kernel.from_packages(parts.kernel_set(lab_host.arch, lab_host.kernel)).image
    except LabError as error:
        pytest.skip(str(error))


@pytest.fixture
def tree(tmp_path: Path) -> tuple[Path, list[str]]:
    """A repository of bootable commits: the culprit goes back to an older kernel, one does not build."""
    good, bad = image_of("newest"), image_of("6.12")
    folder = tmp_path / "linux"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    commits = []
    for number in range(COMMITS):
        (folder / "kernel").write_text(f"{bad if number >= CULPRIT else good}\n")
        (folder / "number").write_text(f"{number}\n")
        (folder / "builds").write_text("no\n" if number == BROKEN_BUILD else "yes\n")
        git(folder, "add", ".")
        git(folder, "commit", "-q", "-m", f"commit {number}", minute=number)
        commits.append(git(folder, "rev-parse", "HEAD").strip())
    (folder / ".git/info/exclude").write_text("Image\n")
    return folder, commits


@pytest.mark.thorough
def test_git_bisect_finds_the_commit_by_booting(tree: tuple[Path, list[str]]) -> None:
    """git names the culprit, and next to it the commit that does not build and so cannot be ruled out."""
    folder, commits = tree
    build = 'sh -c "grep -q yes builds && cp $(cat kernel) Image"'
    git(folder, "bisect", "start", commits[-1], commits[0])

    words = [sys.executable, str(STEP), CLAIM, "--target", LAB_HOST, "--build", build, "--kernel", "Image"]
    done = subprocess.run(
        ["git", "bisect", "run", *words], cwd=folder, capture_output=True, text=True, check=False
    )

    said = done.stdout + done.stderr
    assert "bisect_step: bad: " in said, said
    assert "bisect_step: good: " in said, said
    assert "bisect_step: skip: " in said, said
    assert {commits[BROKEN_BUILD], commits[CULPRIT]} <= set(said.split()), said
