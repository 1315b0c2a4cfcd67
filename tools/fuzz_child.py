# SPDX-License-Identifier: GPL-2.0-only
"""The process in which hostile input is tried, so that its death is a result and ends nothing else.

The file --trace has the seed and the number of the step before each call is made. Findings and,
at the end, the counts go to standard output, one JSON object a line.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import mmap
import resource
import signal
import struct
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from fixtures.agreement.counterpart import counterpart_of
from fixtures.agreement.transcript import Moment
from fixtures.architectures import entry_of
from fixtures.backends.protocol import Backend
from fixtures.facts import Fact
from fixtures.fuzz import draw, images
from fixtures.fuzz.play import Broken, FuzzCounts, compare, play
from fixtures.kvm.system import open_kvm
from fixtures.sim import SimBackend, SimConfig
from fixtures.sim.architecture import simulated as simulation_of
from fixtures.targets import Target, named_target, probe
from fixtures.uapi.kvm import KVM_CAP_MAX_VCPU_ID, KVM_CAP_MAX_VCPUS
from tools.fuzz_readers import READERS, ReaderCounts, read_one

TRACE = struct.Struct("<qq")  # seed, step
NO_STEP = -1
CASE_LIMIT_S = 30  # of one case; a guest in it has 0.2 s, and the computer may be busy
MEMORY_LIMIT = 32 << 30  # address space: maps of hostile sizes are refused


class Trier(Protocol):
    """Tries the case of a seed."""

    @property
    def counts(self) -> FuzzCounts | images.GuestCounts | ReaderCounts:
        """What was tried so far: a dataclass of numbers."""
        ...

    def try_seed(self, seed: int, step: Callable[[int], None]) -> None:
        """Call *step* with the number of each step before it; raises what must not happen."""


class SimulatedCalls:
    """System calls to a simulated host."""

    def __init__(self, target: Target) -> None:
        """Try *target*."""
        self.counts = FuzzCounts()
        self._target = target

    def try_seed(self, seed: int, step: Callable[[int], None]) -> None:
        """Play the case of *seed*."""
        play(draw.case(self._target.arch, seed), self._target.make_backend(), self.counts, step)


class RealCalls:
    """System calls to a kernel, and the same ones to a simulated counterpart of its host."""

    def __init__(self, target: Target, facts: Mapping[str, Fact]) -> None:
        """Try *target*, which is a host with *facts*."""
        self.counts = FuzzCounts()
        self._simulated = FuzzCounts()
        self._target = target
        self._facts = facts

    def try_seed(self, seed: int, step: Callable[[int], None]) -> None:
        """Play the case of *seed* on both, and compare."""
        case = draw.case(self._target.arch, seed, real=True)
        backend = self._target.make_backend()
        real = play(case, backend, self.counts, step)
        step(NO_STEP)
        simulated = play(case, SimBackend(self._counterpart(backend)), self._simulated)
        compare(case, real, simulated, self.counts)

    def _counterpart(self, backend: Backend) -> SimConfig:
        """Return a host like the target's, which also has as many vCPUs."""
        config = counterpart_of(self._target.arch, self._facts, _moment(backend))
        with open_kvm(backend, self._target.arch) as opened:
            limits = {cap: opened.check_extension(cap) for cap in (KVM_CAP_MAX_VCPUS, KVM_CAP_MAX_VCPU_ID)}
        return replace(config, capabilities={**config.capabilities, **limits})


class RandomGuests:
    """RandomGuests of random bytes, each followed by a tame one."""

    def __init__(self, target: Target) -> None:
        """Try *target*."""
        self.counts = images.GuestCounts()
        self._target = target

    def try_seed(self, seed: int, step: Callable[[int], None]) -> None:
        """Run the guest of *seed*."""
        step(0)
        backend = self._target.make_backend()
        images.run_image(images.image(self._target.arch, seed), backend, self.counts)
        step(1)
        images.check_next(self._target.arch, backend)


class Readers:
    """Spoilt files for one reader."""

    def __init__(self, name: str) -> None:
        """Try the reader *name*."""
        self.counts = ReaderCounts()
        self._name = name

    def try_seed(self, seed: int, step: Callable[[int], None]) -> None:
        """Read the files of *seed*."""
        step(0)
        read_one(self._name, seed, self.counts)


def trier(kind: str, name: str) -> Trier:
    """Return what tries *kind* on the target *name*; LookupError if it is not available."""
    if kind == "readers":
        if name not in READERS:
            raise LookupError(f"no reader is called {name}")
        return Readers(name)
    target = named_target(name)
    if target is None:
        raise LookupError(f"no target is called {name}")
    found = probe(target)
    if found.reason is not None:
        raise LookupError(found.reason)
    entry_of(draw.BY_ARCHITECTURE, target.arch, "fuzz")
    if kind == "guests":
        return RandomGuests(target)
    simulation_of(target.arch)  # answers of a kernel are compared with its counterpart's
    return SimulatedCalls(target) if target.simulated else RealCalls(target, found.facts)


def main(argv: Sequence[str]) -> int:
    """Try seeds until time is up; return 0, or 4 with a sentence if the target is not available."""
    arguments = _parse(argv)
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    with arguments.trace.open("r+b") as file, mmap.mmap(file.fileno(), TRACE.size) as trace:
        try:
            found = trier(arguments.kind, arguments.target)
        except LookupError as error:
            _emit(absent=str(error))
            return 4
        _try_all(found, arguments, trace)
    _emit(counts={name: getattr(found.counts, name) for name in found.counts.__dataclass_fields__})
    return 0


def _try_all(found: Trier, arguments: argparse.Namespace, trace: mmap.mmap) -> None:
    end_s = time.monotonic() + arguments.seconds
    seed = arguments.seed
    last = seed + arguments.cases if arguments.cases else None
    while seed != last and (arguments.cases or time.monotonic() < end_s):
        faulthandler.dump_traceback_later(CASE_LIMIT_S, exit=True)
        trace[:] = TRACE.pack(seed, NO_STEP)
        try:
            found.try_seed(seed, _marking(trace, seed))
        except Broken as broken:
            _emit(seed=seed, step=broken.number, why=str(broken))
        except Exception as error:  # noqa: BLE001 - any other exception is what we look for
            _emit(seed=seed, step=TRACE.unpack(trace[:])[1], why=_why(error))
        seed += 1
    faulthandler.cancel_dump_traceback_later()


def _marking(trace: mmap.mmap, seed: int) -> Callable[[int], None]:
    def mark(step: int) -> None:
        trace[:] = TRACE.pack(seed, step)

    return mark


def _why(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    where = ", ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)
    return f"{type(error).__name__} at {where}: {str(error)[:300]}"


def _moment(backend: Backend) -> Moment:
    clocks = backend.time
    return Moment(clocks.counter(), clocks.monotonic_raw_ns(), clocks.realtime_ns())


def _emit(**fields: object) -> None:
    print(json.dumps(fields), flush=True)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tools.fuzz_child", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("kind", choices=("abi", "guests", "readers"))
    parser.add_argument("--target", default="")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--cases", type=int, default=0)
    parser.add_argument("--trace", type=Path, required=True)
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
