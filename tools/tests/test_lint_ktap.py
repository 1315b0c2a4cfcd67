# SPDX-License-Identifier: GPL-2.0-only
"""The lint against the readers it speaks for."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from reports import ktap
from reports.tests import samples
from tools import lint_ktap

SHAPES = (
    "ok 1 a",
    "not ok 1 a",
    "ok 1 a # SKIP no KVM",
    "not ok 1 a # SKIP no KVM",
    "ok 1 a # XFAIL known",
    "not ok 1 a # XFAIL known",
    "ok 1 a # TODO later",
    "not ok 1 a # TODO later",
    "ok 1 a # skip lower",
    "not ok 1 a # TIMEOUT 5 s",
    "not ok 1 a # ERROR harness",
    "ok 1 a # time=5ms",
)
every_shape = pytest.mark.parametrize("shape", SHAPES)


def findings(text: str, reader: str = "") -> list[str]:
    """Return what the lint says about *text*, by one *reader* or by all."""
    return [found.text for found in lint_ktap.lint(text).findings if reader in found.reader]


def document(*results: str) -> str:
    """Return a document of *results* that is otherwise without fault."""
    total = f"# Totals: pass:{len(results)} fail:0 xfail:0 xpass:0 skip:0 error:0\n"
    return "\n".join(["TAP version 13", f"1..{len(results)}", *results]) + "\n" + total


def test_our_own_flat_document_has_no_finding_that_changes_a_verdict() -> None:
    """Whatever a run holds, every reader counts our document alike, and no name is lost."""
    text = "".join(ktap.flat(samples.run(2_000)))

    found = lint_ktap.lint(text)

    # tap-parser keeps the words after # in the name: the price of naming XFAIL.
    assert {finding.reader for finding in found.findings} <= {"tap-parser"}
    assert len({tuple(sorted(counts.items())) for counts in found.counts.values()}) == 1


@pytest.mark.parametrize(
    ("text", "reader", "said"),
    [
        pytest.param(document("not ok 1 a # SKIP x"), "flips", "KUnit skip, prove fail", id="skip-not-ok"),
        pytest.param(document("ok 1 a # skip x"), "KUnit", "not known in this form", id="lower-case"),
        pytest.param(document("ok 1 a#b"), "KUnit", "not known in this form", id="hash-in-name"),
        pytest.param(document("ok 2 a"), "prove", "number 2 where 1 is due", id="numbering"),
        pytest.param(document("ok a"), "KUnit", "without a number", id="no-number"),
        pytest.param(document("ok 1 a b"), "LAVA", "white space", id="space"),
        pytest.param(document("ok 1 a=b"), "LAVA", "malformed", id="equals"),
        pytest.param(document("ok 1 a/b"), "SQUAD", "slash", id="slash"),
        pytest.param(document("ok 1 5 minutes"), "netdev", "leading number", id="digits-first"),
        pytest.param(document(f"ok 1 {'x' * 300}"), "SQUAD", "300 characters", id="long"),
        pytest.param(document("ok 1 t[1]", "ok 2 t[2]"), "LKFT", "name of line 3: t", id="brackets"),
        pytest.param(document("ok 1 t", "ok 2 t"), "GitLab", "same name as line 3", id="same"),
        pytest.param(document("ok 1 a # SKIP need 4"), "LKFT", "numbers change", id="reason"),
        pytest.param(document("# [FAIL] x", "ok 1 a"), "netdev", "counts as failed", id="fail-word"),
        pytest.param(document("# Subtest: x", "ok 1 a"), "KUnit", "phantom", id="subtest"),
        pytest.param("TAP version 14\n1..1\nok 1 a\n", "prove", "rejected", id="version-14"),
        pytest.param("KTAP version 1\n1..1\nok 1 a\n", "netdev", "no result is found", id="ktap"),
        pytest.param("TAP version 13\nok 1 a\n1..1\n", "KUnit", "never ends", id="late-plan"),
        pytest.param("TAP version 13\nok 1 a\n", "prove", "no plan", id="no-plan"),
        pytest.param("TAP version 13\n1..2\nok 1 a\n", "KUnit", "crashed", id="too-few"),
        pytest.param("TAP version 13\n1..1\nok 1 a\nok 2 b\n", "KUnit", "dropped", id="too-many"),
        pytest.param("1..1\nok 1 a\n", "KUnit", "nothing is found", id="no-version"),
        pytest.param("TAP version 13\n1..1\n  ok 1 b\nok 1 a", "kselftest", "no newline", id="no-newline"),
        pytest.param("TAP version 13\n1..1\n  ok 1 b\nok 1 a\n", "all but", "1 indented", id="indented"),
    ],
)
def test_each_trap_is_named(text: str, reader: str, said: str) -> None:
    """Each known trap of the readers has its finding, under the reader's name."""
    assert any(said in finding for finding in findings(text, reader))


def test_clean_document_has_no_finding() -> None:
    """A document without traps has exit status 0."""
    assert findings(document("ok 1 a", "ok 2 b")) == []


def test_command_exits_1_with_findings_and_2_without_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status and sentences of the command."""
    path = tmp_path / "x.ktap"
    path.write_text(document("not ok 1 a # SKIP x"))

    assert lint_ktap.main([str(path)]) == 1
    assert "verdict flips: KUnit skip, prove fail" in capsys.readouterr().out
    assert lint_ktap.main([str(tmp_path / "none")]) == 2
    assert "cannot read" in capsys.readouterr().err


@pytest.mark.clients
@every_shape
def test_prove_does_what_the_lint_says(shape: str, tmp_path: Path) -> None:
    """The lint's prove is prove."""
    prove = shutil.which("prove")
    if prove is None:
        pytest.skip("no prove: install Debian's perl")
    path = tmp_path / "x.tap"
    path.write_text(document(shape))

    done = subprocess.run([prove, "--exec", "cat", str(path)], capture_output=True, text=True, check=False)

    assert lint_ktap.lint(document(shape)).counts["prove"]["fail"] == (done.returncode != 0)


@pytest.mark.clients
@every_shape
def test_tap_parser_does_what_the_lint_says(shape: str) -> None:
    """The lint's tap-parser is npm's tap-parser."""
    tap_parser = shutil.which("tap-parser")
    if tap_parser is None:
        pytest.skip("no tap-parser: install tap-parser from npm")

    done = subprocess.run(
        [tap_parser, "--json"], input=document(shape), capture_output=True, text=True, check=False
    )

    final = next(event[1] for event in json.loads(done.stdout) if event[0] == "complete")
    seen = "skip" if final["skip"] else "pass" if final["ok"] else "fail"
    assert lint_ktap.lint(document(shape)).counts["tap-parser"] == {seen: 1}


@pytest.mark.clients
@every_shape
def test_tap_py_does_what_the_lint_says(shape: str) -> None:
    """The lint's LKFT decides as its wrapper does over tap.py's lines."""
    try:
        parser = importlib.import_module("tap.parser")
    except ImportError:
        pytest.skip("no tap.py: pip install tap.py")

    (line,) = [one for one in parser.Parser().parse_text(document(shape)) if one.category == "test"]

    seen = "skip" if line.ok and line.skip else "pass" if line.ok else "fail"
    assert lint_ktap.lint(document(shape)).counts["LKFT"] == {seen: 1}


@pytest.mark.clients
@every_shape
def test_kunit_does_what_the_lint_says(shape: str, tmp_path: Path) -> None:
    """The lint's KUnit is the kernel's parser."""
    import os
    import sys

    tool = Path(os.environ.get("KERNEL_SOURCE", ""), "tools/testing/kunit/kunit.py")
    if "KERNEL_SOURCE" not in os.environ or not tool.is_file():
        pytest.skip("KERNEL_SOURCE names no kernel tree: unpack Debian's linux-source")
    path = tmp_path / "x.tap"
    path.write_text(document(shape))

    done = subprocess.run(
        [sys.executable, str(tool), "parse", str(path)], capture_output=True, text=True, check=False
    )

    words = {"passed": "pass", "failed": "fail", "skipped": "skip"}
    totals = re.search(r"Testing complete\. (.*)", done.stdout)
    assert totals is not None
    seen = {
        words[word]: int(number) for word, number in re.findall(r"(\w+): (\d+)", totals[1]) if int(number)
    }
    assert lint_ktap.lint(document(shape)).counts["KUnit"] == seen


@pytest.mark.parametrize("digits", [400, 5000])
def test_numbers_of_any_length_are_read(digits: int) -> None:
    """A result's number, a plan and totals of thousands of digits are complaints, not exceptions."""
    number = "9" * digits
    totals = f"# Totals: pass:{number} fail:0 xfail:0 xpass:0 skip:0 error:0"
    text = f"TAP version 13\n1..{number}\nok {number} a\n{totals}\n"

    assert findings(text, "prove")
