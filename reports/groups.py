# SPDX-License-Identifier: GPL-2.0-only
"""Results with one reason together: by claim, then by cause, over targets and parameters.

A hundred cases of one claim that fail alike are one thing to know. Two failures have one cause
where verdict and known issue are the same and their messages differ in nothing but numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from .model import Result

_NUMBER = re.compile(
    r"[-+−]?(?<![A-Za-z0-9_])(?:0x[0-9a-fA-F]+|\d[\d,_]*(?:\.\d+)?(?:e[-+]?\d+)?)"
    r"(?:\s?(?:[nµum]?s|min|hours?|days?|years?|ticks?|[kMG]?Hz)\b)?"
)


@dataclass(frozen=True, slots=True)
class FailureCause:
    """The results of one claim that have one reason, in their order; never empty."""

    results: tuple[Result, ...]

    @property
    def example(self) -> Result:
        """The first of them."""
        return self.results[0]

    @property
    def targets(self) -> tuple[str, ...]:
        """The targets concerned, in their order."""
        return tuple(dict.fromkeys(result.target for result in self.results))


@dataclass(frozen=True, slots=True)
class ClaimGroup:
    """One claim that some results are about, and their causes, the most frequent first."""

    subject: str
    claim: str
    causes: tuple[FailureCause, ...]

    @property
    def results(self) -> tuple[Result, ...]:
        """All results of the claim."""
        return tuple(result for cause in self.causes for result in cause.results)

    @property
    def targets(self) -> tuple[str, ...]:
        """The targets concerned, in the order in which they are met."""
        return tuple(dict.fromkeys(result.target for result in self.results))


def by_claim(results: Iterable[Result]) -> list[ClaimGroup]:
    """Return *results* as groups, claims in the order in which they are met."""
    claims: dict[tuple[str, str], dict[tuple[str, ...], list[Result]]] = {}
    for result in results:
        causes = claims.setdefault((result.subject, claim_of(result)), {})
        causes.setdefault(cause_of(result), []).append(result)
    return [
        ClaimGroup(
            subject, claim, tuple(FailureCause(tuple(found)) for found in _largest_first(causes.values()))
        )
        for (subject, claim), causes in claims.items()
    ]


def claim_of(result: Result) -> str:
    """Return the name of the claim that *result* is a case of: its test without parameters."""
    return _claim(result.nodeid) or result.name


@lru_cache(maxsize=4096)
def _claim(nodeid: str) -> str:
    return nodeid.partition("[")[0].partition("::")[2].replace("::", ".")


def cause_of(result: Result) -> tuple[str, ...]:
    """Return what results with one reason have in common."""
    said = result.known_issue or without_numbers(result.message)
    return result.verdict, result.ending, said


def count(word: str, results: Sequence[Result]) -> str:
    """Return "3 claims broken (150 cases)" of *results*, the cases that are *word*."""
    claims = len(by_claim(results))
    cases = f" ({len(results):,} cases)" if len(results) != claims else ""
    return f"{claims:,} claim{'' if claims == 1 else 's'} {word}{cases}"


def without_numbers(message: str) -> str:
    """Return *message* with each number, its sign and its unit as N."""
    return _NUMBER.sub("N", message)


def _largest_first(causes: Iterable[list[Result]]) -> list[list[Result]]:
    return sorted(causes, key=len, reverse=True)
