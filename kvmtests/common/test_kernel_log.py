# SPDX-License-Identifier: GPL-2.0-only
"""What the kernel under test says of itself while no test runs; during a test, that test fails."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.promise(documented="Documentation/process/deprecated.rst, BUG() and BUG_ON()")


@pytest.mark.real_kernel
def test_kernel_complains_of_nothing_outside_tests(complaints_outside_tests: list[str]) -> None:
    """Before and between the tests the kernel logs no WARNING, BUG, stall or oops, and is tainted no further.

    In the lab the time before the tests begins with the boot.
    """
    assert complaints_outside_tests == []
