# SPDX-License-Identifier: GPL-2.0-only
"""KVM's parameters in the lab as a page: what differs from the defaults, then each set by subject.

`make lab LAB=--knobs` writes it next to the reports, as lab-knobs.md; docs/lab-knobs.md is one of these.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence

from fixtures.lab import hosts, knobs
from reports.model import ReportTarget, Result, Run
from tools.interruption import started
from tools.lab_matrix import by_subject, cell, judged, print_page, table

FILE = "lab-knobs.md"
HEAD = """# KVM's parameters in the lab

Written by `make lab LAB=--knobs` (`tools/lab_knobs.py`) from the journals of runs. A target's name ends
with the set of parameters that its lab host booted with (`fixtures/lab/knobs.py`).
"""
SAME = "Nothing: every claim has the verdict that it has with the defaults.\n"
CELLS = """A cell counts the claims of a subject: those that hold, then `k` known issues, `s` skipped for an
interface that KVM does not have then; failures are spelled out.
"""

Judged = tuple[ReportTarget, list[Result]]


def main(argv: Sequence[str]) -> int:
    """Print the page for the journals that *argv* names; 4 if no lab host was judged in them."""
    return print_page("lab_knobs", __doc__ or "", page, argv)


def page(run: Run) -> str:
    """Return the page, in Markdown: differences first."""
    lab_hosts = judged(run)
    differing = [row for default, each in _pairs(lab_hosts) for row in _differences(default, each)]
    heads = ["lab host", "claim", "with the defaults", "with these parameters", "because"]
    parts = [HEAD, "## What differs from the defaults\n", table(differing, heads) if differing else SAME]
    parts += ["## What booted\n", _booted(lab_hosts), "## By subject\n", CELLS]
    for arch in dict.fromkeys(target.arch for target, _ in lab_hosts):
        parts.append(by_subject([each for each in lab_hosts if each[0].arch == arch]))
    return "\n".join(parts)


def _pairs(lab_hosts: Sequence[Judged]) -> Iterator[tuple[Judged, Judged]]:
    by_name = {target.name: (target, results) for target, results in lab_hosts}
    for name, each in by_name.items():
        default = by_name.get(knobs.apart(name)[0])
        if default is not None and default is not each:
            yield default, each


def _differences(default: Judged, each: Judged) -> Iterator[list[str]]:
    before, after = _verdicts(default[1]), _verdicts(each[1])
    for claim in dict.fromkeys([*before, *after]):
        old, new = before.get(claim), after.get(claim)
        words = [one.verdict.value if one else "absent" for one in (old, new)]
        if words[0] != words[1]:
            why = new or old
            reason = (why.message or why.reason) if why else ""
            yield [each[0].name, f"`{claim}`", *words, reason.replace("|", "\\|")]


def _verdicts(results: Sequence[Result]) -> Mapping[str, Result]:
    return {f"{result.subject} {result.name}": result for result in results}


def _booted(lab_hosts: Sequence[Judged]) -> str:
    rows = [
        [target.name, _came(target), dict(target.facts).get("kernel", "did not boot"), cell(results)]
        for target, results in lab_hosts
    ]
    return table(rows, ["lab host", "parameters that came", "kernel", "claims"])


def _came(target: ReportTarget) -> str:
    """Return what the kernel's modules say of the parameters that were asked for."""
    lab_host = hosts.find(target.name)
    base, name = knobs.apart(target.name)
    found = knobs.find(name, lab_host) if lab_host and name else None
    if found is None:
        return "the defaults" if base == target.name else ""
    facts = dict(target.facts)
    asked = [parameter.partition("=")[0] for parameter in found.parameters]
    return ", ".join(f"{each}={facts[each]}" for each in asked if each in facts) or "unknown to this kernel"


if __name__ == "__main__":
    sys.exit(started(main))
