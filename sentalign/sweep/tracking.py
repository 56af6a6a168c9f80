"""The sweep in MLflow: a parent run with its trials as children; nothing where MLflow is off or cannot be reached.

In: a checked sweep and its record. Out: runs in MLflow, sent from the journals at the start and the end of the sweep.
"""

from __future__ import annotations

import json
import sys

from sentalign.config import Config
from sentalign.sweep.record import SearchRecord
from sentalign.sweep.spec.preflight import Checked
from sentalign.sweep.spec.settings import Sweep
from sentalign.sweep.trial.plan import trial_runs
from sentalign.track import journal, mlflow_uploader
from sentalign.track.journal import Journal
from sentalign.track.mlflow import connection
from sharding.contract import UserError


def start_parent(sweep: Sweep, base: Config) -> str | None:
    """The sweep's own run, with a journal; its MLflow id, or None where MLflow is off or cannot be reached."""
    with Journal(sweep.out) as book:
        uri = base.track.uri and connection.absolute(base.track.uri)
        track = base.track.model_dump(mode="json") | {"uri": uri}
        # Overrides may hold addresses with passwords, and MLflow shows what is in `config`.
        about = json.loads(connection.public_text(sweep.model_dump_json()))
        book.append("start", run=sweep.out.name, config=about, track=track)
    if base.track.uri is None:
        return None
    try:
        return mlflow_uploader.sync(sweep.out, base.track.uri, base.track.experiment, base.track.parent_run)
    except UserError as error:
        print(f"warning: {error}; the sweep continues and tries again at its end", file=sys.stderr)
        return None


def is_started(sweep: Sweep) -> bool:
    """Whether the sweep's own journal has a start, and no end yet."""
    kinds = [entry["kind"] for entry, _ in journal.follow(sweep.out)]
    return bool(kinds) and kinds[-1] != "end"


def upload(checked: Checked, record: SearchRecord) -> None:
    """Ends the journals of the trials and updates MLflow: stopped trials had no time to send their end."""
    sweep, track = checked.sweep, checked.base.track
    for trial in record.trials:
        status = "interrupted" if trial.status in ("waiting", "running") else trial.status
        for generation in range(trial.generation + 1):
            for run in trial_runs(sweep, trial.trial, generation):
                journal.end_killed(run, status)
    with Journal(sweep.out) as book:
        book.append("end", status="finished" if record.is_complete(sweep.trials) else "interrupted")
    if track.uri is None:
        return
    try:
        mlflow_uploader.sync_tree(sweep.out, track.uri, track.experiment, track.parent_run)
    except UserError as error:
        print(f"warning: {error}; later: sentalign track sync {sweep.out}", file=sys.stderr)
