"""`sentalign track sync RUN_OR_SWEEP`: sends to MLflow what a run's or a sweep's folder holds and MLflow does not.

In: a folder. Out: up-to-date MLflow runs, nested as the folders are. The sending itself is `track.mlflow`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from sharding.command_line import Subcommands, add_command, add_json
from sharding.contract import UserError
from sharding.progress import bar

EXAMPLES = """\
  sentalign track sync runs/paper
  sentalign track sync runs/sweep          (the sweep with all its trials)
  sentalign track sync runs/paper --uri http://127.0.0.1:5000 --experiment chest"""
RESULTS_SECONDS = 30.0  # that `evaluate` waits for MLflow


def add_parser(commands: Subcommands) -> None:
    """Adds `track` with its one command `sync`."""
    track = commands.add_parser("track", help="what MLflow knows of a run")
    sync = add_command(
        track.add_subparsers(metavar="COMMAND", required=True),
        "sync",
        _sync,
        "send a run, or a sweep with its trials, to MLflow",
        description="Sends what MLflow does not have: after an outage, from another machine, after an evaluation.",
        examples=EXAMPLES,
    )
    folder = sync.add_mutually_exclusive_group(required=True)
    folder.add_argument("folder", nargs="?", type=Path, metavar="RUN_OR_SWEEP", help="folder of a run or of a sweep")
    folder.add_argument("--run", type=Path, metavar="RUN", help="the same")
    sync.add_argument("--uri", help="MLflow store; default: the run's track.uri, else the store of the last upload")
    sync.add_argument("--experiment", help="MLflow experiment; default: the run's")
    sync.add_argument("--parent", metavar="ID", help="MLflow run to nest it in; default: the run's track.parent_run")
    add_json(sync, "print the MLflow runs as JSON")


def _sync(args: argparse.Namespace) -> None:
    from sentalign.track import mlflow_uploader
    from sentalign.track.mlflow import run_folder

    folder = args.folder or args.run
    if not run_folder.is_run(folder):
        raise UserError(f"no journal.jsonl in {folder}; give the folder of a run or of a sweep")
    known = run_folder.store_of(folder)
    if not (known or args.uri):
        raise UserError(f"{folder} has no track.uri; add --uri, for example sqlite:///mlflow.db")
    known = known or run_folder.UploadTarget(args.uri, "sentalign")
    uri, experiment, parent = args.uri or known.uri, args.experiment or known.experiment, args.parent or known.parent
    with bar("runs", run_folder.count(folder)) as advance:
        ids = mlflow_uploader.sync_tree(folder, uri, experiment, parent, lambda name: advance(1))
    own = ids.pop(".")
    if args.json:
        print(json.dumps({"run_id": own, "experiment": experiment, "children": ids}))
    else:
        print(f"MLflow run {own}" + (f" with {len(ids)} nested runs" if ids else ""))


def send_results(run: Path) -> None:
    """After an evaluation: sends its results to the MLflow run of `run`, in another process, if there is one.

    What cannot be sent stays in the folder; a line on stderr says how to send it later.
    """
    from sentalign.track.mlflow.upload_state import STATE_NAME

    if not (run / STATE_NAME).is_file():
        return
    command = [sys.executable, "-m", "sentalign", "track", "sync", str(run)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=RESULTS_SECONDS, check=False)
        reason = "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["no reason"])[-1]
    except subprocess.TimeoutExpired:
        reason = f"no answer within {RESULTS_SECONDS:g} s"
    if reason:
        reason = reason.removeprefix("error: ")
        print(f"warning: MLflow has no results of this evaluation ({reason})", file=sys.stderr)
        print(f"send them later with: sentalign track sync {run}", file=sys.stderr)
