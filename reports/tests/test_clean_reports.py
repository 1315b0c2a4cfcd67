# SPDX-License-Identifier: GPL-2.0-only
"""What a guest or a kernel wrote reaches no terminal, no other process and no report as it was."""

from __future__ import annotations

import re
import sys
import unicodedata
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from reports import earlier, text
from reports.model import Verdict
from reports.tests.sessions import call, journal, suite

# Sessions of pytest, also with workers.
pytestmark = pytest.mark.timeout(180)

HOSTILE = r"\x1b]52;c;cm0gLXJm\x07\x1b[2J\x1b]0;title\x9b3J\u202e\u2066\u200b\ufeff\ud800"
"""As Python source: the clipboard, the screen, the title, a C1 sequence, bidi, zero width, a surrogate."""

SHOWN = r"\x1b]52;c;cm0gLXJm\x07\x1b[2J\x1b]0;title\x9b3J\u202e\u2066\u200b\ufeff\ud800"
"""The same, as every reader is shown it."""

TESTS = f"""
import pytest

HOSTILE = "{HOSTILE}"

def test_message(record_property):
    record_property("message", HOSTILE)
    raise ValueError(HOSTILE)

def test_chain():
    try:
        raise KeyError(HOSTILE)
    except KeyError as error:
        raise ValueError(HOSTILE) from error

@pytest.fixture
def prints():
    import sys
    sys.stdout.write(HOSTILE.replace(chr(0xd800), ""))
    raise OSError(5, HOSTILE)

def test_output(prints):
    pass

def test_log():
    import logging
    logging.getLogger().error(HOSTILE)
    pytest.fail(HOSTILE, pytrace=False)

def test_skip():
    pytest.skip(HOSTILE)

def test_xfail():
    pytest.xfail(HOSTILE)

def test_section(request):
    request.node.add_report_section("call", "Console", HOSTILE)
    assert 0
"""
DANGEROUS = {*map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0)), *"\u202e\u2066\u200b\ufeff"} - {"\n", "\t"}


@pytest.mark.thorough
@pytest.mark.parametrize("workers", ["0", "2"])
def test_failures_show_hostile_texts_escaped(tmp_path: Path, workers: str) -> None:
    """Terminal and reports show what a message, a log, output or a section holds; no byte of it acts."""
    suite(tmp_path, TESTS)

    done = call(tmp_path, "-n", workers, "-rA", "--color=no")

    assert done.returncode == 1, done.stdout + done.stderr
    written = {str(path.relative_to(tmp_path / "out")): path for path in earlier.found(tmp_path / "out")}
    texts = {"terminal": done.stdout} | {name: path.read_text() for name, path in written.items()}
    assert not {name: found for name, shown in texts.items() if (found := DANGEROUS & set(shown))}
    assert SHOWN in texts["terminal"].partition("= FAILURES =")[2]
    for name in ("results.tap", "junit.xml", "results.csv", "report.html"):
        assert r"\x1b]52;c;" in texts[name].replace("\\\\", "\\"), name


@pytest.mark.thorough
@pytest.mark.parametrize("workers", ["0", "1"])
def test_surrogate_does_not_end_the_run(tmp_path: Path, workers: str) -> None:
    """A lone surrogate in a reason or message is shown escaped: all tests are judged, also by workers."""
    suite(tmp_path, TESTS)

    call(tmp_path, "-n", workers)

    verdicts = {result.name: result.verdict for result in journal(tmp_path).results}
    assert verdicts == {
        "test_message": Verdict.FAIL,
        "test_chain": Verdict.FAIL,
        "test_output": Verdict.ERROR,
        "test_log": Verdict.FAIL,
        "test_skip": Verdict.SKIP,
        "test_xfail": Verdict.XFAIL,
        "test_section": Verdict.FAIL,
    }


@pytest.mark.thorough
@pytest.mark.parametrize("raised", ["AssertionError(TEXT)", "ValueError(TEXT)"])
def test_failure_of_100_kilobytes_is_a_line_in_each_report(tmp_path: Path, raised: str) -> None:
    """A message is cut at 2,000 characters, and so is a reason; the log has the whole text."""
    tests = (
        "import pytest\nTEXT = 'x' * 100_000\n"
        f"def test_fails(record_property):\n    record_property('message', TEXT)\n    raise {raised}\n"
        "def test_is_skipped():\n    pytest.skip(TEXT)\n"
    )
    suite(tmp_path, tests)

    call(tmp_path, "--color=no")

    for result in journal(tmp_path).results:
        (line,) = filter(None, (result.message, result.reason))
        assert (len(line), line[-1]) == (text.LINE_LIMIT, "…")
        assert "x" * 100_000 in result.log
    (failed, skipped) = ET.parse(tmp_path / "out" / "junit.xml").findall(".//testcase/*[@message]")  # noqa: S314
    assert {len(failed.attrib["message"]), len(skipped.attrib["message"])} == {text.LINE_LIMIT}
    longest = max(map(len, re.findall("x+", (tmp_path / "out" / "results.csv").read_text())))
    assert longest == text.LINE_LIMIT - 1
    page = (tmp_path / "out" / "report.html").read_text()
    shown = re.sub("<script.*?</script>", "", page, flags=re.DOTALL)
    assert max(map(len, re.findall("x+", shown))) <= text.LINE_LIMIT
    assert max(map(len, re.findall("x+", page))) < 20_000


@pytest.mark.thorough
def test_module_that_raises_hostile_text(tmp_path: Path) -> None:
    """What importing a module raised is also cleaned."""
    suite(tmp_path, f'raise ValueError("{HOSTILE}")\n')

    done = call(tmp_path, "--color=no")

    assert not DANGEROUS & set(done.stdout)
    assert SHOWN in done.stdout


def test_every_invisible_character_is_escaped() -> None:
    """Unicode's controls and format characters, surrogates and the noncharacters are shown by number."""
    kept = {"\n", "\t", "\r", "\x1b"}
    unseen = [
        character
        for character in map(chr, range(sys.maxunicode + 1))
        if unicodedata.category(character) in {"Cc", "Cf", "Cs"} and character not in kept
    ]

    cleaned = text.clean(" ".join(unseen)).split(" ")

    assert len(unseen) > 2000
    assert all(shown.startswith("\\") and shown.isascii() for shown in cleaned)
    assert len(set(cleaned)) == len(unseen)


def test_colours_are_left_out() -> None:
    """Colours are left out; the text between them stays as it was."""
    assert text.clean("\x1b[1;31mred\x1b[0m and \x1b[2Jcleared") == r"red and \x1b[2Jcleared"


@pytest.mark.parametrize("plain", ["naïve café — 25 °C", "日本語", "±1 µs", "עברית العربية", "😀"])
def test_text_of_people_stays(plain: str) -> None:
    """Letters of any script, signs and pictures are not controls."""
    assert text.clean(plain) == plain
