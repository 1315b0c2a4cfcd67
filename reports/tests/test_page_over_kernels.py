# SPDX-License-Identifier: GPL-2.0-only
"""report.html on several kernels and several runs."""

from __future__ import annotations

import pytest

from reports import html
from reports.history import history
from reports.tests.test_history import run
from reports.tests.test_kernels import kernels


def test_page_says_since_which_kernel() -> None:
    """The page has the table of what differs, and the counts in its headline."""
    text = "".join(html.page(kernels(broke="pass pass fail", mended="fail pass pass")))

    assert "lab-svm with 3 kernels, 6.12.117 to 7.3.0: 1 claim fails that passed before, 1 repaired." in text
    assert "fails since 7.3.0 (last good 6.18.2)" in text
    assert "repaired in 6.18.2 (last bad 6.12.117)" in text


def test_page_without_differences_has_no_table_of_kernels() -> None:
    """Kernels that do the same are one line."""
    text = "".join(html.page(kernels(a="pass pass pass")))

    assert "Kernels against each other" not in text
    assert "lab-svm: all 3 cases have the same verdict with each of 3 kernels." in text


@pytest.mark.parametrize("number", [1, 3])
def test_page_shows_each_run_of_a_claim_that_changed(number: int) -> None:
    """The page has a mark for each run, and the sentence."""
    runs = [run(day, "6.12", a="fail" if day == 2 else "pass") for day in range(1, number + 1)]

    text = "".join(html.page(runs[-1], history=history(runs)))

    assert f"{number} runs, oldest first" in text
    assert text.count('<span class="run ') == (number if number > 1 else 0)
    assert ("flaky with 6.12" in text) == (number > 1)
