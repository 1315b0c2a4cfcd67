# SPDX-License-Identifier: GPL-2.0-only
"""How a session came to its end: what its end record says, and whether its user interrupted it."""

from __future__ import annotations

import re
from typing import NamedTuple

import pytest

_LIMIT = re.compile(r"stopping after \d+ failures")


class Conclusion(NamedTuple):
    """Why a session stopped early; all empty for one that did not."""

    stopped: str = ""
    limited: bool = False  # by as many failures as -x or --maxfail allows
    interrupted: bool = False  # by its user, or by a signal


def of(session: pytest.Session, raised: BaseException | None, signalled: str) -> Conclusion:
    """Return how *session* ended: *raised* is what pytest caught, *signalled* a signal in words.

    pytest's own reasons are not an interruption; pytest-xdist raises another exception for them,
    with the same words.
    """
    if signalled:
        return Conclusion(signalled, interrupted=True)
    reason = str(session.shouldfail or session.shouldstop or raised or "")
    if _LIMIT.search(reason):
        # With workers more may have failed by then.
        count = session.config.option.maxfail
        said = "the first failure" if count == 1 else f"{count} failures"
        return Conclusion(f"stopped after {said}", limited=True)
    if raised is None or isinstance(raised, pytest.Session.Interrupted):
        return Conclusion(reason)
    return Conclusion(reason or type(raised).__name__, interrupted=True)
