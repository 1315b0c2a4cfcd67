# SPDX-License-Identifier: GPL-2.0-only
"""The seam of a run that is exported: every system call is a step."""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Callable
from functools import partial

from fixtures.backends.protocol import Backend, Mapping, TimedCall
from fixtures.guests import layout as guest_layout
from fixtures.uapi import kvm
from fixtures.uapi.ioctl import Request, fields
from fixtures.uapi.names import find_request
from fixtures.uapi.x86 import kvm as kvm_x86
from tools.export_c import structures
from tools.export_c.events import CallEvent, Close, Enter, Event, MemoryEvent, PointerArgument
from tools.export_c.expressions import StepValue
from tools.export_c.own_memory import filled_words, held_at
from tools.export_c.places import Filled
from tools.export_c.recorded_run import RecordedRun
from tools.export_c.recorded_time import RecordedTime
from tools.export_c.symbolic import Number, of
from tools.export_c.thread_events import ReadOn, Spin

_GETS_VALUE = frozenset({kvm.KVM_GET_DEVICE_ATTR, kvm.KVM_GET_ONE_REG})
_DESCRIPTORS = frozenset({kvm.KVM_CREATE_VM, kvm.KVM_CREATE_VCPU})
_RESULT_BITS = 31  # of what a call returns that did not fail
_INTERRUPTED = -1
_LONG = 64  # bytes of a structure that is passed on as a whole


class Recorder:
    """`protocol.Backend` before another one."""

    def __init__(self, inner: Backend, arch: str, run: RecordedRun) -> None:
        """Hand every call on to *inner*, whose KVM is of *arch*."""
        self.inner = inner
        self.run = run
        self.arch = arch
        self.time = RecordedTime(inner.time, run)
        self.interrupt: Callable[[int], None] = inner.interrupt
        self._maps: dict[int, int] = {}  # of vCPUs, by descriptor
        self._memories: dict[Event, MemoryEvent] = {}  # of VMs
        self._left: list[tuple[CallEvent, bytes]] = []

    def memory_of(self, vm: Event) -> MemoryEvent:
        """Return the guest memory of *vm*."""
        return self._memories[vm]

    def address_of(self, owner: MemoryEvent | CallEvent) -> int:
        """Return where guest memory, or a vCPU's kvm_run, is mapped in this process."""
        return self.run.places.address_of(owner)

    # protocol.Backend

    def open(self) -> int:
        """open(2)."""
        fd = self.inner.open()
        self.run.owners[fd] = None
        return fd

    def ioctl(self, fd: int, request: int, arg: int = 0) -> int:
        """ioctl(2)."""
        fd = int(fd)  # a program does not depend on the number of a device's descriptor
        if self.run.silent or not self.run.follows_this_thread():
            return self.inner.ioctl(fd, request, int(arg))
        call = self._begin(fd, request, arg)
        try:
            result = self.inner.ioctl(fd, request, int(arg))
        except OSError as error:
            call.result = -(error.errno or 0)
            raise
        self._end(call, int(arg), result)
        if call.request in _DESCRIPTORS:
            self.run.owners[result] = call
            return result
        return Number(result, StepValue(call, "result", _RESULT_BITS))

    def timed_call(self, fd: int, request: int, arg: int, /) -> TimedCall:
        """Return KVM_RUN between two host counter readings."""
        return partial(self._enter, fd, self.inner.timed_call(fd, request, arg))

    def _enter(self, fd: int, kvm_run: TimedCall) -> tuple[int, int, int]:
        vcpu = self.run.vcpu(fd)
        if not self.run.follows_this_thread():
            kind = ReadOn if id(vcpu) in self.run.reading else Spin
            self.run.events.append(kind(vcpu, "start", claim=self.run.in_claim))
            return kvm_run()
        before, result, after = kvm_run()
        if self.run.silent:
            return before, result, after
        run = kvm.kvm_run.from_address(self._maps[fd])
        self._forget_signal(vcpu)
        event = Enter(
            vcpu, run.exit_reason if result == 0 else _INTERRUPTED if result == -errno.EINTR else result
        )
        if result == -errno.EINTR and not run.immediate_exit:
            event.refusal = errno.EINTR  # an interrupt line that rose, or a signal of this process
        event.faulted = self._guest_faulted(vcpu)
        self.run.add(event)
        return (
            Number(before, StepValue(event, "before", 64)),
            result,
            Number(after, StepValue(event, "after", 64)),
        )

    def _forget_signal(self, vcpu: CallEvent) -> None:
        """Drop the last step if it is *vcpu*'s KVM_RUN and ended with EINTR: the harness enters again."""
        match self.run.events[-1:]:
            case [Enter(vcpu=last, refusal=errno.EINTR)] if last is vcpu:
                self.run.events.pop()

    def mmap(self, fd: int, length: int, offset: int = 0) -> Mapping:
        """mmap(2)."""
        mapping = self.inner.mmap(fd, int(length), int(offset))
        if offset:
            self.run.refuse("it maps a vCPU's ring of dirty pages, which KVM fills")
            return mapping
        owner = self.run.owners.get(fd)
        if fd == -1:
            memory = MemoryEvent(int(length))
            self.run.add(memory)
            self.run.places.map(mapping.address, int(length), memory)
        elif isinstance(owner, CallEvent):
            self._maps[fd] = mapping.address
            self.run.places.map(mapping.address, int(length), owner)
        return mapping

    def pread(self, fd: int, length: int, offset: int) -> bytes:
        """pread(2)."""
        self.run.refuse("it reads a file of statistics")
        return self.inner.pread(fd, length, offset)

    def close(self, fd: int) -> None:
        """close(2)."""
        owner = self.run.owners.pop(fd, None)
        if owner is not None and self.run.in_claim:
            self.run.add(Close(owner))
        self._maps.pop(fd, None)
        self.inner.close(fd)

    # Calls

    def _begin(self, fd: int, request: int, arg: int) -> CallEvent:
        known = request if isinstance(request, Request) else find_request(request, self.arch)
        owner = self.run.owners.get(fd)
        call = CallEvent(owner, known if known is not None else request)
        if fd not in self.run.owners:
            self.run.refuse("it calls a descriptor that no exported call made")
        if fields(request).size == 0 or known is None or known.argument is None:
            call.argument = self._plain_argument(request, arg)
        elif issubclass(known.argument, ctypes.Structure):
            self._take_structure(call, known.argument, int(arg))
        else:
            call.argument = structures.pointer(int(arg), self.run.places)
        self.run.add(call)
        return call

    def _plain_argument(self, request: int, arg: int) -> int | PointerArgument:
        if fields(request).size and held_at(arg, 1) is not None:
            self.run.refuse(f"request {request:#x} has an argument that no header describes")
        if isinstance(arg, Number):
            return PointerArgument(value=of(arg), size=0)
        return int(arg)

    def _take_structure(self, call: CallEvent, layout: type[ctypes.Structure], arg: int) -> None:
        place = self.run.places.find(arg)
        if held_at(arg, ctypes.sizeof(layout)) is None:
            call.argument = PointerArgument(offset=arg)
            return
        if place is not None and isinstance(place.owner, MemoryEvent):
            call.argument = PointerArgument(place.owner, place.offset)
            return
        if layout is kvm.kvm_dirty_log:
            self.run.refuse("KVM fills a bitmap of its own for it, of the pages that were written")
        call.layout = layout
        call.elements = structures.elements(layout, arg)
        if isinstance(call.request, Request) and not structures.takes(call.request):
            return
        size = structures.whole(layout, call.elements)
        contents = ctypes.string_at(arg, size)
        if structures.has_unnamed(layout, call.elements, contents):
            self.run.refuse(f"it fills a union in struct {layout.__name__}")
        fresh = isinstance(call.request, Request) and structures.fills(call.request)
        base = None if fresh else structures.base_of(layout, contents, self._left) or self._kept(layout, arg)
        call.base = base[0] if base else None
        call.members = structures.given(call, arg, contents, base[1] if base else None, self.run.places)
        if contents in self.run.hyperv_tables:
            call.base, call.hyperv = self.run.hyperv_tables[contents]
        elif base is not None and layout is kvm_x86.kvm_cpuid2:
            call.changed_bits = structures.changed_bits(contents, base[1][:size])
        if layout is kvm.kvm_userspace_memory_region:
            self._give_memory(call)

    def _kept(self, layout: type[ctypes.Structure], arg: int) -> tuple[CallEvent, bytes] | None:
        """Return the call that left all of a long structure as it is passed now."""
        size = ctypes.sizeof(layout)
        known = self.run.places.filled(arg, size) if size >= _LONG else None
        if known is None or known.layout is not layout or not isinstance(known.event, CallEvent):
            return None
        return known.event, ctypes.string_at(arg, size)

    def _end(self, call: CallEvent, arg: int, result: int) -> None:
        call.result = result
        request = call.request
        if call.layout is not None and isinstance(request, Request) and structures.fills(request):
            count = structures.elements(call.layout, arg)
            contents = ctypes.string_at(arg, structures.whole(call.layout, max(count, call.elements)))
            self.run.places.fill(Filled(arg, contents, call, call.layout, max(count, call.elements)))
            self._left.append((call, contents))
        if request in _GETS_VALUE and call.layout is not None:
            address = int.from_bytes(ctypes.string_at(arg, ctypes.sizeof(call.layout))[-8:], "little")
            pointed = call.members.get("addr")
            if isinstance(pointed, PointerArgument) and pointed.value is not None:
                held = ctypes.string_at(address, pointed.size)
                self.run.places.fill(Filled(address, held, call, None))
        if request == kvm.KVM_CREATE_DEVICE and call.layout is not None:
            self.run.owners[kvm.kvm_create_device.from_address(arg).fd] = call

    def _give_memory(self, call: CallEvent) -> None:
        pointed = call.members.get("userspace_addr")
        if isinstance(pointed, PointerArgument) and pointed.memory is not None and call.owner is not None:
            self._memories.setdefault(call.owner, pointed.memory)
            if not pointed.memory.contents:
                address = self.run.places.address_of(pointed.memory)
                pointed.memory.contents = dict(filled_words(address, pointed.memory.size))

    def _guest_faulted(self, vcpu: CallEvent) -> bool:
        assert vcpu.owner is not None
        memory = self._memories.get(vcpu.owner)
        if memory is None or not isinstance(vcpu.argument, int):
            return False
        at = self.run.places.address_of(memory) + guest_layout.mailbox(vcpu.argument)
        return bool(guest_layout.GuestMailbox.from_address(at).fault.count)
