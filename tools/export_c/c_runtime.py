# SPDX-License-Identifier: GPL-2.0-only
"""The part of a program that does not depend on the claim: C, from which only what is used is taken."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from fixtures.architectures import ARM64, X86_64

_FOLDER = Path(__file__).parent / "runtime"
BY_ARCHITECTURE = {X86_64.name: ("common.c", "x86.c"), ARM64.name: ("common.c", "arm64.c")}
_MARK = re.compile(r"^/\* @(\w+) \*/$", re.MULTILINE)
_INSTANTS = " /* @instants */"
"""The end of a line that only programs need which use when a vCPU ran."""

LIBKVM = ("libkvm.c",)
"""The pieces of programs on libkvm that stand for those with the same names."""

WITHOUT_HANDLERS = ("without_handlers.c",)
"""The pieces of programs whose guests have no exception handlers, likewise."""

ONE_WAY_OUT = ("one_way_out.c",)
"""The pieces of programs whose guests leave as guest programs end, and in no other way, likewise."""


def pieces(arch: str, form: Iterable[str] = ()) -> dict[str, str]:
    """Return the pieces of C for programs of *arch* by the name that each defines, in their order."""
    found: dict[str, str] = {}
    for file in (*BY_ARCHITECTURE[arch], *form):
        _, *parts = _MARK.split((_FOLDER / file).read_text(encoding="ascii"))
        found |= {name: text.strip() for name, text in zip(parts[::2], parts[1::2], strict=True)}
    return {name: text for name, text in found.items() if text}


def needed(arch: str, text: str, always: Iterable[str] = (), form: Iterable[str] = ()) -> str:
    """Return the pieces that *text* uses, each after those that it uses itself; no empty line is last."""
    known = pieces(arch, form)
    keeps_instants = re.search(r"\.(before|after)\b", _bare(text)) is not None
    known = {name: _of_instants(piece, kept=keeps_instants) for name, piece in known.items()}
    chosen: dict[str, None] = {}

    def choose(name: str) -> None:
        for other in _used(known[name], known):
            if other != name and other not in chosen:
                choose(other)
        chosen[name] = None

    for name in [*always, *_used(text, known)]:
        if name not in chosen:
            choose(name)
    found = [known[name] for name in chosen]
    parts = (text if _is_line(text, after) else f"{text}\n" for text, after in pairwise([*found, ""]))
    return "\n".join(parts).rstrip("\n")


def _of_instants(text: str, *, kept: bool) -> str:
    """Return *text* with the lines that look at the host's counter around KVM_RUN, or without them."""
    if kept:
        return text.replace(_INSTANTS, "")
    return "\n".join(line for line in text.split("\n") if not line.endswith(_INSTANTS))


def _is_line(text: str, after: str) -> bool:
    """Return whether no empty line comes between *text* and *after*: neither is a function or a structure."""
    return all(one and ("\n" not in one or one.startswith("#define")) for one in (text, after))


def headers(text: str) -> list[str]:
    """Return the headers of the C library and the kernel that *text* needs."""
    words = set(re.findall(r"\w+", _bare(text)))
    found = {header for header, names in _HEADERS.items() if words.intersection(names.split())}
    return sorted(found - ({"stdint.h"} if "inttypes.h" in found else set()))


_HEADERS = {
    "errno.h": "errno EINTR ENOENT EINVAL",
    "fcntl.h": "open",
    "inttypes.h": "PRIu64 PRIx64 SCNu64",
    "linux/kvm.h": "kvm",
    "pthread.h": "pthread_t",
    "sched.h": "sched_yield sched_setaffinity",
    "signal.h": "signal sigaction",
    "stdbool.h": "bool",
    "stddef.h": "offsetof",
    "stdint.h": "uint8_t uint16_t uint32_t uint64_t int64_t uintptr_t",
    "stdio.h": "printf",
    "stdlib.h": "exit",
    "string.h": "strerror memcpy",
    "sys/ioctl.h": "ioctl",
    "sys/mman.h": "mmap",
    "time.h": "clock_gettime nanosleep",
    "unistd.h": "alarm",
}


def _used(text: str, known: dict[str, str]) -> list[str]:
    words = set(re.findall(r"\w+", _bare(text)))
    return [name for name in known if name in words]


def _bare(text: str) -> str:
    """Return *text* without comments and strings, whose words are not names."""
    return re.sub(r'/\*.*?\*/|"(?:\\.|[^"\\])*"', " ", text, flags=re.DOTALL)
