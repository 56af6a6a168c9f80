"""`sentalign tune CONFIG [key=value ...]`: hyperparameter search; the best settings are written to best.yaml.

In: a sweep file. Out: a table of trials, or JSON. The search is tune.py.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from typing import Any

from sharding.command_line import Subcommands, add_command, add_config, add_json

EXAMPLES = """\
  sentalign tune configs/sweep.yaml
  sentalign tune configs/sweep.yaml trials=4 concurrent=2 train.epochs=1
  sentalign train runs/sweep/best.yaml

An override that is no setting of the sweep is a setting of the training, the same for all trials."""


def add_parser(commands: Subcommands, module: str) -> None:
    """Adds `tune`, whose trials run `module` on every rank."""
    tune = add_command(
        commands,
        "tune",
        partial(_tune, module=module),
        "search for the best settings",
        description="Trains many times with different settings, stops the worst trials early and writes best.yaml.",
        examples=EXAMPLES,
    )
    add_config(tune, "sweep file, for example configs/sweep.yaml")
    add_json(tune, "print the trials as JSON")


def _tune(args: argparse.Namespace, module: str) -> None:
    from sentalign.sweep import space, tune

    sweep = space.load(args.config, args.overrides)
    trials = tune.search(sweep, module)
    if args.json:
        print(json.dumps(trials))
    else:
        _print_table(sweep.metric, trials)
        print(f"best settings: {sweep.out / 'best.yaml'}")


def _print_table(metric: str, trials: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    settings = list(trials[0]["parameters"])
    table = Table("trial", "status", "pairs", f"best {metric}", *settings)
    for trial in trials:
        value = "-" if trial["value"] is None else f"{trial['value']:.4g}"
        chosen = [f"{v:.4g}" if isinstance(v, float) else str(v) for v in trial["parameters"].values()]
        table.add_row(str(trial["trial"]), trial["status"], f"{trial['pairs']:,}", value, *chosen)
    Console().print(table)
