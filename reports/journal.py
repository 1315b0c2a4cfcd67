# SPDX-License-Identifier: GPL-2.0-only
"""The journal: one JSON record a line, which one process writes as things happen.

Every record has ``type``; readers ignore unknown types and unknown fields. Texts
are raw here and cleaned when read. Version 1 of the schema:

========== ==========================================================================
type       fields (those in brackets may be missing)
========== ==========================================================================
session    version, time_ns, host, facts {name: text, number or bool}, [command [...],
           options [...]: words around a node id and its target that run it again]
target     name, kind, arch, mode, generation, simulated, usable, reason, facts, [no_programs:
           why claims about its architecture are not written as C programs]
collection nodeids [...]; several records add up, in order
start      nodeid, time_ns: written before the test runs
sample     nodeid, [target], metric, [variant, unit, values, columns, rows, note, count,
           hz, empty_ticks, figures {name: [value, low, high]}, line [slope, half_width,
           intercept]]
log        nodeid, [target], text: follows its test's start, precedes its result
result     nodeid, target, subject, verdict, [ending, message, reason, duration_ns,
           start_ns, file, line, known_issue, repro]
host       host, facts: one of several in this session (``--dist each``)
end        time_ns, exit_status, [stopped, limited: by as many failures as -x allows]
========== ==========================================================================

Where a session had several hosts, all records except session and end have ``host``, the name of
theirs. Older journals of this version say ``machine`` instead, as field and as type: readers take
both (`OLD_HOST`).

Each record is one write(2), so nothing that was recorded is lost with the process. `Sync`
says when it also reaches the disk; docs/decisions/journal.md has the measurements.
"""

from __future__ import annotations

import contextlib
import enum
import io
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

VERSION = 1
"""Version of the schema above: readers refuse others."""

HOST = "host"
"""The field of a record that names its host, and the type of the record that describes one."""

OLD_HOST = "machine"
"""What journals of version 1 called both before they were renamed; such journals are still read."""

COLLECTION_CHUNK = 500
"""Node ids in one collection record: a torn line loses no more than these."""

_ENCODE = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), default=str).encode


class Sync(enum.StrEnum):
    """When records are forced to the disk, beyond what the kernel does by itself."""

    START = "start"  # Before each test: the test that panics this host is named.
    SECOND = "second"  # At most once a second.
    NEVER = "never"


class JournalError(Exception):
    """The journal cannot be opened; its text is one sentence for the user."""


class Journal:
    """The one writer of one journal.

    Without a path, or where the path is a pipe or a device, memory also keeps the records, so
    `read` gives them back. A journal that an earlier session left without its end record is
    kept next to the new one under the name PATH.unfinished. *trouble* is one sentence for the
    user on what the file system refused after the opening, empty if it took everything.
    """

    def __init__(self, path: Path | None, sync: Sync = Sync.SECOND) -> None:
        """Open the journal at *path*; JournalError if the file system does not let it."""
        self.path = path
        self.sync = sync
        self.trouble = ""
        self._synced_s = time.monotonic()
        self._fd = -1
        self._length = 0
        self._memory: io.BytesIO | None = None
        try:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                _keep_unfinished(path)
                # Read from the descriptor: the name may be gone by then. Pipes and devices are not read.
                access = os.O_WRONLY if path.exists() and not path.is_file() else os.O_RDWR
                flags = access | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
                self._fd = os.open(path, flags, 0o666)
            if path is None or not path.is_file():
                self._memory = io.BytesIO()
        except OSError as error:
            raise JournalError(_sentence(path, error)) from error

    def write(self, kind: str, /, **fields: object) -> None:
        """Append one record; one that the file system refuses makes *trouble*, never an exception.

        The journal then continues in memory, the refused record included, so the session can still
        be judged and shown.
        """
        self._append(_ENCODE({"type": kind, **fields}))

    def start(self, nodeid: str, time_ns: int, host: str = "") -> None:
        """Record that *nodeid* is about to run, and sync the record to the disk if `sync` says so."""
        where = {HOST: host} if host else {}
        self.write("start", nodeid=nodeid, time_ns=time_ns, **where)
        now_s = time.monotonic()
        if self.sync is Sync.START or (self.sync is Sync.SECOND and now_s - self._synced_s >= 1):
            self._synced_s = now_s
            self._fdatasync()

    def result(self, fields: Mapping[str, str | int]) -> None:
        """Record how a test ended: texts and integers, under names of ours."""
        self.write("result", **fields)

    def collection(self, nodeids: list[str], **where: str) -> None:
        """Record what will run, in order."""
        for first in range(0, len(nodeids), COLLECTION_CHUNK):
            self.write("collection", nodeids=nodeids[first : first + COLLECTION_CHUNK], **where)

    def read(self) -> Iterator[bytes]:
        """Yield every line written so far."""
        if self._memory is not None:
            yield from self._memory.getvalue().splitlines(keepends=True)
        elif self._fd >= 0:
            with os.fdopen(os.dup(self._fd), "rb") as lines:
                lines.seek(0)
                yield from lines

    def restore(self) -> None:
        """Write the file again if it was removed in the meantime; *trouble* if that fails.

        A file that took its place belongs to another session, and stays.
        """
        if self.path is None or self._fd < 0 or self._memory is not None or self.path.exists():
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("xb") as again:
                again.writelines(self.read())
        except OSError as error:
            self.trouble = _sentence(self.path, error)

    def close(self) -> None:
        """Force everything to the disk and close; closing twice is harmless."""
        self._fdatasync()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _append(self, record: str) -> None:
        line = record.encode("ascii") + b"\n"
        if self._memory is not None:
            self._memory.write(line)
        if self._fd >= 0:
            try:
                _write_all(self._fd, line)
            except OSError as error:
                self.trouble = _sentence(self.path, error)
                self._continue_in_memory(line)
            else:
                self._length += len(line)

    def _continue_in_memory(self, line: bytes) -> None:
        if self._memory is None and self.path is not None:
            written = b"".join(self.read())[: self._length]
            self._memory = io.BytesIO()
            self._memory.write(written + line)
        os.close(self._fd)
        self._fd = -1

    def _fdatasync(self) -> None:
        # Pipes and character devices, /dev/stdout among them, cannot be synced.
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.fdatasync(self._fd)


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _keep_unfinished(path: Path) -> None:
    if not path.is_file() or path.stat().st_size == 0:
        return
    with path.open("rb") as old:
        old.seek(max(0, path.stat().st_size - 4096))
        last = old.read().rstrip().rpartition(b"\n")[2]
    if not last.startswith(b'{"type":"end"'):
        path.replace(path.with_name(path.name + ".unfinished"))


def _sentence(path: Path | None, error: OSError) -> str:
    return f"cannot write the journal {path}: {error.strerror}; choose another place with --journal or O="
