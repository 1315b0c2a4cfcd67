# SPDX-License-Identifier: GPL-2.0-only
"""Frames: what a VM and its vCPUs read as before a call and after it, and which of that differs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fixtures.counters import Window

Frame = Mapping[str, object]
"""All that is read, by name. A clock that moves is a Window: where it lies from one that KVM cannot move."""


@dataclass(frozen=True, slots=True)
class Operation:
    """A call, and the names in the frame of what it may change."""

    call: Callable[..., object]
    changes: tuple[str, ...] = ()


def differing(before: Frame, after: Frame) -> set[str]:
    """Return the names of what is not the same in both: windows that do not meet, values that differ."""
    names = before.keys() | after.keys()
    return {name for name in names if not _same(before.get(name), after.get(name))}


def _same(before: object, after: object) -> bool:
    if isinstance(before, Window) and isinstance(after, Window):
        return before.first in after or after.first in before
    return before == after
