# SPDX-License-Identifier: GPL-2.0-only
"""Write migration vectors to standard output: python -m tools.vectors >vectors.json."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tools.arguments import Parser, number_from
from tools.interruption import started
from tools.vectors import document


def main(argv: Sequence[str]) -> int:
    """Write the vectors that *argv* describes; return 0, or 1 if the output cannot be written."""
    parser = Parser(prog="tools.vectors", description="Write migration vectors as JSON.")
    parser.add_argument(
        "--seed",
        type=number_from(0),
        default=document.SEED,
        help=f"of drawn vectors (default: {document.SEED})",
    )
    parser.add_argument(
        "--drawn",
        type=number_from(0),
        default=document.DRAWN,
        metavar="N",
        help=f"vectors drawn for each method (default: {document.DRAWN})",
    )
    arguments = parser.parse_args(argv)
    text = "\n".join(document.lines(arguments.seed, arguments.drawn))
    try:
        print(text, flush=True)
    except OSError as error:
        print(f"vectors: standard output: {error.strerror}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(started(main))
