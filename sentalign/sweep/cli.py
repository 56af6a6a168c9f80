"""`sentalign tune CONFIG [key=value ...]`: hyperparameter search; the best settings are written to best.yaml.

In: a sweep file. Out: a line an event, a table of trials, or JSON; exit code 0, 1 where no trial succeeded, 3 where
some failed. The search is run.py.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from sharding.command_line import Subcommands, add_command, add_config, add_json

if TYPE_CHECKING:
    from sentalign.config import Config
    from sentalign.sweep.spec.preflight import Checked

EXAMPLES = """\
  sentalign tune configs/sweep.yaml --dry-run
  sentalign tune configs/sweep.yaml trials=4 concurrent=2 train.epochs=1
  sentalign tune configs/sweep.yaml searcher=optuna space.loss.tau.uniform=[0.05,0.3]
  sentalign train runs/sweep/best.yaml

The same command continues a sweep that was interrupted, and tries its failed trials again; more trials continue one
that has ended. An override that is no setting of the sweep is a setting of the training, the same for all trials."""
NONE_SUCCEEDED, SOME_FAILED = 1, 3
WIDEST = 100_000  # characters of a table in a file or a pipe: nothing is cut off


def add_parser(commands: Subcommands, module: str, check_boxes: Callable[[Config], object]) -> None:
    """Adds `tune`, whose trials run `module` on every rank; `check_boxes` opens `validation.boxes` as they do."""
    tune = add_command(
        commands,
        "tune",
        partial(_tune, module=module, check_boxes=check_boxes),
        "search for the best settings",
        description="Trains many times with different settings, stops the worst trials early and writes best.yaml.",
        examples=EXAMPLES,
    )
    add_config(tune, "sweep file, for example configs/sweep.yaml")
    tune.add_argument("--dry-run", action="store_true", help="print points, rungs and resources, and stop")
    add_json(tune, "print the content of trials.json")


def _tune(args: argparse.Namespace, module: str, check_boxes: Callable[[Config], object]) -> int:
    from sentalign.sweep import run
    from sentalign.sweep.spec import preflight, sweep_file

    checked = preflight.check(sweep_file.load(args.config, args.overrides), check_boxes)
    for warning in checked.schedule.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if args.dry_run:
        _print_plan(checked, args.json)
        return 0
    try:
        with _display(checked) as listener:
            found = run.search(checked, module, listener=listener)
    except (KeyboardInterrupt, SystemExit):
        print("the same command continues the sweep", file=sys.stderr)
        raise
    if args.json:
        print(json.dumps(found))
    else:
        _print_result(checked, found)
    return exit_code(found)


@contextmanager
def _display(checked: Checked) -> Iterator[Any]:
    """What shows the events of the search: a table, or a line an event."""
    from sentalign.sweep import results
    from sentalign.sweep.live import SweepDisplay
    from sentalign.sweep.run_seconds import RunSeconds

    run_seconds = RunSeconds()
    with SweepDisplay() as display:
        yield lambda event, trial, record: display.update(results.content(checked, record, run_seconds=run_seconds))


def exit_code(found: dict[str, Any]) -> int:
    """0; NONE_SUCCEEDED where there is no best trial, SOME_FAILED where there is one."""
    if found["best"] is None:
        return NONE_SUCCEEDED
    return SOME_FAILED if any(trial["status"] == "failed" for trial in found["trials"]) else 0


def _print_plan(checked: Checked, as_json: bool) -> None:
    from sentalign.sweep import dry_run

    print(json.dumps(dry_run.plan(checked)) if as_json else dry_run.text(checked))


def _print_result(checked: Checked, found: dict[str, Any]) -> None:
    from sentalign.sweep import results

    out = checked.sweep.out
    _print_table(found)
    for trial in found["trials"]:
        if trial["error"]:
            print(f"trial {trial['trial']} failed: {trial['error']} (see {out}/trials/{trial['trial']:03d})")
    if found["best"] is not None:
        print(f"best settings: {out / 'best.yaml'}, of trial {found['best']}")
        print(f"to train them longer: {results.longer_command(checked)}")
    elif any(trial["values"] for trial in found["trials"]):
        print(results.nearest(checked, found), file=sys.stderr)
    else:
        print("error: no trial succeeded", file=sys.stderr)
    if any(trial["status"] == "interrupted" for trial in found["trials"]):
        print("some trials are not at their end; the same command continues them")


def _print_table(found: dict[str, Any]) -> None:
    """At full width where a program reads it."""
    from rich.console import Console
    from rich.table import Table

    from sentalign.sweep import content
    from sentalign.sweep.wording import setting_text

    sweep, console = content.read(found), Console()
    table = Table("trial", "status", "pairs", *sweep.metrics, *sweep.space)
    for trial in sweep.trials:
        values = [trial.value_text(metric) for metric in sweep.metrics]
        chosen = [setting_text(trial.parameters[name]) if name in trial.parameters else "" for name in sweep.space]
        table.add_row(str(trial.number), trial.status, f"{trial.pairs:,}", *values, *chosen)
    (console if console.is_terminal else Console(width=WIDEST)).print(table)
