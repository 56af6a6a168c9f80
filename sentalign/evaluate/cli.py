"""`sentalign evaluate`: figures of a trained run on sets with boxes.

In: a data folder and a run. Out: metrics.json, cases.npz and index.html in a folder. The work is in the other modules;
they are imported when the command runs, so that `--help` is fast.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sharding.command_line import Subcommands, add_command, add_json, add_run
from sharding.contract import UserError

if TYPE_CHECKING:
    from sentalign.evaluate.datasets.ms_cxr import Case

EXAMPLES = """\
  sentalign evaluate ms-cxr --data ms-cxr --run runs/paper --out figures
  sentalign evaluate ms-cxr --data phantoms --run demo/run --out demo --withheld Cavity,Nodule --json

--data holds MS_CXR_Local_Alignment_*.json or .csv and, below it, the images under the paths that the file names.
written to --out: metrics.json (all figures), cases.npz (every map, box and number), index.html (the page)"""


def add_parser(commands: Subcommands) -> None:
    """Adds `evaluate` to the command line."""
    parser = commands.add_parser("evaluate", help="measure a trained run on a set with boxes")
    sets = parser.add_subparsers(dest="set", required=True, metavar="SET")
    one = add_command(
        sets,
        "ms-cxr",
        ms_cxr,
        "phrases with radiologists' boxes (v1.0.0, v1.1.0 and phantoms)",
        description="Zero-shot localization on MS-CXR: two protocols, 95% intervals by patient, controls.",
        examples=EXAMPLES,
    )
    one.add_argument("--data", type=Path, required=True, metavar="DIR", help="annotation file and images")
    add_run(one)
    one.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write to; made where needed")
    one.add_argument(
        "--withheld", default="", metavar="CATEGORY,...", help="categories that training never saw, reported apart"
    )
    one.add_argument("--replicates", type=int, default=1000, help="bootstrap replicates (default: 1000)")
    one.add_argument("--seed", type=int, default=0, help="of the bootstrap and the shuffled sentences (default: 0)")
    one.add_argument("--device", default="cpu", help="where the model runs, for example cuda (default: cpu)")
    add_json(one, "print what metrics.json holds")


def ms_cxr(args: argparse.Namespace) -> None:
    """Runs the command. Raises UserError for missing data, an unusable run or an unknown category."""
    if args.replicates < 1 or args.seed < 0:
        raise UserError("--replicates must be 1 or more and --seed 0 or more")
    from sentalign.evaluate import report
    from sentalign.evaluate.datasets import ms_cxr as reader
    from sentalign.localize.predict import Predictor

    cases = reader.read(args.data)
    withheld = categories(args.withheld, cases)
    predictor = Predictor.load(args.run, args.device)
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("localizing and scoring", total=1.0)
        tell = lambda share: bar.update(task, completed=share)  # noqa: E731
        metrics = report.evaluate(predictor, cases, args.out, withheld, args.replicates, args.seed, tell)
    if args.json:
        json.dump(metrics, sys.stdout, indent=1, allow_nan=False)
        sys.stdout.write("\n")
    else:
        report.show(metrics)


def categories(said: str, cases: list[Case]) -> list[str]:
    """The categories named in a comma-separated list, upper and lower case alike. Raises UserError for unknown ones."""
    known = {case.category.casefold(): case.category for case in cases}
    named = [name.strip() for name in said.split(",") if name.strip()]
    unknown = [name for name in named if name.casefold() not in known]
    if unknown:
        raise UserError(f"--withheld: no category {unknown[0]!r}; the set has {', '.join(sorted(known.values()))}")
    return [known[name.casefold()] for name in named]
