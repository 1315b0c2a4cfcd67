# SPDX-License-Identifier: GPL-2.0-only
"""What came back from a board of a rack, as lines of the rack's one journal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from reports.journal import VERSION
from reports.records import decoded

TARGET = "host"
"""What is tested on a board of which no journal came back."""

FILES = ("journal.jsonl", "pytest.log", "ended.json")
"""What a board's process leaves next to the console's log, for the next run to remove."""


def place(out: Path, board: str) -> Path:
    """Return the folder of *board* in the folder of reports *out*."""
    return out / "rack" / board


def fresh(out: Path, board: str) -> Path:
    """Return the folder of *board*, made, and without what an earlier run brought."""
    folder = place(out, board)
    folder.mkdir(parents=True, exist_ok=True)
    for path in [*folder.glob("console_*"), *(folder / name for name in FILES)]:
        path.unlink(missing_ok=True)
    return folder


def lines(board: str, folder: Path) -> Iterator[str]:
    """Yield the journal in *folder* under the name *board*, and what became of the board if it was lost."""
    ended, target, finished = _ended(folder), "", set()
    for line in _read(folder / "journal.jsonl").splitlines(keepends=True):
        record = decoded(line)
        if record is None:
            continue  # torn: the board died while it wrote
        if record["type"] == "target":
            target = str(record.get("name"))
        if record["type"] == "result":
            finished.add(record.get("nodeid"))
        yield _line(_named(record, board))
    if not target:
        yield _line({"type": "session", "version": VERSION, "time_ns": 0, "host": board, "facts": {}})
        yield _line({"type": "target", "name": TARGET, "kind": "host", "usable": True, "facts": {}})
    if "lost" in ended or not target:
        test = str(ended.get("test") or "")
        yield from map(_line, _lost(board, folder, target or TARGET, "" if test in finished else test))


def _lost(board: str, folder: Path, target: str, test: str) -> Iterator[Mapping[str, Any]]:
    """Yield the records of a board that died in *test*, or in none."""
    ended = _ended(folder)
    reason = str(ended.get("lost") or f"pytest did not start there, status {ended.get('status', 'unknown')}")
    where = {"nodeid": test or f"rack::{board}", "target": target}
    said = str(ended.get("console") or "") or _read(folder / "pytest.log").decode(errors="replace")
    if said:
        yield {"type": "log", **where, "text": said}
    own = {} if test else {"subject": "rack"}
    message = f"the board {board} was lost: {reason}"
    yield {"type": "result", **where, **own, "verdict": "error", "ending": "crashed", "message": message}


def _named(record: Mapping[str, Any], board: str) -> Mapping[str, Any]:
    if record["type"] != "session":
        return record
    facts = record.get("facts")
    own = {"hostname": str(record.get("host", ""))}
    return {**record, "host": board, "facts": {**facts, **own} if isinstance(facts, dict) else own}


def _ended(folder: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(_read(folder / "ended.json"))
    except ValueError:
        found = None
    return found if isinstance(found, dict) and found else {"lost": "labgrid failed, see rack.log"}


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def _line(record: Mapping[str, Any]) -> str:
    return json.dumps(record, separators=(",", ":")) + "\n"
