# SPDX-License-Identifier: GPL-2.0-only
"""A kernel and the simulator answer the same script, played at the same times, alike (docs/agreement.md)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.agreement import corpus
from fixtures.agreement.script import Script, load
from fixtures.architectures import RISCV64

pytestmark = [
    pytest.mark.promise(de_facto="Linux 6.12 to 7.2"),
    pytest.mark.thorough,
    pytest.mark.real_kernel,
]


@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in corpus.paths(RISCV64.name)])
def test_script_has_one_answer(path: Path, agree: Callable[[Script], None]) -> None:
    """The target's host answers each action of a kept script as its simulated counterpart does."""
    agree(load(path))
