# SPDX-License-Identifier: GPL-2.0-only
"""The part of a program that does not depend on the claim: C, from which only what is used is taken."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from fixtures.architectures import ARM64, X86_64

_FOLDER = Path(__file__).parent / "runtime"
BY_ARCHITECTURE = {X86_64.name: ("common.c", "x86.c"), ARM64.name: ("common.c", "arm64.c")}
_MARK = re.compile(r"^/\* @(\w+) \*/$", re.MULTILINE)


def pieces(arch: str) -> dict[str, str]:
    """Return the pieces of C for programs of *arch* by the name that each defines, in their order."""
    found: dict[str, str] = {}
    for file in BY_ARCHITECTURE[arch]:
        _, *parts = _MARK.split((_FOLDER / file).read_text(encoding="ascii"))
        found |= {name: text.strip() for name, text in zip(parts[::2], parts[1::2], strict=True)}
    return found


def needed(arch: str, text: str, always: Iterable[str] = ()) -> str:
    """Return the pieces that *text* uses, each after those that it uses itself."""
    known = pieces(arch)
    chosen: dict[str, None] = {}

    def choose(name: str) -> None:
        for other in _used(known[name], known):
            if other != name and other not in chosen:
                choose(other)
        chosen[name] = None

    for name in [*always, *_used(text, known)]:
        if name not in chosen:
            choose(name)
    return "\n\n".join(known[name] for name in chosen)


def headers(text: str) -> list[str]:
    """Return the headers of the C library and the kernel that *text* needs."""
    words = set(re.findall(r"\w+", _bare(text)))
    return sorted(header for header, names in _HEADERS.items() if words.intersection(names.split()))


_HEADERS = {
    "errno.h": "errno EINTR ENOENT EINVAL",
    "fcntl.h": "open",
    "inttypes.h": "PRIu64 PRIx64",
    "linux/kvm.h": "kvm",
    "pthread.h": "pthread_t",
    "signal.h": "signal sigaction",
    "stdarg.h": "va_list",
    "stdbool.h": "bool",
    "stddef.h": "offsetof",
    "stdint.h": "uint64_t",
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
