# SPDX-License-Identifier: GPL-2.0-only
"""The page in headless Chromium: filters, search, links, keys, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from reports import defects, html, html_defects
from reports.model import ReportTarget, Result, Run, Verdict
from reports.tests import samples
from reports.tests.test_clients import hostile_run
from reports.whole_file import write_file
from tools import browser

pytestmark = [pytest.mark.clients, pytest.mark.timeout(180)]

ROWS = "document.querySelectorAll('tr.test').length"
SHOWN = "document.getElementById('shown').textContent"


@pytest.fixture(scope="module")
def program() -> str:
    """Return an installed Chromium."""
    found = browser.find()
    if found is None:
        pytest.skip("no Chromium: install Debian's chromium")
    return found


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the address of a page of 1,000 results."""
    return write_file(tmp_path_factory.mktemp("page") / "r.html", html.page(samples.run(1_000))).as_uri()


@pytest.fixture(scope="module")
def only_tab(program: str) -> Iterator[browser.Page]:
    """Return the tab of the module's browser: starting one takes as long as a test."""
    with browser.page(program) as page:
        yield page


@pytest.fixture
def tab(only_tab: browser.Page) -> browser.Page:
    """Return an empty tab of 1400 x 1000 pixels, with scripts, on a light screen."""
    only_tab.look(width=1400, height=1000)
    only_tab.open("about:blank")  # an address that differs only after its # loads nothing
    return only_tab


def test_filters_and_search_leave_what_they_say(tab: browser.Page, report: str) -> None:
    """A verdict in the address filters; words find names, targets' parameters and logs."""
    failing = {result.name for result in samples.run(1_000).results if result.verdict == "fail"}

    tab.open(f"{report}#verdict=fail")
    assert tab.evaluate(ROWS) == len(failing)

    tab.evaluate("state.verdicts = new Set(); state.query = 'nothing holds this'; changed()")
    assert tab.evaluate(ROWS) == 0
    assert tab.evaluate(SHOWN).startswith("0 of 125")

    tab.evaluate("state.query = 'KVM_SET_DEVICE_ATTR'; changed()")
    assert 0 < tab.evaluate(ROWS) < 125
    assert "q=KVM_SET_DEVICE_ATTR" in tab.evaluate("location.hash")
    assert tab.complaints() == []


def test_link_to_one_test_opens_its_failure(tab: browser.Page, report: str) -> None:
    """The address of a test shows it with message, log and reproduce line."""
    bad = next(result for result in samples.run(1_000).results if result.verdict == "fail")

    tab.open(f"{report}#test={bad.subject}/{bad.name}")

    panel = tab.evaluate("document.querySelector('tr.panel').textContent")
    assert bad.message in panel
    assert bad.repro in panel
    assert "vcpu.tsc_offset = offset" in panel


def test_keys_walk_from_failure_to_failure(tab: browser.Page, report: str) -> None:
    """n goes to the next failure and opens it, Escape closes it, the slash goes to the search."""
    press = "document.dispatchEvent(new KeyboardEvent('keydown', {key: '%s', bubbles: true}))"
    tab.open(report)

    tab.evaluate(press % "n")
    first = tab.evaluate("document.activeElement.getAttribute('aria-label')")
    tab.evaluate(press % "n")
    second = tab.evaluate("document.activeElement.getAttribute('aria-label')")

    assert first != second
    assert tab.evaluate("document.querySelectorAll('tr.panel').length") == 1
    tab.evaluate(press % "Escape")
    assert tab.evaluate("document.querySelectorAll('tr.panel').length") == 0
    tab.evaluate(press % "/")
    assert tab.evaluate("document.activeElement.id") == "search"


def test_every_cell_says_what_it_is(tab: browser.Page, report: str) -> None:
    """Cells are buttons whose labels name verdict, test and target; heads have their scope."""
    tab.open(f"{report}#subject=x86.clock")

    labels = tab.evaluate(
        "[...document.querySelectorAll('.cell')].map(cell => cell.getAttribute('aria-label'))"
    )
    assert labels
    assert all(": test_" in label and " on " in label for label in labels)
    assert tab.evaluate("document.querySelectorAll('#matrix th:not([scope])').length") == 0


def test_hostile_texts_run_nothing(tab: browser.Page, tmp_path: Path) -> None:
    """Markup, script and template syntax in names and logs stay text, and the policy has no complaint."""
    page = write_file(tmp_path / "hostile.html", html.page(hostile_run()))

    tab.open(page.as_uri())
    tab.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    tab.evaluate("[...document.querySelectorAll('.cell')].forEach(cell => cell.click())")

    assert tab.evaluate("document.scripts.length") == 3
    assert "<script>alert(1)</script>" in tab.evaluate("document.body.textContent")
    assert tab.complaints() == []


def test_page_is_readable_without_script(tab: browser.Page, report: str, tmp_path: Path) -> None:
    """With scripts switched off the page still shows something else than an empty matrix."""
    tab.look(width=1200, height=900, script=False)

    tab.open(report)
    tab.screenshot(tmp_path / "plain.png")

    assert (tmp_path / "plain.png").stat().st_size > 30_000


def test_page_of_defects_filters_and_searches(tab: browser.Page, tmp_path: Path) -> None:
    """Words and the way of noticing leave what they say; nothing is refused or raised."""
    records = [
        {"id": "C01", "symptom": "sets a clock", "tests": ["a"], "by_name": True},
        {"id": "T02", "symptom": "reads a TSC", "tests": ["b"]},
        {"id": "T03", "symptom": "writes a TSC"},
    ]
    found = defects.parse(json.dumps({"version": 1, "defects": records}))
    shown = (
        "[...document.querySelectorAll('section.defects .defect:not([hidden]) b')].map(b => b.textContent)"
    )

    tab.open(write_file(tmp_path / "m.html", html_defects.page(found)).as_uri())
    everything = tab.evaluate(shown)
    tab.evaluate("document.getElementById('search').value = 'tsc'; draw()")
    with_word = tab.evaluate(shown)
    tab.evaluate(
        "[...document.querySelectorAll('.chip')].find(c => c.textContent.startsWith('nobody')).click()"
    )

    assert everything == ["C01", "T02", "T03"]
    assert with_word == ["T02", "T03"]
    assert tab.evaluate(shown) == ["T03"]
    assert tab.complaints() == []


def many(targets: int) -> Run:
    """Return a run of two subjects on many targets: two verdicts each, and one test on which they differ."""
    names = [f"sim-arm64-protected-{number}" for number in range(targets)]
    cases = {f"test_a.{case}": "pass" if case < 11 else "xfail" for case in range(43)} | {"test_b": "pass"}
    return Run(
        targets=tuple(ReportTarget(name, "sim", simulated=True) for name in names),
        results=tuple(
            Result(f"{case}[{name}]", case, name, "x86.tsc", Verdict(verdict))
            for place, name in enumerate(names)
            for case, verdict in (cases | ({"test_b": "fail"} if place == 3 else {})).items()
        ),
    )


def test_folded_subject_shows_every_verdict(tab: browser.Page, tmp_path: Path) -> None:
    """A subject's row counts 12 passes and 32 expected failures, not only one of them."""
    tab.open(write_file(tmp_path / "many.html", html.page(many(2))).as_uri())

    cell = tab.evaluate(
        "[...document.querySelector('tr.subject td').children].map(count => count.textContent)"
    )

    assert cell == ["12 ✓", "32 xfail"]


def test_sixteen_targets_fit_a_window_of_1400_pixels(tab: browser.Page, tmp_path: Path) -> None:
    """No column is cut, no name of a target breaks, and neither does a count."""
    tab.open(write_file(tmp_path / "many.html", html.page(many(16))).as_uri())

    beyond = "element => element.getBoundingClientRect().right > innerWidth"
    cut = tab.evaluate(
        f"[...document.querySelectorAll('#matrix th, #matrix td, .targets td')].filter({beyond}).length"
    )
    lines = tab.evaluate(
        "Math.max(...[...document.querySelectorAll('.matrix thead span, .count')]"
        ".map(one => one.getClientRects().length))"
    )

    assert (cut, lines) == (0, 1)
    assert tab.evaluate("document.getElementById('hint').hidden")


def test_more_targets_than_fit_are_said_to_scroll(tab: browser.Page, tmp_path: Path) -> None:
    """A matrix that is wider than its window has a hint, and scrolls by itself."""
    tab.open(write_file(tmp_path / "many.html", html.page(many(40))).as_uri())

    assert not tab.evaluate("document.getElementById('hint').hidden")
    assert tab.evaluate("document.getElementById('matrix').scrollWidth > innerWidth")


def test_chosen_targets_are_the_columns_and_differences_the_rows(tab: browser.Page, tmp_path: Path) -> None:
    """The reader chooses columns; only rows on which those differ are left, and the address keeps both."""
    heads = "[...document.querySelectorAll('.matrix thead th')].map(head => head.title).filter(Boolean)"
    page = write_file(tmp_path / "many.html", html.page(many(16))).as_uri()
    first, differing = "sim-arm64-protected-0", "sim-arm64-protected-3"

    tab.open(f"{page}#target={first},{differing}&differences=1")
    chosen, rows = tab.evaluate(heads), tab.evaluate(ROWS)
    tab.evaluate(f"state.targets = new Set(['{first}', 'sim-arm64-protected-1']); changed()")

    assert (chosen, rows) == ([first, differing], 1)
    assert tab.evaluate(ROWS) == 0
    assert "differences=1" in tab.evaluate("location.hash")


def test_controls_cover_no_heading(tab: browser.Page, report: str) -> None:
    """The controls stay where they are; below them only the matrix's own head sticks, inside its table."""
    tab.open(report)

    stuck = tab.evaluate(
        "[...document.querySelectorAll('body *')].filter(one => getComputedStyle(one).position === 'sticky')"
        ".every(one => one.closest('.matrix thead'))"
    )

    assert stuck


def test_known_issue_links_to_its_page(tab: browser.Page, tmp_path: Path) -> None:
    """From a cell the known issue's name leads to what the page says of it, opened."""
    known = Result("a::t", "t", "host", "a", Verdict.XFAIL, known_issue="khz", reason="the ratio is replaced")
    tab.open(
        write_file(
            tmp_path / "known.html", html.page(Run(targets=(ReportTarget("host"),), results=(known,)))
        ).as_uri()
    )

    tab.evaluate("document.querySelector('.cell').click()")
    tab.evaluate("document.querySelector('tr.panel a').click()")
    tab.evaluate("new Promise(done => setTimeout(done, 50))")

    assert tab.evaluate("document.getElementById('known-1').open")
    assert tab.evaluate("document.querySelectorAll('.cell').length") == 1


def test_narrow_window_scrolls_the_matrix_not_the_page(tab: browser.Page, report: str) -> None:
    """At 400 pixels nothing but tables is wider than the window, and names keep room."""
    tab.look(width=400, height=800)

    tab.open(report)

    assert tab.evaluate("document.documentElement.scrollWidth") <= 400
    assert tab.evaluate("document.querySelector('tr.test th').offsetWidth") >= 200
    counts = "[...document.querySelectorAll('.targets td.number:not(.zero)')]"
    assert tab.evaluate(f"{counts}.every(one => one.offsetWidth && one.getBoundingClientRect().right <= 400)")


def test_printed_page_is_light(tab: browser.Page, report: str) -> None:
    """Paper is white whatever the system's colours are."""
    dark = {"name": "prefers-color-scheme", "value": "dark"}
    paper = "getComputedStyle(document.body).backgroundColor"

    tab.look(width=800, height=800, dark=True)
    tab.open(report)
    on_screen = tab.evaluate(paper)
    tab.call("Emulation.setEmulatedMedia", media="print", features=[dark])

    assert on_screen != "rgb(255, 255, 255)"
    assert tab.evaluate(paper) == "rgb(255, 255, 255)"
