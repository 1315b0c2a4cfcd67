# SPDX-License-Identifier: GPL-2.0-only
"""The reporter's options on pytest's command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from .journal import Sync


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """The reporter's options on the command line."""

    report_dir: Path | None
    journal: Path | None
    sync: Sync
    checkout: Path | None

    @classmethod
    def of(cls, config: pytest.Config) -> ReportOptions:
        """Return the options of *config*; relative paths start where pytest was started."""
        here = config.invocation_params.dir
        report_dir = here / config.option.report_dir if config.option.report_dir else None
        journal = here / config.option.journal if config.option.journal else None
        if journal is None and report_dir is not None:
            journal = report_dir / "journal.jsonl"
        checkout = here / config.option.checkout if config.option.checkout else None
        return cls(report_dir, journal, Sync(config.option.journal_sync), checkout)


def add_options(parser: pytest.Parser) -> None:
    """Add the options of the reporter to pytest's."""
    group = parser.getgroup("reports", "journal and reports")
    group.addoption("--report-dir", metavar="DIR", help="write the journal and all reports into DIR")
    group.addoption(
        "--journal", metavar="FILE", help="write the journal to FILE (default: journal.jsonl in --report-dir)"
    )
    group.addoption(
        "--journal-sync",
        choices=[sync.value for sync in Sync],
        default=Sync.SECOND.value,
        help="when the disk has the journal: before each test, at most once a second, or as the kernel likes",
    )
    group.addoption(
        "--checkout",
        metavar="FILE",
        help="where the kernels under test come from, for kcidb.json (docs/ci.md)",
    )
