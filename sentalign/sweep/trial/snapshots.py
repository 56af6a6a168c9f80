"""Checkpoints of validations that another trial may take over with other settings (population based training).

In: the run folders of a trial. Out: hard links to its checkpoints, and run folders that continue from one of them.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from sentalign.checkpoint import fork
from sentalign.sweep.spec.settings import Sweep
from sentalign.sweep.trial.plan import trial_runs

FOLDER, KEPT = "snapshots", 3  # reported validations that another trial may still take over


def keep(run: Path, pairs: int) -> None:
    """Keeps a checkpoint beyond what the training itself keeps: until it is reported, which waits for other starts.

    To be called as soon as it is written; one that is gone is left out.
    """
    try:
        fork.keep(run, pairs, run / FOLDER)
    except OSError:
        if fork.checkpoint(run, pairs).is_dir():
            raise


def drop_old(sweep: Sweep, number: int, generation: int, pairs: int) -> None:
    """Removes what a trial that has reported so many pairs no longer gives to others."""
    for run in trial_runs(sweep, number, generation):
        reported = [path for path in sorted((run / FOLDER).glob("pairs-*")) if path.name <= fork.name_of(pairs)]
        for old in reported[:-KEPT]:
            shutil.rmtree(old, ignore_errors=True)


def is_kept(sweep: Sweep, number: int, generation: int, pairs: int) -> bool:
    """Whether the checkpoints of all starts are there."""
    runs = trial_runs(sweep, number, generation)
    return all((run / FOLDER / fork.name_of(pairs)).is_dir() for run in runs)


def take_over(sweep: Sweep, number: int, generation: int, source: int, source_generation: int, pairs: int) -> None:
    """Makes the run folders of a generation from another trial's checkpoint; those that exist are left as they are."""
    targets = trial_runs(sweep, number, generation)
    for run, target in zip(trial_runs(sweep, source, source_generation), targets, strict=True):
        if not target.exists():
            fork.fork(run / FOLDER / fork.name_of(pairs), run, target)
            fork.keep(target, pairs, target / FOLDER)  # until it has validated, others take over this one
