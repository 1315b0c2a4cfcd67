# SPDX-License-Identifier: GPL-2.0-only
"""From an address that rewritten code reads or writes to a step, or to what a step left there."""

from __future__ import annotations

from fixtures.guests import layout
from tools.export_c.events import Load, MemoryEvent, Store
from tools.export_c.expressions import Constant, StepValue
from tools.export_c.places import Place, is_shared_state
from tools.export_c.session import RUN
from tools.export_c.symbolic import Number, of

_FAULT = layout.GuestMailbox.fault.offset
_FAULT_END = _FAULT + layout.GuestMailbox.fault.size


def read_number(address: int, size: int, value: int) -> int:
    """Return *value*, which lies at *address*, with where it comes from."""
    run = RUN.current
    place = run.places.find(address)
    if place is not None:
        if not is_shared_state(place) or _is_fault(place):
            return value
        event = Load(place.owner, place.offset, size, signed=value < 0)
        run.add(event)
        return Number(value, StepValue(event, "", 8 * size, signed=value < 0))
    leaf = run.places.leaf(address, size)
    if leaf is not None:
        return Number(value, leaf)
    written = run.places.written(address, size)
    return Number(value, written) if written is not None else value


def write_number(address: int, size: int, value: int) -> None:
    """Note that *value* was written at *address*."""
    run = RUN.current
    place = run.places.find(address)
    if place is None:
        run.places.forget(address, size)
        if isinstance(value, Number):
            run.places.write(address, size, int(value), of(value))
        return
    if not _is_fault(place):
        number = of(value) if isinstance(value, Number) else Constant(int(value) % (1 << 8 * size))
        run.add(Store(place.owner, place.offset, size, number))


def write_bytes(address: int, value: bytes) -> None:
    """Note that the bytes *value* were written at *address*."""
    place = RUN.current.places.find(address)
    if place is None or not value:
        return
    whole = len(value) in {1, 2, 4, 8}
    number = of(value) if whole and hasattr(value, "expression") else bytes(value)
    RUN.current.add(Store(place.owner, place.offset, len(value), number))


def _is_fault(place: Place) -> bool:
    """Return whether *place* says that a guest took an exception: each entry looks there itself."""
    offset = place.offset % layout.PAGE_SIZE
    first, last = layout.mailbox(0), layout.mailbox(layout.MAX_VCPUS - 1) + layout.PAGE_SIZE
    in_mailbox = isinstance(place.owner, MemoryEvent) and first <= place.offset < last
    return in_mailbox and _FAULT <= offset < _FAULT_END
