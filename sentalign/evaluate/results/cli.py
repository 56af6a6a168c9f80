"""`sentalign compare`: the paired differences of two results.

In: two folders that `sentalign evaluate` wrote. Out: a table, or JSON. The other modules are imported when the command
runs.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from sentalign.evaluate.arguments import add_bootstrap, check_bootstrap
from sharding.command_line import Subcommands, add_command, add_json

EXAMPLES = """\
  sentalign compare results/paper results/recipe
  sentalign compare results/paper results/recipe --kind plain_map --json"""


def add_parser(commands: Subcommands) -> None:
    """Adds `compare` to the command line."""
    parser = add_command(
        commands,
        "compare",
        compare,
        "the differences of two evaluations, case by case",
        description="The difference of every metric between two results on the same cases, with 95% intervals.",
        examples=EXAMPLES,
    )
    parser.add_argument("first", type=Path, metavar="A", help="folder of a result")
    parser.add_argument("second", type=Path, metavar="B", help="folder of another; the difference is B minus A")
    parser.add_argument("--kind", default="model", help="map that is compared, of those in cases.npz (default: model)")
    add_bootstrap(parser)
    add_json(parser, "print all numbers as JSON")


def compare(args: argparse.Namespace) -> None:
    """Runs the command. Raises UserError where a folder holds no result, or one of other cases."""
    check_bootstrap(args)
    from rich.console import Console

    from sentalign.evaluate.results import compare as results

    compared = results.compare(args.first, args.second, args.kind, args.replicates, args.seed)
    if args.json:
        print(json.dumps(compared, indent=1, allow_nan=False))
        return
    console = Console()
    console.print(results.table(compared, args.first.name, args.second.name))
    if any(compared["only"]):
        console.print(f"not compared: {compared['only'][0]} cases of A alone, {compared['only'][1]} of B alone")
