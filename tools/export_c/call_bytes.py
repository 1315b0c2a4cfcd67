# SPDX-License-Identifier: GPL-2.0-only
"""Bytes of structures that calls filled in, and the numbers in them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Self

from tools.export_c.expressions import Binary, Constant, Expression, LoadedWord, StepValue
from tools.export_c.symbolic import Number

_ELEMENT = re.compile(r"(.+)\[(\d+)\]")
"""The member of a structure that is an element of an array."""


class CallBytes(bytes):
    """Bytes of a structure that a call filled in, with the expression of each of them."""

    expressions: Sequence[Expression]

    def __new__(cls, value: bytes, expressions: Sequence[Expression]) -> Self:
        """Be *value*, byte by byte what *expressions* say."""
        made = super().__new__(cls, value)
        made.expressions = expressions
        return made

    def _array(self) -> StepValue | None:
        """Return the first of the bytes if they follow each other in one array; None for others."""
        found = [one for one in self.expressions if isinstance(one, StepValue)]
        names = [_ELEMENT.fullmatch(one.member) for one in found]
        places = [
            (id(one.event), name[1], int(name[2])) for one, name in zip(found, names, strict=True) if name
        ]
        if len(places) < len(self) or not places:
            return None
        event, array, first = places[0]
        return found[0] if places == [(event, array, first + at) for at in range(len(self))] else None

    def number(self) -> Number:
        """Return the little-endian number that they are."""
        if (first := self._array()) is not None:
            return Number(int.from_bytes(self, "little"), LoadedWord(first, len(self)))
        found: Expression = Constant(0)
        for at, one in enumerate(self.expressions):
            byte = Binary("&", one, Constant(0xFF))
            found = Binary("|", found, Binary("<<", byte, Constant(8 * at))) if at else byte
        return Number(int.from_bytes(self, "little"), found)
