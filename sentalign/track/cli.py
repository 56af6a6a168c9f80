"""`sentalign track sync --run RUN`: sends to MLflow what a run's journal holds and MLflow does not.

In: the folder of a run. Out: an up-to-date MLflow run. The sending itself is mlflow_uploader.py.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from sharding.command_line import Subcommands, add_command, add_json, add_run
from sharding.contract import UserError

EXAMPLES = """\
  sentalign track sync --run runs/paper
  sentalign track sync --run runs/paper --uri http://127.0.0.1:5000 --experiment chest"""


def add_parser(commands: Subcommands) -> None:
    """Adds `track` with its one command `sync`."""
    track = commands.add_parser("track", help="what MLflow knows of a run")
    sync = add_command(
        track.add_subparsers(metavar="COMMAND", required=True),
        "sync",
        _sync,
        "send a run's journal to MLflow",
        description="Sends the journal entries that MLflow does not have: after an outage, or from another machine.",
        examples=EXAMPLES,
    )
    add_run(sync, "folder of the run")
    sync.add_argument("--uri", help="MLflow store; default: the run's track.uri, else the store of the last upload")
    sync.add_argument("--experiment", help="MLflow experiment; default: the run's")
    add_json(sync, "print the MLflow run as JSON")


def _sync(args: argparse.Namespace) -> None:
    from sentalign.track import journal, mlflow_uploader

    journal.read(args.run)
    track = _settings(args.run)
    uri = args.uri or track.get("uri")
    if not uri:
        raise UserError(f"{args.run} has no track.uri; add --uri, for example sqlite:///mlflow.db")
    experiment = args.experiment or track.get("experiment") or "sentalign"
    run_id = mlflow_uploader.sync(args.run, uri, experiment, track.get("parent_run"))
    print(json.dumps({"run_id": run_id, "experiment": experiment}) if args.json else f"MLflow run {run_id}")


def _settings(run: Path) -> dict[str, Any]:
    """The section `track` of the run's config.yaml, else the store that the run was last sent to."""
    import yaml

    from sentalign.track.mlflow_uploader import STATE_NAME

    config, state = run / "config.yaml", run / STATE_NAME
    track = (yaml.safe_load(config.read_text()) or {}).get("track") if config.is_file() else None
    if track or not state.is_file():
        return track or {}
    uri, sent = list(json.loads(state.read_text()).items())[-1]
    return {"uri": uri, "experiment": sent["experiment"]}
