# SPDX-License-Identifier: GPL-2.0-only
"""Prints the job that tuxlava renders, its device and our definition as JSON: runs in tuxlava's environment.

Arguments: contrib/, then tuxlava's own. It is the command as it is where contrib/tuxlava has been copied
into the package. Nothing of this tree can be imported there.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import sys
from importlib import import_module
from pathlib import Path


def main(contrib: Path) -> int:
    """Print the document; return tuxlava's exit status."""
    templates, yaml = import_module("tuxlava.templates"), import_module("yaml")
    place = contrib / "tuxlava/tests/kvmtests.py"
    spec = importlib.util.spec_from_file_location("tuxlava.tests.kvmtests", place)
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    templates.tests().loader.searchpath.append(str(contrib / "tuxlava/templates/tests"))
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        status = import_module("tuxlava.__main__").main()
    if status:
        sys.stderr.write(said.getvalue())
        return int(status)
    job = yaml.safe_load(said.getvalue())
    name = sys.argv[sys.argv.index("--device") + 1]
    devices = import_module("tuxlava.devices").Device
    device = yaml.safe_load(devices.select(name)().device_dict(job["context"]))
    path = job["actions"][-1]["test"]["definitions"][0]["path"]
    definition = yaml.safe_load((contrib / "test-definitions" / path).read_text())
    json.dump({"job": job, "device": device, "definition": definition}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv.pop(1))))
