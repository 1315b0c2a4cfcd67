# SPDX-License-Identifier: GPL-2.0-only
"""The KTAP reader on what kernels, runners and consoles write."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports import read_ktap
from reports.model import ResultEnding, Run
from reports.tests.texts import texts
from reports.text import LINE_LIMIT

RUNNER = """\
TAP version 13
1..3
# timeout set to 45
# selftests: kvm: clock.py
# TAP version 13
# 1..3
# # what broke
# not ok 1 tsc.offset # exit
# ok 2 tsc.skip # SKIP KVM_CAP_X
# ok 3 tsc.known # XFAIL pvm
# # Totals: pass:0 fail:1 xfail:1 xpass:0 skip:1 error:0
not ok 1 {number}selftests: kvm: clock.py # exit=1
# timeout set to 45
# selftests: kvm: none.py
# TAP version 13
# 1..0 # SKIP no /dev/kvm
ok 2 {number}selftests: kvm: none.py # SKIP
# selftests: kvm: dies.py
# starting
not ok 3 {number}selftests: kvm: dies.py # TIMEOUT 45 seconds
"""


def outcomes(run: Run) -> list[tuple[str, str, str]]:
    """Return subject, name and verdict of each result."""
    return [(result.subject, result.name, result.verdict.value) for result in run.results]


def test_runner_lines_of_both_shapes_are_read_alike() -> None:
    """The runner before and after its 2026 rework differ by a second number only."""
    old = read_ktap.parse(RUNNER.replace("{number}", ""))
    new = read_ktap.parse("".join(RUNNER.replace("{number}", "1 ")))

    assert outcomes(old) == [
        ("kvm.clock.py", "tsc.offset", "fail"),
        ("kvm.clock.py", "tsc.skip", "skip"),
        ("kvm.clock.py", "tsc.known", "xfail"),
        ("kvm.none.py", "collection", "skip"),
        ("ktap", "kvm.dies.py", "timeout"),
    ]
    assert outcomes(new) == outcomes(old)
    assert old.problems == ()


def test_program_that_fails_with_passing_results_is_a_failure() -> None:
    """An exit status that says more than the results inside becomes a result of its own."""
    log = "TAP version 13\n1..1\n# TAP version 13\n# 1..1\n# ok 1 a\nnot ok 1 selftests: kvm: p # exit=139\n"

    assert outcomes(read_ktap.parse(log)) == [("kvm.p", "a", "pass"), ("kvm.p", "exit-status", "fail")]


def test_results_that_never_came_are_an_error() -> None:
    """A plan of three with one result names the gap, and the run is not whole."""
    run = read_ktap.parse("KTAP version 1\n1..3\nok 1 a\n")

    assert [result.verdict.value for result in run.results] == ["pass", "error"]
    assert run.results[1].ending is ResultEnding.CRASHED
    assert run.problems == ("2 of 3 planned results are missing",)


def test_several_documents_in_one_log_all_count() -> None:
    """A log of several collections has a version line and a plan for each."""
    run = read_ktap.parse("TAP version 13\n1..1\nok 1 a\nTAP version 13\n1..1\nnot ok 1 b\n")

    assert outcomes(run) == [("ktap", "a", "pass"), ("ktap", "b", "fail")]


def test_console_stamps_and_noise_are_taken_off() -> None:
    """Time stamps, four-space nesting and other programs' lines do not matter."""
    log = """\
[    0.100000] Linux version 6.12
[    1.234567] KTAP version 1
[    1.234568] 1..1
[    1.234569]     KTAP version 1
[    1.234570]     # Subtest: clock
[    1.234571]     1..2
[   11.234572] random: crng init done
[   11.234573]     ok 1 reads_back
[  111.234574]     not ok 2 steps # TIMEOUT 5 s
[  111.234575] not ok 1 clock
"""

    assert outcomes(read_ktap.parse(log)) == [("clock", "reads_back", "pass"), ("clock", "steps", "timeout")]


@given(st.one_of(texts, st.lists(st.sampled_from(RUNNER.splitlines()), max_size=20).map("\n".join)))
def test_any_text_is_read_without_an_exception(log: str) -> None:
    """Random, cut and reordered logs make problems, never exceptions."""
    run = read_ktap.parse(log)

    assert run.results or run.problems


@pytest.mark.parametrize("line", ["not ok 1 a", "ok 1 a # SKIP {whole}"])
def test_long_diagnostic_is_cut_and_stays_whole_in_the_log(line: str) -> None:
    """A message or reason of any length is one of 2,000 characters, and the log has all of it."""
    whole = "x" * 5_000

    (result,) = read_ktap.parse(f"TAP version 13\n1..1\n# {whole}\n{line.format(whole=whole)}\n").results

    assert len(result.message or result.reason) == LINE_LIMIT
    assert whole in result.log
