# SPDX-License-Identifier: GPL-2.0-only
"""defects.html: what it says of each defect, and what texts in defects.json cannot do to it."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports import html_defects
from reports.defects import DefectsError, parse
from reports.tests.texts import NASTY, texts

TEST = "kvmtests/x86/test_set_clock.py::test_a[sim-x86_64]"


def defect(name: str, **fields: object) -> dict[str, object]:
    """Return the record of a defect that the claim for it noticed, with *fields* changed."""
    return {
        "id": name,
        "symptom": "KVM_SET_CLOCK ignores the realtime.",
        "part": "clock",
        "variation": "RealtimeIgnored",
        "targets": ["sim-x86_64"],
        "noticed_by": "x86/test_set_clock.py::test_a",
        "by_name": True,
        "first": TEST,
        "first_s": 0.5,
        "tests": [TEST, TEST.replace("test_a", "test_b")],
        "asked": 2,
        "message": "1 is outside",
        "trouble": "",
        **fields,
    }


LOST = {"by_name": False, "first": "", "first_s": 0.0, "tests": [], "message": ""}


def text(*defects: dict[str, object], **fields: object) -> str:
    """Return a defects.json."""
    return json.dumps({"version": 1, "seconds": 12.4, "defects": defects, **fields})


def page(*defects: dict[str, object], **fields: object) -> str:
    """Return the page of a defects.json."""
    return "".join(html_defects.page(parse(text(*defects, **fields))))


def test_what_no_claim_noticed_comes_first() -> None:
    """The headline counts, and an unnoticed defect stands above all others."""
    found = page(defect("C01"), defect("C02", **LOST), defect("C03", by_name=False))

    assert "2 of 3 defects noticed, 1 by the claim that is there for them" in found
    assert '<p class="headline bad">' in found
    assert re.findall(r'<b class="mono">(C\d+)</b>', found) == ["C02", "C01", "C02", "C03"]
    assert "2 claims ran, none failed" in found


def test_each_defect_shows_what_noticed_it_and_how_soon() -> None:
    """First claim, seconds, every claim that failed, the message, and a command to try it."""
    found = page(defect("C01"))

    assert '<span class="mono">x86/test_set_clock.py::test_a</span> after 0.50 s, and 1 more' in found
    assert f"<li>{TEST}</li>" in found
    assert "<dd>1 is outside</dd>" in found
    assert "--defect C01</code>" in found
    assert "Not noticed" not in found


def test_claims_are_counted_by_defects() -> None:
    """A claim that fails for two defects, with whatever parameters, counts two."""
    other = defect("C02", tests=[TEST.replace("]", "-5s]"), TEST.replace("]", "-3s]")])

    assert parse(text(defect("C01"), other)).claims() == [
        ("x86/test_set_clock.py::test_a", 2),
        ("x86/test_set_clock.py::test_b", 1),
    ]


def test_catalogue_and_silent_claims_are_listed() -> None:
    """What is not injected stands there with its reason; silent claims with what that means."""
    found = page(
        defect("C01"),
        silent=["kvmtests/x86/test_c.py::test_c"],
        impossible=[["C28", "no Xen interface"]],
        elsewhere=[["A11", "Linux 6.12"], ["broken"]],
    )

    assert "<li>x86/test_c.py::test_c</li>" in found
    assert "--all runs every claim" in found
    assert "<td>no Xen interface</td>" in found
    assert "1 are shown elsewhere" in found


def test_page_is_one_file_that_allows_only_itself() -> None:
    """Nothing is loaded, the policy names two hashes, and the same values give the same bytes."""
    found = page(defect("C01"))

    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', found)
    assert policy.startswith("default-src 'none'; ")
    assert policy.count("sha256-") == 2
    assert not re.search(r"""(?:src|href)=["'](?!#)""", found)
    assert found == page(defect("C01"))


def test_hostile_texts_stay_text() -> None:
    """Whatever a message or a name holds, no element comes into the page that was not there."""
    changed = [
        {
            name: [hostile] if isinstance(value, list) else hostile
            for name, value in defect("C01").items()
            if isinstance(value, list | str) and name != "trouble"
        }
        for hostile in NASTY
    ]

    pairs = [[hostile, hostile] for hostile in NASTY]
    found = page(*(defect("C01", **each) for each in changed), silent=list(NASTY), impossible=pairs)
    harmless = page(defect("C01"), silent=["m"], impossible=[["m", "m"]])

    assert found.count("<script>") == 1
    assert _elements(found) <= _elements(harmless)


def _elements(found: str) -> set[str]:
    return set(re.findall(r"<[a-z/!][a-z0-9]*", found.partition("<footer")[0]))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*defect("C01"), "x"]), inner)
    ),
    max_leaves=8,
)


@pytest.mark.thorough
@settings(max_examples=50)
@given(
    st.fixed_dictionaries({"version": st.just(1), "defects": st.lists(json_values, max_size=4)}), json_values
)
def test_any_json_makes_a_page_or_a_sentence(record: dict[str, object], more: object) -> None:
    """Fields of any type are taken as far as they make sense."""
    record |= dict.fromkeys(("seconds", "silent", "elsewhere", "impossible", "everything"), more)

    found = parse(json.dumps(record))

    assert "".join(html_defects.page(found)).endswith("</html>")


@settings(max_examples=50)
@given(st.binary(max_size=60) | json_values.map(lambda value: json.dumps(value).encode()))
def test_other_files_are_refused_with_a_sentence(content: bytes) -> None:
    """A file that is not a defects.json gives DefectsError and nothing else."""
    with pytest.raises(DefectsError):
        parse(content)
