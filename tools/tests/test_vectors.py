# SPDX-License-Identifier: GPL-2.0-only
"""The vectors file: its form, its answers, and that every shortcut and class shows in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tools.vectors import document
from tools.vectors.__main__ import main
from tools.vectors.classes import CLASSES
from tools.vectors.model import Method

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((ROOT / "contrib/vectors/schema.json").read_text(encoding="utf-8"))

SHORTCUTS = [
    pytest.param(method, shortcut.name, id=f"{method.name}/{shortcut.name}")
    for method in document.METHODS
    for shortcut in method.shortcuts
]


def parsed(drawn: int) -> Any:
    """Return a file with *drawn* vectors of each method besides the named ones."""
    return json.loads("\n".join(document.lines(drawn=drawn)))


@pytest.fixture(scope="module")
def small() -> Any:
    """Give a file with few vectors."""
    return parsed(drawn=10)


@pytest.fixture(scope="module")
def whole() -> Any:
    """Give the file as it is by default."""
    return parsed(document.DRAWN)


@pytest.fixture(scope="module")
def errors(whole: Any) -> Mapping[str, list[Any]]:
    """Give the errors of all vectors of each method."""
    found: dict[str, list[Any]] = {method.name: [] for method in document.METHODS}
    for vector in whole["vectors"]:
        found[vector["method"]].append(vector["errors"])
    return found


def test_file_has_ten_thousand_vectors(whole: Any) -> None:
    """The default file has at least 10,000 vectors, each with an id of its own."""
    ids = {vector["id"] for vector in whole["vectors"]}

    assert len(ids) == len(whole["vectors"]) >= 10_000


def test_same_seed_same_bytes() -> None:
    """Another interpreter with another hash seed writes the same bytes."""
    command = [sys.executable, "-m", "tools.vectors", "--drawn", "5"]

    outputs = {
        subprocess.run(
            command, cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }

    assert outputs == {("\n".join(document.lines(drawn=5)) + "\n").encode()}


def test_other_seed_other_numbers() -> None:
    """The seed is in the file and draws other vectors; the named ones stay."""
    one, other = (json.loads("\n".join(document.lines(seed, drawn=1))) for seed in (1, 2))

    named = [v for v in one["vectors"] if "sentence" in v]
    drawn = [(a, b) for a, b in zip(one["vectors"], other["vectors"], strict=True) if "sentence" not in a]
    assert (one["seed"], other["seed"]) == (1, 2)
    assert named == [v for v in other["vectors"] if "sentence" in v]
    assert all(a != b for a, b in drawn)


def test_file_fits_its_schema(small: Any) -> None:
    """The file is what contrib/vectors/schema.json describes, and that is a valid schema."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)

    jsonschema.Draft202012Validator(SCHEMA).validate(small)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        pytest.param("source_host_tsc", 7, id="count-as-number"),
        pytest.param("source_host_tsc", "07", id="leading-zero"),
        pytest.param("source_host_tsc", "-7", id="negative"),
        pytest.param("tsc_khz", "2600000", id="frequency-as-string"),
    ],
)
def test_schema_refuses_other_numbers(small: Any, field: str, value: object) -> None:
    """64 bits are strings of digits, frequencies are numbers, and the schema holds both."""
    vector = {**small["vectors"][0], "input": {**small["vectors"][0]["input"], field: value}}

    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(SCHEMA).validate({**small, "vectors": [vector]})


def test_no_reader_loses_bits(whole: Any) -> None:
    """Every JSON number of the file fits 53 bits."""
    numbers = [
        value
        for vector in whole["vectors"]
        for part in (vector["input"], vector["answer"])
        for value in part.values()
        if isinstance(value, int)
    ]

    assert numbers
    assert max(numbers) < 2**53


def test_vectors_hold_what_their_method_describes(whole: Any) -> None:
    """Inputs, answers and errors of each vector are those that its method lists, in that order."""
    for vector in whole["vectors"]:
        method = whole["methods"][vector["method"]]
        assert list(vector["input"].keys() ^ method["inputs"].keys()) == []
        assert list(vector["answer"]) == list(method["answers"])
        assert list(vector["errors"]) == list(method["shortcuts"])
        assert method["judged"] == next(iter(vector["answer"]))


def test_classes_are_those_of_the_shortcuts() -> None:
    """Each class has a shortcut, and each shortcut a class that the file explains."""
    used = {shortcut.error_class for method in document.METHODS for shortcut in method.shortcuts}

    assert used == set(CLASSES)


@pytest.mark.parametrize(("method", "name"), SHORTCUTS)
def test_shortcut_costs_something_somewhere(
    method: Method, name: str, errors: Mapping[str, list[Any]]
) -> None:
    """Each shortcut is wrong on a vector, by an error that no other shortcut of its method has everywhere."""
    costs = [one[name] for one in errors[method.name]]
    others = {other.name for other in method.shortcuts if other.name != name}

    assert any(cost != {"ticks": "0", "ns": "0"} for cost in costs)
    assert not [other for other in others if [one[other] for one in errors[method.name]] == costs]


def vector_of(document_: Any, name: str) -> Any:
    """Return the vector called *name*."""
    return next(vector for vector in document_["vectors"] if vector["id"] == name)


def test_four_seconds_by_hand(small: Any) -> None:
    """A blackout of 4 s at 2 599 998 kHz, computed by hand, and what 64 signed bits make of it.

    10,399,992,000 ticks pass and the hosts are 6,999,876,543,211 apart; the offset was
    -6,999,000,000,000. Their product with Hz, 10,399,992,000,000,000,000, is 2**64 less in int64.
    """
    vector = vector_of(small, "x86-offset.four-seconds")

    assert vector["answer"] == {"tsc_offset": str(10_399_992_000 + 6_999_876_543_211 - 6_999_000_000_000)}
    assert vector["errors"]["hz-in-int64"] == {"ticks": "-18446744073", "ns": "-7094907025"}
    assert vector["errors"]["khz-in-int64"] == {"ticks": "0", "ns": "0"}


def test_arm64_errors_are_the_guests(small: Any) -> None:
    """arm64's guest = host - offset: a counter that stood is late, although its offset is greater."""
    vector = vector_of(small, "arm64-offset.four-seconds")

    assert vector["errors"]["count-frozen"] == {"ticks": "-100000000", "ns": "-4000000000"}


def test_narrow_counter_hides_a_whole_turn(small: Any) -> None:
    """With 56 bits the error is modulo 2**56, and a wrap is not lost in 64-bit differences."""
    wrap = vector_of(small, "arm64-elapsed.56-bits-wrap")

    assert wrap["answer"] == {"elapsed_ns": "1000000000"}
    assert int(wrap["errors"]["64-bit-difference"]["ns"]) != 0
    assert vector_of(small, "arm64-elapsed.64-bits-wrap")["errors"]["64-bit-difference"]["ns"] == "0"


def test_negative_number_of_vectors_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """--drawn below 0 ends with usage and one sentence."""
    with pytest.raises(SystemExit) as ended:
        main(["--drawn", "-1"])

    assert ended.value.code == 2
    assert "argument --drawn: this is a number from 0 on" in capsys.readouterr().err
