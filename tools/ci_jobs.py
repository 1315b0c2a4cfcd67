# SPDX-License-Identifier: GPL-2.0-only
"""Write what a kernel CI needs to run the suite, a LAVA job or a KernelCI pipeline entry, or run a job of it.

The LAVA job boots a board over TFTP and NFS, unpacks the tar of `make gen_tar`, runs it, and
turns the log into LAVA's results (tools/lava_signals.py). The KernelCI entry is one job and one
scheduler item for its pipeline's configuration; there the suite is a kselftest collection. A job that
KernelCI hands to labs of its PULL_LABS protocol is run here, on lab hosts.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from fixtures.architectures import ROWS
from tools import pull_lab
from tools.arguments import Parser, number_from
from tools.interruption import started

Value = str | int | Sequence["Value"] | Mapping[str, "Value"]

COLLECTION = "kvmtests"
PLACE = "/opt/kvmtests"
LOG = "/tmp/kvmtests.log"  # noqa: S108  # on the board, which is set up from scratch for each job
FORMAT = "Lava-Test Test Definition 1.0"

_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*\Z")
_WORDS_OF_YAML = frozenset(("true", "false", "yes", "no", "on", "off", "null", "y", "n"))


def main(argv: Sequence[str]) -> int:
    """Print the document that *argv* describes and return 0, or run a job and return its exit status."""
    options = _parser().parse_args(argv)
    if options.ci == "pull-lab":
        return pull_lab.run(options.job, options.out)
    document = lava(options) if options.ci == "lava" else kernelci(options)
    print("# SPDX-License-Identifier: GPL-2.0-only")
    print("\n".join(yaml(document)))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="ci_jobs", description=__doc__.splitlines()[0])
    kinds = parser.add_subparsers(dest="ci", required=True)
    job = kinds.add_parser("lava", help="a job for `lavacli jobs submit`")
    job.add_argument("--device-type", required=True, help="as the LAVA server calls the board")
    job.add_argument("--kernel", required=True, metavar="URL", help="the kernel image")
    job.add_argument("--kernel-type", default="image", choices=("image", "uimage", "zimage"))
    job.add_argument("--dtb", metavar="URL", help="the device tree, where the boot loader has none")
    job.add_argument("--modules", metavar="URL", help="the kernel's modules, a tar.xz")
    job.add_argument("--rootfs", required=True, metavar="URL", help="an NFS root with python3, a tar.xz")
    job.add_argument("--suite", required=True, metavar="URL", help="kselftest.tar.gz of `make gen_tar`")
    job.add_argument("--method", default="u-boot", choices=("u-boot", "grub", "ipxe"), help="boot loader")
    job.add_argument("--prompt", default="root@", help="what the root file system's shell prints")
    job.add_argument("--minutes", type=number_from(1), default=30, help="for the suite; booting has 15 more")
    entry = kinds.add_parser("kernelci", help="an entry for kernelci-pipeline's config/")
    entry.add_argument("--arch", required=True, choices=sorted(row.folder for row in ROWS))
    entry.add_argument("--build", required=True, help="the build to follow, such as kbuild-gcc-14-arm64")
    entry.add_argument("--runtime", required=True, help="the LAVA lab, such as lava-collabora")
    entry.add_argument("--platform", required=True, action="append", help="a board of that lab (repeatable)")
    root = entry.add_mutually_exclusive_group(required=True)
    root.add_argument("--rootfs", metavar="URL", help="an NFS root with python3")
    root.add_argument("--rootfs-ref", metavar="NAME", help="the same as config/rootfs.yaml calls it")
    entry.add_argument("--minutes", type=number_from(1), default=30, help="for the whole job")
    pull = kinds.add_parser("pull-lab", help="run a job of KernelCI's PULL_LABS protocol on lab hosts")
    pull.add_argument("job", type=Path, metavar="JOB.json", help="the job as its lab fetched it")
    pull.add_argument("--out", type=Path, default=Path("out"), help="where reports and result.json go")
    return parser


def lava(options: argparse.Namespace) -> Mapping[str, Value]:
    """Return the LAVA job that *options* describe."""
    images: dict[str, Value] = {"kernel": {"url": options.kernel, "type": options.kernel_type}}
    if options.dtb:
        images["dtb"] = {"url": options.dtb}
    if options.modules:
        images["modules"] = {"url": options.modules, "compression": "xz"}
    images["nfsrootfs"] = {"url": options.rootfs, "compression": "xz"}
    boot: dict[str, Value] = {"method": options.method, "commands": "nfs", "prompts": [options.prompt]}
    definition = {"from": "inline", "name": COLLECTION, "path": f"inline/{COLLECTION}.yaml"}
    return {
        "job_name": f"{COLLECTION} on {options.device_type}",
        "device_type": options.device_type,
        "visibility": "public",
        "priority": "medium",
        "timeouts": {"job": {"minutes": options.minutes + 20}, "action": {"minutes": options.minutes}},
        "actions": [
            {"deploy": {"to": "tftp", "timeout": {"minutes": 10}, **images}},
            {"boot": {"timeout": {"minutes": 5}, **boot}},
            {
                "test": {
                    "timeout": {"minutes": options.minutes},
                    "definitions": [{**definition, "repository": test_definition(options.suite)}],
                }
            },
        ],
    }


def test_definition(suite: str) -> Mapping[str, Value]:
    """Return LAVA's test definition: it runs the tar at the URL *suite*."""
    return {
        "metadata": {
            "format": FORMAT,
            "name": COLLECTION,
            "description": "What KVM promises for guest counters",
            "os": ["debian", "openembedded"],
            "scope": ["functional"],
        },
        "run": {
            "steps": [
                f"mkdir -p {PLACE}",
                f"wget -q -O - '{suite}' | tar -C {PLACE} -xzf -",
                # LAVA takes verdicts from the results, not from this exit status.
                f"{PLACE}/run_kselftest.sh | tee {LOG}",
                f"PYTHONPATH={PLACE}/{COLLECTION} python3 -m tools.lava_signals {LOG}",
            ]
        },
    }


def kernelci(options: argparse.Namespace) -> Mapping[str, Value]:
    """Return job and scheduler item of KernelCI's pipeline that *options* describe."""
    name = f"kselftest-{COLLECTION}-{options.arch}"
    params: Mapping[str, Value] = {
        "test_method": "kselftest",
        "boot_commands": "nfs",
        **({"nfsroot": options.rootfs} if options.rootfs else {"rootfs_ref": options.rootfs_ref}),
        "collections": COLLECTION,
        "job_timeout": options.minutes,
    }
    event = {"channel": "node", "kind": "kbuild", "state": "available", "name": options.build}
    return {
        "jobs": {
            name: {
                "template": "generic.jinja2",
                "kind": "job",
                "params": params,
                "kcidb_test_suite": f"kselftest.{COLLECTION}",
            }
        },
        "scheduler": [
            {
                "job": name,
                "event": event,
                "runtime": {"type": "lava", "name": options.runtime},
                "platforms": list(options.platform),
            }
        ],
    }


def yaml(value: Value, indent: str = "") -> Iterator[str]:
    """Yield the lines of *value* in YAML's block style; texts that are not plain are quoted."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _entry(f"{indent}{key}:", inner, indent)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for inner in value:
            if isinstance(inner, str | int):
                yield f"{indent}- {_scalar(inner)}"
            else:
                first, *rest = yaml(inner, f"{indent}  ")
                yield f"{indent}- {first[len(indent) + 2 :]}"
                yield from rest


def _entry(head: str, value: Value, indent: str) -> Iterator[str]:
    if isinstance(value, str | int):
        yield f"{head} {_scalar(value)}"
    else:
        yield head
        yield from yaml(value, f"{indent}  ")


def _scalar(value: str | int) -> str:
    if isinstance(value, int):
        return json.dumps(value)
    # A quoted text of JSON is one of YAML.
    return value if _PLAIN.match(value) and value.lower() not in _WORDS_OF_YAML else json.dumps(value)


if __name__ == "__main__":
    sys.exit(started(main))
