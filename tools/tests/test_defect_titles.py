# SPDX-License-Identifier: GPL-2.0-only
"""The page of defects and the table of defects agree on the kinds that there are."""

from __future__ import annotations

from fixtures.defects.table import DEFECTS
from reports import html_defects


def test_every_kind_of_defect_has_its_title_on_the_page() -> None:
    """Each first letter of an id heads a section of defects.html; no title is left without defects."""
    letters = {name[0] for name in DEFECTS}

    assert letters == html_defects.TITLES.keys()
    assert all(html_defects.TITLES.values())
