"""What Ray runs for each trial: the trainings of a point, whose means go to Tune.

In: the plan of the sweep and what Tune passes (`scheduler.point_config`). Out: reports. A training that fails for good
is a report too, so that Ray neither prints nor retries it; Ray retries what it lost with a node.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import ray
from ray import tune

from sentalign.sweep.search.scheduler import FAILED, PAIRS, result_of
from sentalign.sweep.trial import first_step
from sentalign.sweep.trial import point as trial_point
from sentalign.sweep.trial.first_step import FirstStep
from sentalign.sweep.trial.plan import Plan
from sentalign.sweep.trial.snapshots import drop_old, take_over
from sentalign.sweep.trial.training import TrainingFailed
from sharding.contract import UserError

AT = "at.json"


def run_trial(config: dict[str, Any], plan: Plan, validate_every: int) -> None:
    """Trains a point, or what is left of it."""
    point = config["point"]
    number, generation = point["number"], point["generation"]
    after = 0

    def report(pairs: int, by_seed: dict[str, list[float]]) -> None:
        if plan.keeps_snapshots:
            drop_old(plan.sweep, number, generation, pairs)
        _report(result_of(pairs, by_seed, validate_every), plan.with_checkpoint)

    try:
        if checkpoint := tune.get_checkpoint():  # paused by Tune, or lost with a node
            after = _pairs_in(checkpoint) if plan.replays else 0
        for pairs, by_seed in point["replay"]:
            if pairs > after:
                after = pairs
                _report(result_of(pairs, by_seed, validate_every), plan.with_checkpoint)
        if generation:
            take_over(plan.sweep, number, generation, *point["source"])
        _name_cluster(plan)
        if point["is_open"]:
            trial_point.execute(plan, number, point["parameters"], report, generation, after)
    except (TrainingFailed, UserError, OSError) as error:
        tune.report({FAILED: " ".join(str(error).split()), PAIRS: 0})


def run_first_step(plan: Plan) -> FirstStep:
    """`first_step.run` as a task of Ray."""
    _name_cluster(plan)
    return first_step.run(plan)


def _name_cluster(plan: Plan) -> None:
    """A training over several nodes is a driver of its own on this cluster."""
    if plan.sweep.nodes > 1:
        os.environ.setdefault("RAY_ADDRESS", ray.get_runtime_context().gcs_address)


def _report(result: dict[str, Any], with_checkpoint: bool) -> None:
    """Tune pauses a trial only with a checkpoint; the real one is in the run folder."""
    if not with_checkpoint:
        tune.report(result)
        return
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / AT).write_text(json.dumps(result[PAIRS]))
        tune.report(result, checkpoint=tune.Checkpoint.from_directory(folder))


def _pairs_in(checkpoint: Any) -> int:
    with checkpoint.as_directory() as folder:
        return int(json.loads((Path(folder) / AT).read_text()))
