# SPDX-License-Identifier: GPL-2.0-only
"""A kernel and the simulator give one answer to the same steps at the same times (docs/agreement.md)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.agreement import corpus
from fixtures.agreement.script import Script, load

pytestmark = [pytest.mark.thorough, pytest.mark.real_kernel]


@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in corpus.paths("x86_64")])
def test_script_has_one_answer(path: Path, agree: Callable[[Script], None]) -> None:
    """Each step of a kept script is answered as by a simulated twin of the target's host."""
    agree(load(path))
