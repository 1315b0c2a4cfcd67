# SPDX-License-Identifier: GPL-2.0-only
"""What claims expect of calls rather than of values: refusals, exceptions, vCPUs that run meanwhile."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

import pytest

from tools.export_c import at_once, guest_values, meanwhile
from tools.export_c.events import CallEvent, Enter, Refusal
from tools.export_c.session import RUN
from tools.export_c.thread_events import Spin


def special(function: Any) -> Callable[[Any, tuple[Any, ...], dict[str, Any]], Any] | None:
    """Return what stands for *function* while a claim is recorded, None for most functions."""
    if function is pytest.raises:
        return _raises
    if function is contextlib.suppress:
        return _suppress
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    return BY_NAME.get((module, name))


def _refused(_: Any, arguments: tuple[Any, ...], __: dict[str, Any]) -> AbstractContextManager[None]:
    return _ExpectedRefusal(int(arguments[0]))


class _ExpectedRefusal:
    """`fixtures.kvm.expect.refused`: notes the promise at the call, and lets the run continue."""

    def __init__(self, errno: int) -> None:
        self._errno = errno
        self._first = 0

    def __enter__(self) -> None:
        self._first = len(RUN.current.events)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        from fixtures.kvm.errors import KvmError, OutOfResources

        if error is not None and not isinstance(error, KvmError | OutOfResources):
            return False
        calls = [one for one in RUN.current.events[self._first :] if isinstance(one, CallEvent)]
        refused = [one for one in calls if one.failed()] or calls
        entries = [one for one in RUN.current.events[self._first :] if isinstance(one, Enter)]
        if entries and not any(one.failed() for one in calls):
            entries[-1].refusal = self._errno
        elif not refused:
            RUN.current.refuse("it expects a refusal of something that is not an ioctl")
        else:
            refused[-1 if error is None else 0].refusal = Refusal(self._errno, promised=True)
        return True


class _Raises:
    """`pytest.raises` of an exception in the guest, or of a failed call."""

    def __init__(self, inner: Any, kind: Any) -> None:
        self._inner = inner
        self._kind = kind
        self._first = 0

    def __enter__(self) -> Any:
        self._first = len(RUN.current.events)
        return self._inner.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Any:
        from fixtures.kvm.errors import GuestFault, KvmError

        done = RUN.current.events[self._first :]
        if self._kind is GuestFault:
            entries = [one for one in done if isinstance(one, Enter)]
            if entries:
                entries[-1].promised = True
        elif self._kind is KvmError:
            failed = [one for one in done if isinstance(one, CallEvent) and one.failed()]
            if failed:
                failed[0].refusal = Refusal(-failed[0].result, promised=True)
        elif error is not None:
            RUN.current.refuse(f"it expects the exception {self._kind.__name__}")
        return self._inner.__exit__(kind, error, trace)


def _raises(function: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    return _Raises(function(*arguments, **keywords), arguments[0])


class _Suppress:
    """`contextlib.suppress`: no promise that the calls inside succeed, nor that they fail."""

    def __init__(self, inner: AbstractContextManager[None]) -> None:
        self._inner = inner
        self._first = 0

    def __enter__(self) -> None:
        self._first = len(RUN.current.events)
        self._inner.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        for event in RUN.current.events[self._first :]:
            if isinstance(event, CallEvent | Enter):
                event.tolerated = True
        return self._inner.__exit__(kind, error, trace)


def _suppress(function: Any, arguments: tuple[Any, ...], _: dict[str, Any]) -> Any:
    return _Suppress(function(*arguments))


def _await_rounds(function: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    vcpu = RUN.current.vcpu(function.__self__.vcpu.handle.fd)
    with RUN.silence():
        result = function(*arguments, **keywords)
    RUN.current.add(Spin(vcpu, "begun"))
    return result


def _stop(function: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    vcpu = RUN.current.vcpu(function.__self__.handle.fd)
    with RUN.silence():
        result = function(*arguments, **keywords)
    RUN.current.add(Spin(vcpu, "stop"))
    return result


def _require_reg(function: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    with RUN.silence():  # the calls that use the register find out themselves
        return function(*arguments, **keywords)


def _together(function: Any, arguments: tuple[Any, ...], _: dict[str, Any]) -> Any:
    results = at_once.recorded(arguments)
    if results is not None:
        return results
    return meanwhile.with_other_work(function, arguments)


def _times_ahead_ns(function: Any, arguments: tuple[Any, ...], _: dict[str, Any]) -> Any:
    # A run that is recorded is slow, and the program makes the attempts of that run: the long ones alone.
    return function(*arguments)[-2:]


BY_NAME: dict[tuple[Any, Any], Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]] = {
    ("fixtures.kvm.expect", "refused"): _refused,
    ("fixtures.kvm.x86.pace", "times_ahead_ns"): _times_ahead_ns,
    ("fixtures.kvm.arm64.interrupts", "GicGuest._wait"): guest_values.interrupts,
    ("fixtures.kvm.arm64.interrupts", "_numbers"): guest_values.numbers,
    ("fixtures.kvm.cpus", "pin"): meanwhile.pin,
    ("fixtures.kvm.guest", "Guest._await_rounds"): _await_rounds,
    ("fixtures.kvm.meanwhile", "await_readings"): meanwhile.await_readings,
    ("fixtures.kvm.meanwhile", "run_meanwhile"): meanwhile.run_meanwhile,
    ("fixtures.kvm.one_reg", "OneRegVcpu.require_reg"): _require_reg,
    ("fixtures.kvm.values", "Pvclock.kvmclock_ns"): guest_values.kvmclock_ns,
    ("fixtures.kvm.arm64.pace", "unhurried_ns"): guest_values.unhurried_ns,
    ("fixtures.kvm.x86.messages", "take_message"): guest_values.take_message,
    ("fixtures.kvm.x86.cpuid", "hyperv_cpuid"): guest_values.hyperv_cpuid,
    ("fixtures.kvm.vcpu", "Vcpu.stop"): _stop,
    ("fixtures.kvm.threads", "together"): _together,
}
