"""A whole sweep: checks, record, trials, results; the same command continues one that was interrupted.

In: a `Sweep`. Out: `out/best.yaml`, `out/trials.json`, a page, a folder a trial, a parent run in MLflow.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from sentalign import config
from sentalign.sweep import results, tracking
from sentalign.sweep.record import SearchRecord, TrialState
from sentalign.sweep.search import multinode
from sentalign.sweep.spec.preflight import Checked
from sentalign.sweep.spec.settings import PAUSING
from sentalign.sweep.trial.plan import Plan

Listener = Callable[[str, TrialState, SearchRecord], None]


def search(
    checked: Checked,
    module: str,
    launcher: tuple[str, ...] | None = None,
    listener: Listener = lambda event, trial, record: None,
) -> dict[str, Any]:
    """Runs all trials that are still to run, and writes the results; returns the content of trials.json.

    Every rank of a trial runs `module`; `launcher` replaces DeepSpeed's. Raises UserError: `out` holds another sweep or
    is in use, or the cluster is too small.
    """
    sweep = checked.sweep
    record = SearchRecord(sweep.out)
    record.listener = lambda event, trial: listener(event, trial, record)
    try:
        record.start(sweep.model_dump(mode="json", exclude={"overrides"}), config.decisive(checked.base, measured=True))
        try:
            if not record.is_complete(sweep.trials):
                _run(checked, record, module, launcher)
        finally:
            found = results.write(checked, record)  # before the upload, which sends them
            if tracking.is_started(sweep):  # by this start, or by one that was killed before its upload
                tracking.upload(checked, record)
        return found
    finally:
        record.close()


def _run(checked: Checked, record: SearchRecord, module: str, launcher: tuple[str, ...] | None) -> None:
    from sentalign.sweep.search import tune

    with tune.cluster(checked.sweep) as ray:
        if checked.sweep.first_step and not any(trial.pairs for trial in record.trials):
            tune.try_first_step(plan_of(checked, module, None, launcher), ray)
        parent_run = tracking.start_parent(checked.sweep, checked.base)
        tune.run(checked, record, plan_of(checked, module, parent_run, launcher), ray)


def plan_of(checked: Checked, module: str, parent_run: str | None, launcher: tuple[str, ...] | None) -> Plan:
    """What the trials of a sweep share."""
    sweep = checked.sweep
    if sweep.nodes > 1:
        launcher = multinode.command(sweep, launcher or (sys.executable, "-m", module))
    return Plan(
        sweep,
        os.getcwd(),
        module,
        tuple(checked.objective.needed),
        checked.schedule.pauses,
        with_checkpoint=checked.schedule.kind in PAUSING,
        replays=checked.schedule.kind == "hyperband",
        keeps_snapshots=checked.schedule.kind == "pbt",
        parent_run=parent_run,
        launcher=launcher,
    )
