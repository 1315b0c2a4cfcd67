# SPDX-License-Identifier: GPL-2.0-only
"""report.html: what it holds, and what a browser makes of it."""

from __future__ import annotations

import re

from reports import html
from reports.html_bench import benchmarks
from reports.model import Result, Run, Session, Target, Verdict
from reports.tests import samples


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
    run = samples.run(400)

    (plain,) = re.findall(r"<noscript>(.*?)</noscript>", page(run), re.DOTALL)

    cells = re.findall(r"<td>(\w+)</td>", plain)
    assert sorted(cells) == sorted(result.verdict for result in run.results)


def test_failures_stand_in_the_page_with_log_and_command() -> None:
    """Without script a failure's message, log and reproduce line can be read."""
    run = samples.run(1_000)
    bad = next(result for result in run.results if result.verdict is Verdict.FAIL)

    text = page(run).partition("<noscript>")[0]

    assert bad.message in text
    assert bad.repro.replace("'", "&#39;") in text
    assert "vcpu.tsc_offset = offset" in text


def test_known_issues_have_their_reason() -> None:
    """A known issue is named with its reason, and how often it shows."""
    text = page(samples.run(1_000))

    assert "<h2>Known issues</h2>" in text
    assert "kvm_pvm accepts KVM_VCPU_TSC_OFFSET and the guest&#39;s TSC ignores it" in text


def test_broken_off_session_is_said() -> None:
    """A run that never came to its end is not shown as a whole one."""
    result = Result("a::t", "t", "host", "a", Verdict.PASS)

    text = page(Run((Session("m"),), (Target("host"),), (result,)))

    assert "never came to its end" in text


def test_every_simulated_figure_is_labelled() -> None:
    """Tables and plots of simulated targets carry the word, those of the host do not."""
    run = samples.run(400)

    found = benchmarks(run)
    text = page(run)

    assert found
    assert all(one.simulated == one.target.startswith("sim-") for one in found)
    for section in re.findall(r"<section>(.*?)</section>", text, re.DOTALL):
        assert section.count("simulated") >= 3 or "sim-" not in section


def test_page_takes_few_bytes_a_result() -> None:
    """At this rate 100,000 results stay far below 15 MB, logs and names included."""
    assert len(page(samples.run(20_000))) < 20_000 * 100
