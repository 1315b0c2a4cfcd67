# SPDX-License-Identifier: GPL-2.0-only
"""Calls that pass one value as C: an MSR, a register, an attribute of a device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fixtures.uapi import kvm
from fixtures.uapi.x86 import kvm as kvm_x86
from tools.export_c.c_expressions import word
from tools.export_c.c_flags import attribute_names
from tools.export_c.c_members import constant_of, number_text, pointer_text
from tools.export_c.c_outcomes import CallText, Name, Outcomes, Used, uses
from tools.export_c.events import CallEvent, PointerArgument
from tools.export_c.expressions import Constant
from tools.export_c.places import VALUE
from tools.export_c.refusal import NotExportable

VALUES = frozenset({kvm.kvm_device_attr, kvm.kvm_one_reg})
"""Structures with the address of a value."""


@dataclass
class ValueCalls(Outcomes):
    """Writes calls of one value."""

    def _msr(self, call: CallEvent, name: Name, where: str, used: Used) -> Iterator[str]:
        index = call.members.get("entries[0].index", Constant(0))
        shown = self.names.msr(index.value) if isinstance(index, Constant) else number_text(index, name)
        fd, own = self.descriptor(call.owner), self.names.of(call)
        if call.request == kvm_x86.KVM_SET_MSRS:
            data = number_text(call.members.get("entries[0].data", Constant(0)), name)
            made = CallText("set_msr", f"{fd}, {shown}, {data}")
            yield self._result(call, made, where, used, f"({shown})")
            return
        if is_plain_read(call, used):
            text = f'read_msr({fd}, {shown}, "KVM_GET_MSRS({shown})")'
            target = f"{own}{where} = " if where else f"const uint64_t {own} = "
            yield f"{target if uses(call, used) else ''}{text};"
            return
        if not where:
            yield f"uint64_t {own} = 0;"
        made = CallText("get_msr", f"{fd}, {shown}, &{own}{where}")
        yield self._result(call, made, where, used, f"({shown})")

    def _value(self, call: CallEvent, name: Name, where: str, used: Used) -> Iterator[str]:
        pointed = call.members["addr"]
        assert isinstance(pointed, PointerArgument)
        fd, request = self.descriptor(call.owner), self.names.request(call.request)
        value, text = self._pointed(call, pointed, name, where, used)
        if text:
            yield text
        if call.layout is kvm.kvm_one_reg:
            reg = call.members.get("id", Constant(0))
            shown = self.names.register(reg.value) if isinstance(reg, Constant) else number_text(reg, name)
            made = CallText("one_reg", f"{fd}, {request}, {shown}, {value}")
            yield self._result(call, made, where, used, f"({shown})")
            return
        group, number = (constant_of(call, member) for member in ("group", "attr"))
        if constant_of(call, "flags"):
            raise NotExportable("it sets flags of a device attribute")
        first, second = attribute_names(call.owner, self.names.arch, group, number)
        made = CallText("attribute", f"{fd}, {request}, {first}, {second}, {value}")
        yield self._result(call, made, where, used, f"({first}, {second})")

    def _pointed(
        self, call: CallEvent, pointed: PointerArgument, name: Name, where: str, used: Used
    ) -> tuple[str, str]:
        """Return the address of the value, and the declaration of the variable at that address."""
        if pointed.value is None:
            return pointer_text(pointed, name, self.names, cast="(void *)"), ""
        kind = f"uint{8 * pointed.size}_t"
        reads = call.request in {kvm.KVM_GET_DEVICE_ATTR, kvm.KVM_GET_ONE_REG}
        own = self.names.of(call)
        if not reads:
            return f"&({kind}){{ {word(pointed.value, name)} }}", ""
        if where:
            if (id(call), VALUE) not in used:
                return f"&({kind}){{ 0 }}", ""
            return f"&{own}{where}", f"{own}{where} = {word(pointed.value, name)};"
        return f"&{own}", f"{kind} {own} = {word(pointed.value, name)};"


def is_plain_read(call: CallEvent, used: Used) -> bool:
    """Return whether *call* reads an MSR, must succeed, and nothing looks at how many entries KVM handled."""
    plain = not call.failed() and call.refusal is None and not call.tolerated
    return plain and (id(call), "result") not in used
