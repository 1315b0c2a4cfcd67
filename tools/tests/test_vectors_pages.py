# SPDX-License-Identifier: GPL-2.0-only
"""docs/vectors.md and docs/writes.md say what the vectors file holds."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tools.vectors import document
from tools.vectors.classes import CLASSES

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def vectors() -> Any:
    """Give a file with few vectors besides those made for a purpose."""
    return json.loads("\n".join(document.lines(drawn=10)))


@pytest.mark.parametrize("page", ["docs/vectors.md", "docs/writes.md"])
def test_pages_name_vectors_that_exist(page: str, vectors: Any) -> None:
    """Each vector and each METHOD/SHORTCUT that a page names is in the file."""
    text = (ROOT / page).read_text(encoding="utf-8")
    methods = "|".join(vectors["methods"])
    ids = set(re.findall(rf"(?:{methods})\.[a-z0-9-]+", text))
    shortcuts = set(re.findall(rf"(?:{methods})/[a-z0-9-]+", text))

    assert ids
    assert ids <= {vector["id"] for vector in vectors["vectors"]}
    assert shortcuts <= {f"{m}/{s}" for m, method in vectors["methods"].items() for s in method["shortcuts"]}


def test_named_vector_shows_its_trap(vectors: Any) -> None:
    """Where docs/writes.md names a shortcut after a vector, the vector has its error."""
    text = (ROOT / "docs/writes.md").read_text(encoding="utf-8")

    errors = {vector["id"]: vector["errors"] for vector in vectors["vectors"]}

    pairs = re.findall(r"`([a-z0-9-]+\.[a-z0-9-]+)`: `[a-z0-9-]+/([a-z0-9-]+)`", text)

    harmless = [pair for pair in pairs if errors[pair[0]][pair[1]]["ticks"] == "0"]
    assert pairs
    assert harmless == []


def test_page_explains_every_class_and_method() -> None:
    """docs/vectors.md counts the vectors and has a row for each class and each method."""
    text = (ROOT / "docs/vectors.md").read_text(encoding="utf-8")

    absent = [name for name, sentence in CLASSES.items() if f"| `{name}` | {sentence} |" not in text]
    unnamed = [method.name for method in document.METHODS if f"| `{method.name}` |" not in text]
    assert (absent, unnamed) == ([], [])
    assert f"{sum(len(method.cases) + document.DRAWN for method in document.METHODS):,} cases" in text
