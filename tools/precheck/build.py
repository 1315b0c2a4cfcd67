# SPDX-License-Identifier: GPL-2.0-only
"""Build kvmtests-precheck (`make precheck`). Exit status: 0, or 2 where it cannot be built."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.arguments import USAGE, Parser
from tools.interruption import started
from tools.precheck import bundle
from tools.precheck.closure import NotSelfContained
from tools.precheck.older_python import CannotLower

NAME = "kvmtests-precheck"
ROOT = Path(__file__).resolve().parents[2]


def main(argv: Sequence[str]) -> int:
    """Build the bundle into the folder that *argv* names; return the exit status."""
    parser = Parser(prog="precheck", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("out"), metavar="DIR", help="where it goes (out)")
    path = parser.parse_args(argv).out / NAME
    try:
        data = bundle.build(ROOT)
        _write(path, data)
    except (CannotLower, NotSelfContained, bundle.TooLarge) as error:
        sys.stderr.write(f"precheck: {error}.\n")
        return USAGE
    except OSError as error:
        sys.stderr.write(f"precheck: {error.filename or path} cannot be used: {error.strerror}.\n")
        return USAGE
    print(f"{path}: {len(data) / 1000:.0f} kB")
    return 0


def _write(path: Path, data: bytes) -> None:
    """Write the program *path*, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        # 0777 less the umask: everyone may run it who may read it.
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o777)
        with open(descriptor, "wb") as file:  # noqa: PTH123  # of a descriptor
            file.write(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(started(main))
