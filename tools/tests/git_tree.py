# SPDX-License-Identifier: GPL-2.0-only
"""git repositories that tests make and bisect."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def git(tree: Path, *words: str, minute: int = 0) -> str:
    """Run git in *tree* without the user's settings, at a *minute* of its own; return its output."""
    date = f"2026-01-01T00:{minute:02}:00Z"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
        # git takes commits of one second in the order of their hashes, and so other steps each time.
        "GIT_AUTHOR_DATE": date,
        "GIT_COMMITTER_DATE": date,
    }
    author = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    done = subprocess.run(
        ["git", *author, *words], cwd=tree, capture_output=True, text=True, check=True, env=environment
    )
    return done.stdout
