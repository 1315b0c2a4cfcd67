# SPDX-License-Identifier: GPL-2.0-only
"""What changes in a copy of a structure: whole segments, with what was read from KVM among it."""

from __future__ import annotations

from fixtures.uapi.x86 import kvm as kvm_x86
from tools.export_c.c_members import changes
from tools.export_c.c_names import Names
from tools.export_c.events import CallEvent
from tools.export_c.expressions import Constant, StepValue
from tools.export_c.rolling import RolledProgram

READ = CallEvent(None, kvm_x86.KVM_GET_SREGS, layout=kvm_x86.kvm_sregs)


def lines(**members: Constant | StepValue) -> list[str]:
    """Return the changes of *members*, whose names have two underscores for a dot."""
    held = {name.replace("__", "."): value for name, value in members.items()}
    return list(
        changes(held, "sregs_2", lambda leaf: f"sregs_1.{leaf.member}", Names(RolledProgram(), "x86_64"))
    )


def test_segment_keeps_what_another_vcpu_has() -> None:
    """A member that holds what a call returned stays in the segment, which is set as a whole."""
    found = lines(cs__dpl=Constant(3), cs__type=StepValue(READ, "cs.type", 8))

    assert found == ["cs = (struct kvm_segment){ .dpl = 3, .type = (uint64_t)sregs_1.cs.type }"]


def test_equal_segments_are_set_together() -> None:
    """Segments that get the same are one statement."""
    (found,) = lines(ds__dpl=Constant(3), es__dpl=Constant(3))

    assert found == "ds = sregs_2.es = (struct kvm_segment){ .dpl = 3 }"
