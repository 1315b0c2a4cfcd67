# SPDX-License-Identifier: GPL-2.0-only
"""Rules that hang on a single test function: whether a second one notices a defect of each rule.

A run with a defect ends as soon as two test functions have failed, and a rule that two hold needs no
further defect. Only claims that call the rule run, the likely ones first: the claim that is there for the
defect, its module, modules that are there for defects of the same part of the simulator, then the rest.
What was judged is kept in thin.json, on which a later run can build.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import zip_longest

from fixtures.defects import thin
from fixtures.defects.defect import Defect
from fixtures.defects.page import table
from fixtures.defects.table import ROWS
from tools.defect_calls import callers, record_calls
from tools.defect_jobs import Job, JobOutcome, run_all
from tools.stopping import Stop

ENOUGH = 2


@dataclass(slots=True)
class RuleVerdict:
    """What noticed the defects of one rule that were tried."""

    rule: str
    defects: tuple[str, ...]
    tried: list[str] = field(default_factory=list)
    functions: set[str] = field(default_factory=set)
    troubles: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)  # defects whose claims were not through in time

    @property
    def thin(self) -> bool:
        """Whether fewer than two test functions hold the rule, as far as its defects were tried."""
        return len(self.functions) < ENOUGH

    @property
    def judged(self) -> bool:
        """Whether no further defect can change the verdict."""
        return not self.thin or len(self.tried) == len(self.defects)


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a run without a defect showed of each target."""

    outcomes: Mapping[str, JobOutcome]

    @property
    def claims(self) -> dict[str, tuple[str, ...]]:
        """The test functions that ran, by target."""
        return {target: outcome.asked for target, outcome in self.outcomes.items()}

    @property
    def troubles(self) -> list[str]:
        """The claims that fail without a defect, and why a run failed."""
        return [
            text
            for outcome in self.outcomes.values()
            for text in (*outcome.names, *filter(None, [outcome.trouble]))
        ]

    def job(self, defect: Defect) -> Job:
        """Return the run of the claims that may notice *defect*, on its first target."""
        target = defect.targets[0]
        outcome = self.outcomes[target]
        functions = callers(defect, target, outcome.calls) or outcome.asked
        only = tuple(sorted(set(functions) - outcome.functions, key=_Likelihood(defect, functions)))
        paths = tuple(dict.fromkeys(function.partition("::")[0] for function in only))
        return Job(defect.id, defect.id, (target,), paths, only=only, enough=ENOUGH)


def record(
    targets: Sequence[str], processes: int, limit_s: float, stop: Stop, options: tuple[str, ...] = ()
) -> Recorded:
    """Run all claims of each target without a defect; return which rules they call.

    *options* of pytest select further claims.
    """
    jobs = [Job(target, "", (target,), ("kvmtests",), options=options) for target in targets]
    return Recorded(run_all(jobs, processes, limit_s, record_calls, stop))


def judge(
    wanted: Sequence[Defect], recorded: Recorded, processes: int, limit_s: float, stop: Stop
) -> list[RuleVerdict]:
    """Return a verdict for each rule of *wanted*: its defects are tried until two functions hold it.

    Rules that *stop* left open are not `RuleVerdict.judged`.
    """
    by_rule = _by_rule(wanted)
    verdicts = {rule: RuleVerdict(rule, tuple(each.id for each in of)) for rule, of in by_rule.items()}
    for defects in _rounds(by_rule):
        open_ones = [defect for defect in defects if verdicts[defect.rule].thin]
        jobs = [recorded.job(defect) for defect in open_ones]
        outcomes = run_all(jobs, processes, limit_s, stop=stop)
        for defect in open_ones:
            if (outcome := outcomes.get(defect.id)) is not None:
                _note(verdicts[defect.rule], defect, outcome)
    return list(verdicts.values())


def _note(verdict: RuleVerdict, defect: Defect, outcome: JobOutcome) -> None:
    if outcome.cut_short:
        verdict.unfinished.append(defect.id)
        return
    verdict.tried.append(defect.id)
    verdict.functions |= outcome.functions
    if outcome.trouble:
        verdict.troubles.append(f"{defect.id}: {outcome.trouble}")


def _by_rule(wanted: Sequence[Defect]) -> dict[str, list[Defect]]:
    by_rule: dict[str, list[Defect]] = {}
    for defect in wanted:
        by_rule.setdefault(defect.rule, []).append(defect)
    return by_rule


def _rounds(by_rule: Mapping[str, Sequence[Defect]]) -> Iterator[list[Defect]]:
    """Yield the first defect of each rule, then the second ones, and so on."""
    for row in zip_longest(*by_rule.values()):
        yield [defect for defect in row if defect is not None]


class _Likelihood:
    """Sorts test functions: those that are likelier to notice a defect first, then as they were."""

    def __init__(self, defect: Defect, functions: Sequence[str]) -> None:
        self._own = f"kvmtests/{defect.noticed_by}"
        self._module = self._own.partition("::")[0]
        self._related = {
            "kvmtests/" + other.noticed_by.partition("::")[0] for other in ROWS if other.part == defect.part
        }
        self._place = {function: place for place, function in enumerate(functions)}

    def __call__(self, function: str) -> tuple[bool, bool, bool, int]:
        module = function.partition("::")[0]
        return (
            function != self._own,
            module != self._module,
            module not in self._related,
            self._place[function],
        )


@dataclass(frozen=True, slots=True)
class ThinRules:
    """What one run or several found, in the order of the table of defects."""

    claims: Mapping[str, Sequence[str]]  # by target, the test functions that ran
    verdicts: Sequence[RuleVerdict]

    def upon(self, earlier: ThinRules) -> ThinRules:
        """Return what *earlier* found, replaced where this one judged a rule again."""
        verdicts = {verdict.rule: verdict for verdict in (*earlier.verdicts, *self.verdicts)}
        order = dict.fromkeys(defect.rule for defect in ROWS)
        return ThinRules(
            {**earlier.claims, **self.claims}, [verdicts[rule] for rule in order if rule in verdicts]
        )

    def text(self) -> str:
        """Return thin.json, which `parse` reads."""
        verdicts = [{**asdict(verdict), "functions": sorted(verdict.functions)} for verdict in self.verdicts]
        return json.dumps({"claims": self.claims, "verdicts": verdicts}, indent=1) + "\n"


def parse(text: str) -> ThinRules:
    """Return what thin.json holds; ValueError for any other text."""
    try:
        found = json.loads(text)
        verdicts = [
            RuleVerdict(
                one["rule"],
                tuple(one["defects"]),
                one["tried"],
                set(one["functions"]),
                one["troubles"],
                one.get("unfinished", []),
            )
            for one in found["verdicts"]
        ]
        return ThinRules({target: tuple(names) for target, names in found["claims"].items()}, verdicts)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("this JSON holds no thin places") from error


def page(found: ThinRules) -> str:
    """Return docs/thin-places.md: the rules that hang on one test function, and why they do."""
    claims = len({function for functions in found.claims.values() for function in functions})
    judged = [verdict for verdict in found.verdicts if verdict.judged]
    thin_ones = [verdict for verdict in judged if verdict.thin]
    tried = sum(len(verdict.tried) for verdict in judged)
    left = len(found.verdicts) - len(judged)
    counts = (
        f"{len(thin_ones)} of {len(judged)} rules are thin; {tried} defects were tried, "
        f"with {claims} claims on {', '.join(found.claims)}"
        f"{f'; {left} rules were not judged' if left else ''}.\n"
    )
    rows = (
        (
            f"`{verdict.rule}`",
            ", ".join(verdict.tried),
            _function(verdict),
            thin.REASONS.get(verdict.rule, ""),
        )
        for verdict in thin_ones
    )
    tables = [table(("rule", "defects", "held by", "why it stays"), rows)] if thin_ones else []
    if left:
        open_ones = (_open_row(verdict) for verdict in found.verdicts if not verdict.judged)
        tables += ["\n## Not judged\n", table(("rule", "defects", "why"), open_ones)]
    return "\n".join((thin.INTRODUCTION, counts, *tables))


def _open_row(verdict: RuleVerdict) -> tuple[str, str, str]:
    untried = [name for name in verdict.defects if name not in verdict.tried]
    why = "its claims were not through within --limit" if verdict.unfinished else "the run was stopped first"
    return f"`{verdict.rule}`", ", ".join(untried), why


def _function(verdict: RuleVerdict) -> str:
    name = next(iter(verdict.functions), "")
    module, _, claim = name.removeprefix("kvmtests/").partition("::")
    return f"`{module}` `{claim}`" if claim else "none"
