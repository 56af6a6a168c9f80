"""Checkpoints of validations that another trial may take over with other settings (population based training).

In: the run folders of a trial. Out: hard links to its checkpoints, and run folders that continue from one of them.
"""

from __future__ import annotations

import shutil

from sentalign.checkpoint import fork
from sentalign.sweep.spec.settings import Sweep
from sentalign.sweep.trial.plan import trial_runs

FOLDER, KEPT = "snapshots", 3  # validations that another trial may still take over


def keep_snapshot(sweep: Sweep, number: int, generation: int, pairs: int) -> None:
    """Keeps the checkpoints of a validation beyond what the trainings themselves keep; nothing for other schedulers."""
    if sweep.scheduler.kind != "pbt":
        return
    for run in trial_runs(sweep, number, generation):
        fork.keep(run, pairs, run / FOLDER)
        for old in sorted((run / FOLDER).glob("pairs-*"))[:-KEPT]:
            shutil.rmtree(old, ignore_errors=True)


def take_over(sweep: Sweep, number: int, generation: int, source: int, source_generation: int, pairs: int) -> None:
    """Makes the run folders of a generation from another trial's checkpoint; those that exist are left as they are."""
    targets = trial_runs(sweep, number, generation)
    for run, target in zip(trial_runs(sweep, source, source_generation), targets, strict=True):
        if not target.exists():
            fork.fork(run / FOLDER / fork.name_of(pairs), run, target)
            fork.keep(target, pairs, target / FOLDER)  # until it has validated, others take over this one
