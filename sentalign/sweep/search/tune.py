"""Runs a search on a Ray cluster: Tune with the searcher and the scheduler of the sweep; the only caller of Tuner.

In: a checked sweep, its record, the plan of its trials. Out: the record, filled. On a cluster of several nodes, `out`
and the working folder must be on a disk that all nodes share.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from sentalign.sweep.record import SearchRecord
from sentalign.sweep.search import placement
from sentalign.sweep.search.points import random_points
from sentalign.sweep.spec.preflight import Checked
from sentalign.sweep.spec.settings import PAUSING, Sweep
from sentalign.sweep.trial.plan import RAY_FOLDER, Plan
from sharding import ray_cluster
from sharding.contract import UserError

ENVIRONMENT = {
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # After Ctrl-C Tune would first finish its bookkeeping; here it ends at once, with all trials.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
}
EXPERIMENT = "tune"


@contextmanager
def cluster(sweep: Sweep) -> Iterator[Any]:
    """A cluster on the loopback interface, or the one at RAY_ADDRESS; left again. Raises UserError."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    ray = ray_cluster.start()
    try:
        with _terminable():
            print(placement.in_words(sweep, placement.node_resources(ray)), file=sys.stderr)
            yield ray
    finally:
        ray.shutdown()


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM as an exception, in place of Ray's handler, which prints the C++ stack."""

    received: list[int] = []

    def end(number: int, frame: object) -> None:
        received.append(number)
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except SystemExit:
        if not received:
            raise
        raise SystemExit(128 + received[0]) from None  # ray makes another exit code of it
    finally:
        signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)


def try_first_step(plan: Plan, ray: Any) -> None:
    """Trains one step where a trial would run, and says what it took. Raises UserError: what every trial would meet."""
    from sentalign.sweep.search.trial_function import run_first_step

    sweep, nodes = plan.sweep, placement.node_resources(ray)
    takes = placement.tune_resources(sweep, nodes, pauses=False)
    options = {"num_cpus": takes["cpu"], "num_gpus": takes["gpu"], "max_retries": 0}
    found = ray.get(ray.remote(run_first_step).options(**options).remote(plan))
    if found.error:
        raise UserError(f"the first step of the base failed, as it would in every trial: {found.error}")
    print(placement.memory_in_words(sweep, nodes, found), file=sys.stderr)


def run(checked: Checked, record: SearchRecord, plan: Plan, ray: Any) -> None:
    """Runs all trials that are still to run, until they end, or the time or the failures are used up."""
    from ray import tune

    from sentalign.sweep.search.scheduler import RecordedScheduler
    from sentalign.sweep.search.stop import SearchEnd, TrialEvents
    from sentalign.sweep.search.trial_function import run_trial

    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # a lost node is a line of the record, no traceback
    shutil.rmtree(checked.sweep.out / RAY_FOLDER, ignore_errors=True)  # of an earlier start; the record holds all
    sweep, scheduler = checked.sweep, RecordedScheduler(checked, record)
    nodes, pauses = placement.node_resources(ray), checked.schedule.kind in PAUSING
    function = partial(run_trial, plan=plan, validate_every=checked.length.validate_every)
    searcher, space, count = _points(checked, record)
    if count == 0:
        return
    tune.Tuner(
        tune.with_resources(function, placement.tune_resources(sweep, nodes, pauses)),
        param_space=space,
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=scheduler,
            num_samples=count if searcher else 1,
            max_concurrent_trials=None if pauses else placement.started_at_once(sweep, nodes),
        ),
        run_config=tune.RunConfig(
            name=EXPERIMENT,
            storage_path=str(sweep.out / RAY_FOLDER),
            verbose=0,
            stop=SearchEnd(sweep, record, scheduler, time.monotonic()),
            failure_config=tune.FailureConfig(max_failures=sweep.retries),
            callbacks=[TrialEvents(record)],
        ),
    ).fit()


def _points(checked: Checked, record: SearchRecord) -> tuple[Any, dict[str, Any], int]:
    """Tune's searcher (None: its own generator), the search space, and how many trials are still to run."""
    from ray import tune

    from sentalign.sweep.search.scheduler import point_config

    trials = checked.sweep.trials
    if checked.sweep.searcher == "optuna":
        from sentalign.sweep.search.optuna_points import OptunaPoints

        ended = sum(not trial.is_open for trial in record.trials)
        return OptunaPoints(checked, record), {}, max(trials, len(record.trials)) - ended
    drawn = random_points(checked.sweep)
    for parameters in drawn[len(record.trials) :]:
        record.point(parameters)
    if len(drawn) < trials:
        record.exhausted()
    replay = checked.schedule.kind == "hyperband"
    waiting = [trial for trial in record.trials if trial.is_open]
    handed = record.trials if replay and waiting else waiting
    points = [point_config(trial, replay)["point"] for trial in handed]
    return None, {"point": tune.grid_search(points)}, len(points)
