"""`sentalign doctor`: what this machine has; `sentalign doctor hang RUN`: which rank of a run stands still.

In: the words of the command line. Out: lines or JSON; exit code 0 healthy, 1 somebody stands still. The judging is
hang.py.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from sharding.command_line import Subcommands, add_command, add_json

EXAMPLES = "  sentalign doctor\n  sentalign doctor --json"
HANG_EXAMPLES = """\
  sentalign doctor hang runs/paper
  sentalign doctor hang runs/paper --stale 20 --json

Exit code: 0 nobody stands still (or the run has ended in good order), 1 somebody does, or the run died."""
PACKAGES = ("sentalign", "torch", "deepspeed", "transformers", "webdataset", "pydicom", "mlflow", "ray")


def add_parser(commands: Subcommands) -> None:
    """Adds `doctor`, with its one command `hang`."""
    doctor = add_command(
        commands, "doctor", _machine, "what this machine has; which rank of a run hangs", examples=EXAMPLES
    )
    add_json(doctor)
    hang = add_command(
        doctor.add_subparsers(metavar="COMMAND"),
        "hang",
        _hang,
        "which rank of a run stands still, and where",
        description="Reads the heartbeats of a run, alive or dead, and names the rank and phase that stand still.",
        examples=HANG_EXAMPLES,
    )
    hang.add_argument("folder", type=Path, metavar="RUN", help="folder of the run")
    hang.add_argument("--stale", type=float, default=60.0, metavar="SECONDS", help="longest good phase (default 60)")
    add_json(hang)


def _hang(args: argparse.Namespace) -> int:
    from sentalign.health import hang

    verdict = hang.observe(args.folder, args.stale)
    if args.json:
        print(json.dumps(asdict(verdict) | {"healthy": verdict.healthy}))
    else:
        print("\n".join(verdict.lines))
    return 0 if verdict.healthy else 1


def _machine(args: argparse.Namespace) -> int:
    found = machine()
    if args.json:
        print(json.dumps(found))
    else:
        print("\n".join(f"{name:13} {value}" for name, value in found.items()))
    return 0


def machine() -> dict[str, str]:
    """Versions, processor cores and devices; nothing that names the machine."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found | {"cores": str(len(os.sched_getaffinity(0))), "devices": _devices()}


def _devices() -> str:
    try:
        import torch
    except ImportError:
        return "unknown without torch"
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return ", ".join(names) or "no GPU: training runs on the CPU, over gloo"
