# SPDX-License-Identifier: GPL-2.0-only
"""defects.json, which `make defects` leaves, as frozen values: which claims noticed which defect."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

from .text import clip_line, one_line

VERSION = 1
TEXT_LIMIT = 2_000


class DefectsError(Exception):
    """The file is not one that `make defects` writes; the text is one sentence."""


@dataclass(frozen=True, slots=True)
class JudgedDefect:
    """One injected defect, and which claims failed because of it."""

    id: str
    symptom: str
    rule: str  # the part of the simulator and the class that changes it
    targets: tuple[str, ...]
    claim: str  # the one that is there for it
    by_name: bool  # whether that claim failed
    first: str  # the first claim that failed, with its parameters
    first_s: float  # when, since the start of its run
    tests: tuple[str, ...]  # all that failed
    ran: int  # test functions that ran with it; "asked" in the file
    message: str
    trouble: str  # why the claims could not run, or nothing

    @property
    def noticed(self) -> bool:
        """Whether any claim failed."""
        return bool(self.tests)


@dataclass(frozen=True, slots=True)
class Stopped:
    """Why a run judged only some of the defects it was to judge."""

    by: str  # a signal's name
    wanted: int  # defects

    def sentence(self, judged: int) -> str:
        """Return what to say next to the counts of a run that *judged* so many."""
        return f"stopped by {self.by}, {self.wanted - judged} of {self.wanted} defects not judged"


@dataclass(frozen=True, slots=True)
class Defects:
    """One run of `make defects`."""

    seconds: float = 0.0
    everything: bool = False  # whether every claim of a target ran, also after one had noticed
    defects: tuple[JudgedDefect, ...] = ()
    stopped: Stopped | None = None
    silent: tuple[str, ...] = ()  # claims that ran and never failed
    elsewhere: tuple[tuple[str, ...], ...] = ()  # rows of the catalogue: id, where they are shown
    impossible: tuple[tuple[str, ...], ...] = ()  # rows of the catalogue: id, why they cannot be injected

    def claims(self) -> list[tuple[str, int]]:
        """Return each claim that noticed anything, without parameters, and how many defects; most first."""
        seen: Counter[str] = Counter()
        for defect in self.defects:
            seen.update({short(test) for test in defect.tests})
        return sorted(seen.items(), key=lambda item: (-item[1], item[0]))


def parse(text: str | bytes) -> Defects:
    """Return what *text*, a defects.json, holds, texts cleaned; DefectsError if it is not one."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DefectsError("this is not JSON") from error
    if not isinstance(record, dict) or not isinstance(record.get("defects"), list):
        raise DefectsError("this JSON holds no defects")
    if record.get("version") != VERSION:
        raise DefectsError(f"version {_text(record.get('version'))} is not {VERSION}")
    return Defects(
        seconds=_seconds(record.get("seconds")),
        everything=record.get("everything") is True,
        defects=tuple(_defect(fields) for fields in record["defects"] if isinstance(fields, dict)),
        stopped=_stopped(record.get("stopped")),
        silent=_texts(record.get("silent")),
        elsewhere=_rows(record.get("elsewhere")),
        impossible=_rows(record.get("impossible")),
    )


def short(claim: str) -> str:
    """Return a node id without the suite's folder and without parameters."""
    return claim.removeprefix("kvmtests/").partition("[")[0]


def _defect(fields: dict[str, Any]) -> JudgedDefect:
    return JudgedDefect(
        id=_text(fields.get("id")) or "unnamed",
        symptom=_text(fields.get("symptom")),
        rule=".".join(filter(None, (_text(fields.get("part")), _text(fields.get("variation"))))),
        targets=_texts(fields.get("targets")),
        claim=_text(fields.get("noticed_by")),
        by_name=fields.get("by_name") is True,
        first=_text(fields.get("first")),
        first_s=_seconds(fields.get("first_s")),
        tests=_texts(fields.get("tests")),
        ran=int(_seconds(fields.get("asked"))),
        message=_text(fields.get("message")),
        trouble=_text(fields.get("trouble")),
    )


def _stopped(fields: object) -> Stopped | None:
    if not isinstance(fields, dict):
        return None
    return Stopped(_text(fields.get("by")), int(_seconds(fields.get("wanted"))))


def _text(value: object) -> str:
    return clip_line(
        one_line(value if isinstance(value, str) else "" if value is None else repr(value)), TEXT_LIMIT
    )


def _texts(value: object) -> tuple[str, ...]:
    return tuple(_text(item) for item in value) if isinstance(value, list) else ()


def _rows(value: object) -> tuple[tuple[str, ...], ...]:
    if not isinstance(value, list):
        return ()
    return tuple(cells for row in value if len(cells := _texts(row)) == 2)


def _seconds(value: object) -> float:
    """Return a number that is not negative; 0 for anything else."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return 0.0
    return float(value) if 0 <= value < 1e9 else 0.0
