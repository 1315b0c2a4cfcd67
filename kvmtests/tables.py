# SPDX-License-Identifier: GPL-2.0-only
"""Values with which several claims are tried; their ids are words."""

from __future__ import annotations

import pytest

OFFSETS = [
    pytest.param(0, id="zero"),
    pytest.param(1, id="one"),
    pytest.param(2**64 - 1, id="minus-one"),
    pytest.param(180 * 10**9, id="plus-180e9"),
    pytest.param(2**64 - 180 * 10**9, id="minus-180e9"),
    pytest.param(2**31, id="two-to-31"),
    pytest.param(2**64 - 2**31, id="minus-two-to-31"),
    pytest.param(2**32, id="two-to-32"),
    pytest.param(2**63 - 1, id="two-to-63-less-one"),
    pytest.param(2**63, id="two-to-63"),
]
"""Counter offsets in ticks: both signs, and each place where an integer type ends."""

NONZERO_OFFSETS = OFFSETS[1:]
