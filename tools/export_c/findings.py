# SPDX-License-Identifier: GPL-2.0-only
"""Write docs/findings-as-c.md: of each finding its claim, the program of it, and what both said where.

``.venv/bin/python -m tools.export_c.findings`` makes the page from findings.toml next to this module, to
which a row is added for each run of `tools.export_c.agreement`.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(__file__).with_name("findings.toml")
PAGE = ROOT / "docs" / "findings-as-c.md"
FOLDER = ROOT / "docs" / "findings"

_HEAD = """\
# Findings as C programs

Made by `.venv/bin/python -m tools.export_c.findings`. Each [finding](findings/) with the claim that shows it,
and what claim and [C program](export-c.md) said where both ran. A claim that fails is an expected failure
there (xfail). A program ends with 0 where the claim holds, 1 where it does not, 4 where it cannot judge.

```
.venv/bin/python -m tools.export_c CLAIM --target TARGET >repro.c    # the claim and target of a row
.venv/bin/python -m tools.export_c.agreement FOLDER --target lab-x86_64-svm
```

The second command runs the programs of a folder, and their claims, in one boot of a lab host, or on this
host (`--target host`).
"""


@dataclass(frozen=True, slots=True)
class Sighting:
    """What claim and program said on one host."""

    on: str
    claim: str  # the verdict
    program: int  # the exit status


@dataclass(frozen=True, slots=True)
class FindingRow:
    """A finding: its page, its claim and where that can be recorded, or why there is no program."""

    page: str
    case: str
    target: str
    why_not: str
    seen: tuple[Sighting, ...]

    @property
    def path(self) -> Path:
        """Its page."""
        return FOLDER / f"{self.page}.md"

    @property
    def title(self) -> str:
        """What its page is called."""
        return self.path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")


def rows() -> list[FindingRow]:
    """Return what findings.toml says, in its order."""
    return [_row(one) for one in tomllib.loads(DATA.read_text(encoding="utf-8"))["finding"]]


def rendered(findings: Sequence[FindingRow]) -> str:
    """Return the page."""
    return "\n".join([_HEAD, *_with_program(findings), "", *_without_program(findings), ""])


def main(_: Sequence[str]) -> int:
    """Write the page; return 0."""
    PAGE.write_text(rendered(rows()), encoding="utf-8")
    return 0


def _row(held: Mapping[str, object]) -> FindingRow:
    seen = held.get("seen", [])
    assert isinstance(seen, list)
    page, case, target, why_not = (str(held.get(name, "")) for name in ("page", "case", "target", "why_not"))
    return FindingRow(page, case, target, why_not, tuple(Sighting(**one) for one in seen))


def _with_program(findings: Sequence[FindingRow]) -> Iterator[str]:
    yield "| finding | claim, and where it is recorded | where both ran: claim, program |"
    yield "|---|---|---|"
    for one in findings:
        if one.target:
            seen = "<br>".join(f"{run.on}: {run.claim}, {run.program}" for run in one.seen)
            claim = f"`{one.case.removeprefix('kvmtests/')}` `{one.target}`"
            yield f"| [{one.title}](findings/{one.page}.md) | {claim} | {seen or 'not yet'} |"


def _without_program(findings: Sequence[FindingRow]) -> Iterator[str]:
    yield "| finding | why it has no program |"
    yield "|---|---|"
    for one in findings:
        if not one.target:
            claim = f"`{one.case.removeprefix('kvmtests/')}`: " if one.case else ""
            yield f"| [{one.title}](findings/{one.page}.md) | {claim}{one.why_not} |"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
