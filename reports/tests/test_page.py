# SPDX-License-Identifier: GPL-2.0-only
"""report.html: what it holds, and what a browser makes of it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from reports import html, html_known
from reports.html_benchmarks import benchmarks
from reports.html_plots import distribution
from reports.model import LOCAL, ReportTarget, Result, Run, Sample, Session, Verdict
from reports.tests import samples
from reports.tests.measured import HOST, NVHE, counter_reads, experiment, run
from reports.tests.texts import NASTY, run_of


def page(run: Run) -> str:
    """Return the page of *run*."""
    return "".join(html.page(run))


def test_page_is_one_file_without_a_network() -> None:
    """Nothing is loaded: no address, no outside style, script or picture."""
    text = page(samples.run(100))

    assert not re.search(r"""(?:src|href)=["'](?!#)""", text)
    assert "http://" not in text
    assert "https://" not in text
    assert "url(" not in text


def test_policy_names_our_script_and_style_by_hash() -> None:
    """The content security policy allows nothing but the hashed script and style."""
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page(samples.run(20)))

    assert policy.startswith("default-src 'none'; ")
    assert policy.count("sha256-") == 2
    assert "unsafe" not in policy


def test_readers_without_script_have_every_verdict_of_an_ordinary_run() -> None:
    """Up to 2,000 results the whole matrix stands in the page as plain markup."""
    whole = samples.run(400)

    (plain,) = re.findall(r"<noscript>(.*?)</noscript>", page(whole), re.DOTALL)

    cells = re.findall(r"<td(?: class=\"bad\")?>(\w+)</td>", plain)
    assert sorted(cells) == sorted(result.verdict for result in whole.results)


def test_failures_stand_in_the_page_with_log_and_command() -> None:
    """Without script a failure's message, log and reproduce line can be read."""
    whole = samples.run(1_000)
    bad = next(result for result in whole.results if result.verdict is Verdict.FAIL)

    text = page(whole).partition("<noscript>")[0]

    assert bad.message in text
    assert bad.repro.replace("'", "&#39;") in text
    assert "vcpu.tsc_offset = offset" in text


def test_known_issues_have_their_reason() -> None:
    """A known issue is named with its reason, and how often it shows."""
    text = page(samples.run(1_000))

    assert '<h2 id="known">Known issues</h2>' in text
    assert "kvm_pvm accepts KVM_VCPU_TSC_OFFSET and the guest&#39;s TSC ignores it" in text


def test_broken_off_session_is_said() -> None:
    """A run that never came to its end is not shown as a whole one."""
    result = Result("a::t", "t", "host", "a", Verdict.PASS)

    text = page(Run((Session("m"),), (ReportTarget("host"),), (result,)))

    assert "never came to its end" in text


def failures(number: int, target: str = "lab-x86_64-svm") -> Run:
    """Return a run of *number* cases of one claim that fail alike, and of one that passes elsewhere."""
    facts = (("kernel", "6.12.117"), ("backend_module", "kvm_amd"), ("cpu", "EPYC"), ("qemu", "7.2.22"))
    failed = [
        Result(
            f"x.py::test_a[{case}]", f"test_a.{case}", target, "x86.tsc", Verdict.FAIL,
            message=f"the TSC is {case} ticks late", log=f"{case}", sentence="The guest reads the host TSC.",
        )
        for case in range(number)
    ]  # fmt: skip
    good = Result("x.py::test_a[0]", "test_a.0", "host", "x86.tsc", Verdict.PASS)
    return Run(
        targets=(ReportTarget(target, "lab", "x86_64", facts=facts), ReportTarget("host")),
        results=(*failed, good),
    )


def test_first_screen_answers_in_one_sentence() -> None:
    """The headline says what fails where, with the kernel, and that nothing fails elsewhere."""
    text = page(failures(150))

    said = "1 claim fails in 150 cases on lab-x86_64-svm (6.12.117); nothing fails elsewhere."
    assert f'<p class="headline bad">{said}</p>' in text


def test_targets_stand_with_what_they_run_on() -> None:
    """Kernel, KVM's module, CPU and emulator stand in the table itself; a column nobody has is left out."""
    text = page(failures(1))

    (table,) = re.findall(r'<table class="plain targets">(.*?)</table>', text, re.DOTALL)
    heads = re.findall(r'<th scope="col".*?>(.*?)</th>', table)
    assert heads == ["target", "kernel", "KVM module", "CPU", "runs on", "share", "pass", "fail"]
    for fact in ("6.12.117", "kvm_amd", "EPYC", "QEMU 7.2.22"):
        assert f">{fact}</td>" in table


def test_failures_of_one_cause_are_one_group() -> None:
    """150 failures are one heading with the sentence, one example with its log, and the rest folded."""
    text = page(failures(150)).partition('<section class="all">')[0]

    assert text.count('<section class="claim">') == 1
    assert '<p class="sentence">The guest reads the host TSC.</p>' in text
    assert "<b>150 cases alike</b> the TSC is 0 ticks late" in text
    assert text.count("<pre") == 1
    assert "149 more cases on lab-x86_64-svm" in text


def test_heading_of_a_claim_says_what_it_rests_on() -> None:
    """A reader sees at once whether a text promises what failed, and which."""
    (first, *_) = failures(1).results
    promised = first._replace(promise="documented: Documentation/virt/kvm/api.rst, KVM_GET_CLOCK")

    text = page(Run(targets=(ReportTarget("lab-x86_64-svm"),), results=(promised,)))

    assert (
        '<p class="sentence">The guest reads the host TSC. <span class="soft">documented:'
        " Documentation/virt/kvm/api.rst, KVM_GET_CLOCK</span></p>"
    ) in text


def test_names_break_between_their_words_and_stay_escaped() -> None:
    """A long name on a narrow page wraps after an underscore, not inside a word, and is escaped."""
    (first, *_) = failures(1).results
    hostile = first._replace(nodeid="x.py::test_<b>_name", name="test_<b>_name")

    text = page(Run(targets=(ReportTarget("lab-x86_64-svm"),), results=(hostile,)))

    assert "test_<wbr>&lt;b&gt;_<wbr>name</span>" in text


@pytest.mark.parametrize(("count", "said"), [(2, "1 more case on"), (3, "2 more cases on")])
def test_one_more_is_not_many(count: int, said: str) -> None:
    """What is folded is counted in English."""
    assert said in page(failures(count))


def test_one_reason_of_several_claims_is_said_once() -> None:
    """Where many claims fail alike the reason stands above them, and in the headline."""
    (first, *_) = failures(1).results
    claims = [
        first._replace(nodeid=f"x.py::test_{n}", name=f"test_{n}", message=f"EINVAL {n}") for n in range(9)
    ]

    text = page(Run(targets=(ReportTarget("lab-x86_64-svm"),), results=tuple(claims)))

    assert "9 claims fail on lab-x86_64-svm, all for one reason" in text
    assert "<b>9 claims, one reason</b>" in text


def test_long_message_is_cut_on_the_page() -> None:
    """A message of 100 kB takes a few lines; its log has the rest."""
    (first, *_) = failures(1).results

    text = page(Run(targets=(ReportTarget(first.target),), results=(first._replace(message="x" * 100_000),)))

    assert "x" * 100 in text
    assert "x" * 3_000 not in text


def test_tests_outside_of_targets_are_folded() -> None:
    """What concerns no target is not a row of the table, and is never called local."""
    (first, *_) = failures(1).results
    outside = Result("t.py::t", "t", LOCAL, "tools", Verdict.PASS)

    text = page(Run(targets=(ReportTarget(first.target), ReportTarget(LOCAL)), results=(first, outside)))

    (table,) = re.findall(r'<table class="plain targets">(.*?)</table>', text, re.DOTALL)
    assert "no target" not in table
    assert "<summary>no target: 1 pass</summary>" in text
    assert '"label":"no target"' in text


def test_known_issue_has_its_page_and_counts_for_each_target() -> None:
    """The page of docs/findings that a reason names is rendered into the report, with counts by target."""
    known = Result(
        "x.py::t", "t", "host", "x86.tsc", Verdict.XFAIL, known_issue="khz-change-jumps",
        reason="the ratio is replaced (docs/findings/khz-change-jumps.md)",
    )  # fmt: skip

    text = page(Run(targets=(ReportTarget("host"),), results=(known,)))

    assert "KVM_SET_TSC_KHZ on a vCPU replaces the ratio and leaves the offset." in text
    assert '<th scope="row">host</th><td class="number">1</td><td class="number">·</td>' in text


def test_known_issue_with_a_doubt_has_its_page() -> None:
    """What leaves a prediction open follows the page's name, and stays with the reason."""
    reason = "it jumps (docs/findings/khz-change-jumps.md); it shows now and then"
    known = Result("x.py::t", "t", "host", "a", Verdict.XFAIL, known_issue="k", reason=reason)

    (issue,) = html_known.known_issues(Run(targets=(ReportTarget("host"),), results=(known,)))

    assert (issue.reason, issue.reference) == (
        "it jumps; it shows now and then",
        "docs/findings/khz-change-jumps.md",
    )
    assert issue.page


def test_words_of_a_page_are_styled() -> None:
    """Bold words and code in a page of docs/findings are so in the report; of a link the words remain."""
    block = html_known.Block("text", "**Seen** by `make lab` in [the lab](../lab.md).")

    assert [piece for piece in block.pieces if piece[1]] == [
        ("strong", "Seen"),
        ("", " by "),
        ("code", "make lab"),
        ("", " in "),
        ("", "the lab"),
        ("", "."),
    ]


@pytest.mark.parametrize(
    "reference", ["../../etc/passwd", "docs/findings/../words.md", "docs/findings/none.md", "README.md"]
)
def test_reference_names_no_other_file(reference: str) -> None:
    """Only pages of docs/findings are rendered: a journal cannot have others shown."""
    known = Result("x.py::t", "t", "host", "a", Verdict.XFAIL, known_issue="k", reason=f"why ({reference})")

    (issue,) = html_known.known_issues(Run(targets=(ReportTarget("host"),), results=(known,)))

    assert issue.page == ()


def test_every_simulated_figure_is_labelled() -> None:
    """Tables and plots of simulated targets carry the word, those of the host do not."""
    whole = run((NVHE, counter_reads()), (HOST, counter_reads()), (NVHE, experiment()))

    found = benchmarks(whole)
    text = page(whole)

    assert found
    assert {one.group.target.simulated for one in found} == {True, False}
    for section in re.findall(r"<section>(.*?)</section>", text, re.DOTALL):
        assert (section.lower().count("simulated") >= 4) == ("sim-" in section)


@pytest.mark.thorough
def test_page_takes_few_bytes_a_result() -> None:
    """At this rate 100,000 results stay far below 15 MB, logs and names included."""
    assert len(page(samples.run(20_000))) < 20_000 * 100


def test_classic_table_has_intervals_resolution_and_the_empty_interval() -> None:
    """The table holds what the benchmark summed up: Metric, Native, Trapped, and their intervals."""
    text = page(run((NVHE, counter_reads())))

    (table,) = re.findall(r'<table class="plain figures">(.*?)</table>', text, re.DOTALL)
    assert re.findall(r"<th scope=\"col\".*?>(.*?)</th>", table) == ["Metric", "Native", "Trapped"]
    assert "54.2 ns <small>[53.2, 55.2]</small>" in table
    assert "348 ns" in table
    assert "10,000" in table
    assert "500 MHz, one tick is 2 ns" in text
    assert "median of 18.0 ns subtracted from the median: native 36.2 ns, trapped 130.4 ns" in text


def test_experiment_is_a_scatter_plot_with_its_table() -> None:
    """Points, a line and its slope for each method, a description for those who do not see it, the table."""
    text = page(run((NVHE, experiment())))

    (plot,) = re.findall(r'<svg class="plot scatter".*?</svg>', text, re.DOTALL)
    ids = re.findall(r'id="([^"]*)"', plot)
    assert re.findall(r'aria-labelledby="([^"]*)"', plot) == [" ".join(ids)]
    assert "by value: a line of slope 1.0000 ± 0.0001; by offset: a line of slope 0.0000" in plot
    assert (plot.count("<circle"), plot.count('<rect class="point'), plot.count('"fitted')) == (11, 11, 2)
    assert plot.count("simulated") == 1
    (table,) = re.findall(r'<table class="plain figures">(.*?)</table>', text, re.DOTALL)
    assert len(re.findall(r'<th scope="row">\d+ ms</th>', table)) == 11
    assert "4,250.20 µs" in table


def test_fitted_lines_go_from_corner_to_corner() -> None:
    """By value the line climbs over the whole plot, by offset it stays at the bottom."""
    (found,) = benchmarks(run((HOST, experiment())))

    assert found.scatter is not None
    by_value, by_offset = found.scatter.clouds
    assert by_value.line == (0.0, 240.0, 640.0, 0.0)
    assert by_offset.line[1] == by_offset.line[3] > 239
    assert [tick.text for tick in found.scatter.ticks_x] == ["0", "2", "4", "6", "8", "10"]


@pytest.mark.thorough
@pytest.mark.parametrize("text", NASTY)
def test_hostile_names_of_benchmarks_stay_text(text: str) -> None:
    """Whatever a metric, a variant or a note holds, the page has the same elements."""
    records: list[dict[str, Any]] = [
        {"type": "session", "version": 1},
        {"type": "sample", "nodeid": "a::b", "metric": text, "variant": text, "note": text, "values": [1, 2]},
        {"type": "sample", "nodeid": "a::b", "metric": f"{text} 2", "variant": text, "columns": [text, text],
         "rows": [[1, 2], [text, text]], "values": [1], "line": [1, 0, 0]},
        {"type": "result", "nodeid": "a::b", "verdict": "pass"},
    ]  # fmt: skip
    plain = [{name: "m" if value == text else value for name, value in record.items()} for record in records]

    hostile, harmless = (page(run_of(found)) for found in (records, plain))

    assert _elements(hostile) == _elements(harmless)


def test_ends_of_wide_distributions_have_a_logarithmic_axis() -> None:
    """Twenty ns next to twenty µs are both in sight; equal values are one bar in the middle."""
    wide = Sample("m", "trapped", values=(20.0, 20_000.0) * 50)
    equal = Sample("m", values=(7,) * 5)

    assert distribution([wide]).logarithmic
    assert [tick.text for tick in distribution([wide]).ticks] == [
        "30",
        "100",
        "300",
        "1,000",
        "3,000",
        "10,000",
    ]
    assert not distribution([equal]).logarithmic
    assert distribution([equal]).tallest == "100 %"


@pytest.mark.parametrize(
    "text", [text if "<" in text else pytest.param(text, marks=pytest.mark.thorough) for text in NASTY]
)
def test_hostile_claims_and_targets_stay_text(text: str) -> None:
    """Whatever a sentence, a fact, a message or a known issue holds, the page has the same elements."""
    text = f"a{text}"
    facts = {"kernel": text, "backend_module": text, "cpu": text, "qemu": text}
    shared = {"type": "result", "subject": "x86.a", "message": text, "sentence": text, "log": text}
    records: list[dict[str, Any]] = [
        {"type": "session", "version": 1, "host": text},
        {"type": "target", "name": "host", "kind": "host", "mode": text, "generation": text, "facts": facts},
        *({**shared, "nodeid": f"a::b[{n}]", "target": "host", "verdict": "fail"} for n in range(3)),
        {
            **shared,
            "nodeid": "a::c",
            "target": "host",
            "verdict": "xfail",
            "known_issue": text,
            "reason": text,
        },
        {"type": "end", "exit_status": 1},
    ]
    plain = json.loads(json.dumps(records).replace(json.dumps(text), '"m"'))

    hostile, harmless = (page(run_of(found)) for found in (records, plain))

    assert _elements(hostile) == _elements(harmless)


def _elements(text: str) -> list[str]:
    return re.findall(r"<[a-z/!][a-z0-9]*", text.partition("<footer")[0])
