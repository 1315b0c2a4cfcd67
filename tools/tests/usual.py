# SPDX-License-Identifier: GPL-2.0-only
"""Parameters of which a few run each time, and the others with ALL=1 and in CI."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import pytest
from _pytest.mark import ParameterSet


def few_of(values: Iterable[str], usual: Collection[str]) -> list[ParameterSet]:
    """Return *values* as parameters; those that are not *usual* are marked thorough."""
    return [pytest.param(each, marks=[] if each in usual else pytest.mark.thorough) for each in values]
