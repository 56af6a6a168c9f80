"""`sentalign doctor`: what this machine has; `sentalign doctor hang --run RUN`: which rank of a run hangs.

In: the command line. Out: lines or JSON; exit code 0 healthy, 1 a rank hangs or the run died. The diagnosis is hang.py.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version

from sharding.command_line import Subcommands, add_command, add_json, add_run

EXAMPLES = "  sentalign doctor\n  sentalign doctor --json"
HANG_EXAMPLES = """\
  sentalign doctor hang --run runs/paper
  sentalign doctor hang --run runs/paper --stale 20 --json

Exit code: 0 all ranks make progress or exited normally, 1 a rank hangs, or the run died."""
PACKAGES = ("sentalign", "torch", "deepspeed", "transformers", "webdataset", "pydicom", "mlflow", "ray")


def add_parser(commands: Subcommands) -> None:
    """Adds `doctor`, with its one command `hang`."""
    doctor = add_command(commands, "doctor", _machine, "what this machine has, or why a run hangs", examples=EXAMPLES)
    add_json(doctor)
    hang = add_command(
        doctor.add_subparsers(metavar="COMMAND"),
        "hang",
        _hang,
        "which rank of a run hangs, and where",
        description="Reads the heartbeats of a run, alive or dead, and names the rank that hangs and its phase.",
        examples=HANG_EXAMPLES,
    )
    add_run(hang, "folder of the run")
    hang.add_argument("--stale", type=float, default=60.0, metavar="SECONDS", help="longest normal phase (default 60)")
    # Without a default of its own, which would undo a --json before `hang`.
    hang.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print the result as JSON")


def _hang(args: argparse.Namespace) -> int:
    from sentalign.health import hang

    verdict = hang.observe(args.run, args.stale)
    if args.json:
        print(json.dumps(asdict(verdict) | {"healthy": verdict.healthy}))
    else:
        print("\n".join(verdict.lines))
    return 0 if verdict.healthy else 1


def _machine(args: argparse.Namespace) -> None:
    facts = machine()
    print(json.dumps(facts) if args.json else "\n".join(f"{name:13} {value}" for name, value in facts.items()))


def machine() -> dict[str, str]:
    """Versions, processor cores and devices; nothing that names the machine."""
    facts = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            facts[name] = version(name)
        except PackageNotFoundError:
            facts[name] = "not installed"
    return facts | {"cores": str(len(os.sched_getaffinity(0))), "devices": _devices()}


def _devices() -> str:
    try:
        import torch
    except ImportError:
        return "unknown without torch"
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return ", ".join(names) or "no GPU: training runs on the CPU, over gloo"
