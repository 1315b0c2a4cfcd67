# SPDX-License-Identifier: GPL-2.0-only
"""Hostile runs for hypothesis: any text where a test, a guest or a kernel can put one."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from reports import merge, read_journal
from reports.model import LOCAL, Run, Verdict

NASTY = (
    "\x1b[31mred\x1b[0m",
    "\x1b]8;;http://x\x07link",
    "nul\0nul",
    "\ud800 lone",
    "\ufffe\uffff",
    "a\r\nb\rc",
    "]]>",
    "</script><script>alert(1)</script>",
    "<!--",
    "{{ 7 * 7 }}",
    " # SKIP not really",
    "not ok 1 - inner",
    "ok 2 # SKIP",
    "1..7",
    "TAP version 13",
    "KTAP version 1",
    "Bail out!",
    "# Subtest: phantom",
    "[FAIL]",
    "[SKIP] SKIP: FAIL:",
    "reboot: System halted",
    "<LAVA_SIGNAL_TESTCASE TEST_CASE_ID=x RESULT=fail>",
    "#:verdict: xpass",
    "#:verdict: changed",
    "=1+1",
    "\u2028\u2029",
    "\u202egnp.exe\u2066\u2069",
    "zero\u200bwidth\ufeff\u2060\u061c",
    "\x1b]52;c;cm0gLXJm\x07\x1b[2J\x9b2J",
    "|",
    "",
)
"""What has broken a reader of test results before."""

texts = st.lists(
    st.one_of(st.sampled_from(NASTY), st.text(st.characters(exclude_categories=()), max_size=12)), max_size=5
).map(" \n".join)
words = st.one_of(st.sampled_from(("minus-one", "a[b]=c # 2", "x/y", "é", "1", "a b", "..", "#")), texts)


@st.composite
def records(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Return the records of a journal with hostile names and texts, one for each test."""
    names = draw(st.lists(words, min_size=1, max_size=8, unique=True))
    found: list[dict[str, Any]] = [{"type": "session", "version": 1, "host": draw(texts), "time_ns": 1}]
    simulated = {"name": "sim-a", "kind": "sim", "simulated": True, "facts": {draw(texts): draw(texts)}}
    found.append({"type": "target", **simulated})
    for number, name in enumerate(names):
        nodeid = f"kvmtests/x86/test_clock.py::test_{number % 3}[sim-a-{name}]"
        key = {"nodeid": nodeid, "target": draw(st.sampled_from(("sim-a", LOCAL)))}
        if draw(st.booleans()):
            found.append({"type": "log", **key, "text": draw(texts)})
        verdict = draw(st.sampled_from(list(Verdict)))
        said = {
            "message": draw(texts),
            "reason": draw(texts),
            "repro": draw(texts),
            "known_issue": draw(texts),
            "promise": draw(texts),
            "strict": draw(st.booleans()),
        }
        found.append({"type": "result", **key, **said, "verdict": verdict.value, "duration_ns": number})
    found.append({"type": "end", "time_ns": 2, "exit_status": 1})
    return found


def run_of(found: list[dict[str, Any]]) -> Run:
    """Return the run of the journal *found*."""
    lines = [json.dumps(record).encode() + b"\n" for record in found]
    return merge.merge(read_journal.parse(lines))


runs = records().map(run_of)
