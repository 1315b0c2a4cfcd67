# SPDX-License-Identifier: GPL-2.0-only
"""How a call of a program must end, as C, and what it leaves that later steps use."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from fixtures.uapi import kvm
from tools.export_c.c_names import Names
from tools.export_c.events import Assumption, CallEvent, Event
from tools.export_c.expressions import Compare, Constant, StepValue

Name = Callable[[StepValue], str]
Used = set[tuple[int, str]]

_BY_NAME = {"call": "MUST", "one_reg": "MUST_REG", "attribute": "MUST_ATTRIBUTE"}
"""By the function that makes a call: the one that sees to it that it succeeds, and says which did not."""


class CallText(NamedTuple):
    """A call as C: the runtime's function, and its arguments."""

    function: str
    arguments: str

    def __str__(self) -> str:
        return f"{self.function}({self.arguments})"


@dataclass
class Outcomes:
    """Writes what must become of the calls of one program."""

    names: Names

    def descriptor(self, owner: Event | None) -> str:
        """Return the descriptor of a VM, a vCPU, a device, or KVM itself."""
        if owner is None:
            return "kvm"
        name = self.names.of(owner)
        has_fd = isinstance(owner, CallEvent) and owner.request in {
            kvm.KVM_CREATE_VCPU,
            kvm.KVM_CREATE_DEVICE,
        }
        return f"{name}.fd" if has_fd else name

    def missing(self, event: Assumption) -> str:
        """Return the reason for a skip, where what *event* looks at is a capability."""
        for leaf in event.condition.leaves():
            call = leaf.event
            if isinstance(call, CallEvent) and call.request == kvm.KVM_CHECK_EXTENSION:
                assert isinstance(call.argument, int)
                wanted = "there" if _is_of_none(event) else "absent"
                return f"{self.names.capability(call.argument)} is {wanted}"
            if isinstance(call, CallEvent) and call.request == kvm.KVM_GET_API_VERSION:
                return "KVM has another API version"
        return ""

    def _made(self, call: CallEvent, argument: str) -> CallText:
        request = self.names.request(call.request)
        return CallText("call", f"{self.descriptor(call.owner)}, {request}, {argument}")

    def _result(self, call: CallEvent, made: CallText, where: str, used: Used, of: str = "") -> str:
        text = self._outcome(call, made, of)
        if (id(call), "result") in used:
            kind = "" if where else "const long "
            return f"{kind}{self.names.result_name(call)}{where} = {text};"
        return f"{text};"

    def _outcome(self, call: CallEvent, made: CallText, of: str = "") -> str:
        what = json.dumps(f"{self.names.request(call.request)}{of}")
        if call.refusal is not None:
            return f"must_refuse({made}, {self.names.errno(call.refusal.errno)}, {what})"
        if call.failed():
            return f"would_refuse({made}, {self.names.errno(-call.result)}, {what})"
        if call.tolerated:
            return f"would_succeed({made}, {what})"
        if made.function in _BY_NAME:
            return f"{_BY_NAME[made.function]}({made.arguments})"
        return f"must_msr({made}, {what})"


def _is_of_none(event: Assumption) -> bool:
    """Return whether *event* wants a capability to be absent: 0 is what it looks for."""
    match event.condition:
        case Compare("==", _, Constant(0)):
            return event.holds
        case Compare("!=", _, Constant(0)):
            return not event.holds
    return False


def uses(call: CallEvent, used: Used) -> bool:
    """Return whether *used* has something that *call* leaves, apart from what ioctl(2) returned."""
    return any(event == id(call) and member != "result" for event, member in used)
