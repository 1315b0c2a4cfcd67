# SPDX-License-Identifier: GPL-2.0-only
"""The sentence that every report has about a run that ended before its tests."""

from __future__ import annotations

from .model import Run, Session, Verdict

DIED = "the run never came to its end"
"""Said of a session without an end record: it was killed, or its disk was full."""


def sentence(run: Run) -> str:
    """Return why *run* is unfinished and how many tests did not run; nothing for a whole run."""
    missing = not_run(run)
    causes = dict.fromkeys(_cause(one) for one in run.sessions if one.interrupted or one.missing)
    if not missing:
        # Tests that a dead session left out may have run in a later one.
        return DIED if DIED in causes else ""
    why = ", ".join(causes) or "interrupted"
    return f"{why}: {missing:,} of {len(run.results):,} collected tests did not run"


def not_run(run: Run) -> int:
    """Return how many tests of *run* did not run."""
    return sum(result.verdict is Verdict.NOT_RUN for result in run.results)


def _cause(session: Session) -> str:
    if not session.complete:
        return DIED
    if session.limited or session.stopped.startswith("interrupted"):
        return session.stopped
    return f"interrupted ({session.stopped})" if session.stopped else "interrupted"
