"""The trainings of one point, from several starts, and the means that they report while they run.

In: a `Plan`, the parameters of a point, a `report` that may raise to end the trial. Out: run folders. All processes of
the trainings are dead when `execute` returns or raises.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from sentalign.launch import local_ranks
from sentalign.sweep.spec.domain import Parameters
from sentalign.sweep.trial import snapshots
from sentalign.sweep.trial.plan import Plan, seeds_of, train_command, trial_runs
from sentalign.sweep.trial.training import Training, TrainingFailed

POLL_SECONDS = 0.5
BySeed = dict[str, list[float]]
Report = Callable[[int, BySeed], None]  # pairs, and the value of each metric from each start


def execute(
    plan: Plan, number: int, parameters: Parameters, report: Report, generation: int = 0, after: int = 0
) -> None:
    """Trains a point, or what is left of it; reports each validation that all starts have, of more than `after` pairs.

    Starts that run one after another wait for each other at `plan.pauses`, so that early stopping sees means.
    Raises TrainingFailed, and whatever `report` raises.
    """
    runs, at_once = trial_runs(plan.sweep, number, generation), plan.sweep.parallel_seeds
    seeds = seeds_of(plan, parameters)
    trainings = [training_of(plan, run, parameters, seeds[k], k % at_once) for k, run in enumerate(runs)]
    means = _Reports(plan, trainings, report, after)
    groups = [trainings[first : first + at_once] for first in range(0, len(trainings), at_once)]
    try:
        for pause in [*(plan.pauses if len(groups) > 1 else ()), math.inf]:
            for group in groups:
                _run_until(pause, group, means)
                if pause < math.inf:
                    for training in group:
                        training.stop()
        means.check_any()
    finally:
        for training in trainings:
            training.close()


def _run_until(pause: float, group: Sequence[Training], means: _Reports) -> None:
    """Runs a group until each training has reported at or after so many pairs, or has ended."""
    waiting = [training for training in group if means.pairs_of(training) < pause]
    for training in waiting:
        training.start()
    while True:
        for training in waiting:
            training.poll()
        means.send()
        if all(training.is_finished or means.pairs_of(training) >= pause for training in waiting):
            return
        time.sleep(POLL_SECONDS)


class _Reports:
    """Sends the validations that all starts have, in order."""

    def __init__(self, plan: Plan, trainings: Sequence[Training], report: Report, after: int) -> None:
        self._plan, self._trainings, self._report, self._sent = plan, trainings, report, after

    def pairs_of(self, training: Training) -> int:
        """The pairs of a training's last validation that can be reported."""
        return max(self._ready(training), default=0)

    def send(self) -> None:
        ready = set.intersection(*(self._ready(training) for training in self._trainings))
        for pairs in sorted(pairs for pairs in ready if pairs > self._sent):
            self._sent = pairs
            rows = [training.values[pairs] for training in self._trainings]
            names = [name for name in rows[0] if all(name in row for row in rows)]
            self._report(pairs, {name: [row[name] for row in rows] for name in names})

    def check_any(self) -> None:
        """Raises TrainingFailed where the trainings never wrote the metrics that are compared."""
        self.send()
        if not self._sent:
            written = sorted({name for training in self._trainings for row in training.values.values() for name in row})
            missing = [name for name in self._plan.needed if name not in written] or list(self._plan.needed)
            found = ", ".join(name for name in written if "word_recall" not in name) or "no metric"
            raise TrainingFailed(f"error: no validation wrote {missing[0]}; choose among: {found}")

    def _ready(self, training: Training) -> set[int]:
        saved = training.saved if self._plan.with_checkpoint and not training.is_finished else math.inf
        return {
            pairs
            for pairs, row in training.values.items()
            if pairs <= saved and all(name in row for name in self._plan.needed)
        }


def training_of(plan: Plan, run: Path, parameters: Parameters, seed: int | None, place: int) -> Training:
    """One training that has not started. `place`: the number of the training among those that run at the same time."""
    count = plan.sweep.gpus
    gpus = local_ranks.visible_gpus(os.environ, count * plan.sweep.parallel_seeds)  # Ray chose them
    gpus = gpus[place * count : (place + 1) * count]
    command = partial(train_command, plan, run, parameters, seed, gpus)
    environment = local_ranks.environment(os.environ, plan.sweep.ranks * plan.sweep.parallel_seeds, gpus)
    keep = partial(snapshots.keep, run) if plan.keeps_snapshots else None
    return Training(run, command, plan.folder, environment, plan.sweep.retries, keep)
