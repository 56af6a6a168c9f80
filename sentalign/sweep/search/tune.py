"""Runs a search on a Ray cluster: Tune with the searcher and the scheduler of the sweep; the only caller of Tuner.

In: a checked sweep, its record, the plan of its trials. Out: the record, filled. A trial runs on one node; on a cluster
of several, `out` and the working folder must be on a disk that all nodes share.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from sentalign.sweep.record import SearchRecord
from sentalign.sweep.search.points import random_points
from sentalign.sweep.spec.preflight import Checked
from sentalign.sweep.spec.settings import Sweep
from sentalign.sweep.trial.plan import Plan
from sharding import ray_cluster
from sharding.contract import UserError

ENVIRONMENT = {
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # After Ctrl-C Tune would first finish its bookkeeping; here it ends at once, with all trials.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
}
PAUSING = ("hyperband", "pbt")  # schedulers that pause trials, and hold more than run at the same time
EXPERIMENT = "tune"


@contextmanager
def cluster(sweep: Sweep) -> Iterator[Any]:
    """A cluster on the loopback interface, or the one at RAY_ADDRESS; left again. Raises UserError."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    ray = ray_cluster.start()
    try:
        with _terminable():
            check_fit(sweep, node_resources(ray))
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


def node_resources(ray: Any) -> list[dict[str, float]]:
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def resources(sweep: Sweep) -> dict[str, float]:
    """What a trial takes: all its trainings that run at the same time, on one node."""
    return {"cpu": sweep.cpus * sweep.parallel_seeds, "gpu": float(sweep.gpus * sweep.parallel_seeds)}


def check_fit(sweep: Sweep, nodes: list[dict[str, float]]) -> None:
    """Raises UserError where no node is large enough for a trial: Ray would wait forever."""
    need = resources(sweep)
    if any(node.get("CPU", 0) >= need["cpu"] and node.get("GPU", 0) >= need["gpu"] for node in nodes):
        return
    shapes = ", ".join(sorted({f"{node.get('CPU', 0):g} CPU and {node.get('GPU', 0):g} GPU" for node in nodes}))
    raise UserError(
        f"a trial takes {need['cpu']:g} CPU and {need['gpu']:g} GPU on one node, and the nodes have {shapes}; "
        "lower cpus, or gpus and ranks, or seeds_at_once"
    )


def run(checked: Checked, record: SearchRecord, plan: Plan, ray: Any) -> None:
    """Runs all trials that are still to run, until they end, or the time or the failures are used up."""
    from ray import tune

    from sentalign.sweep.search.scheduler import RecordedScheduler
    from sentalign.sweep.search.stop import SearchEnd, TrialEvents
    from sentalign.sweep.search.trial_function import run_trial

    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # a lost node is a line of the record, no traceback
    shutil.rmtree(checked.sweep.out / "ray", ignore_errors=True)  # of an earlier start; the record holds all
    sweep, scheduler = checked.sweep, RecordedScheduler(checked, record)
    function = partial(run_trial, plan=plan, validate_every=checked.length.validate_every)
    searcher, space, count = _points(checked, record)
    if count == 0:
        return
    tune.Tuner(
        tune.with_resources(function, _resources(checked, node_resources(ray))),
        param_space=space,
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=scheduler,
            num_samples=count if searcher else 1,
            max_concurrent_trials=None if checked.schedule.kind in PAUSING else sweep.concurrent,
        ),
        run_config=tune.RunConfig(
            name=EXPERIMENT,
            storage_path=str(sweep.out / "ray"),
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


def _resources(checked: Checked, nodes: list[dict[str, float]]) -> dict[str, float]:
    """Where more trials wait than may run, their number is bounded by what each takes of a node."""
    need, at_once = resources(checked.sweep), checked.sweep.concurrent
    if checked.schedule.kind in PAUSING:
        largest = max(node.get("CPU", 0) for node in nodes)
        need["cpu"] = max(need["cpu"], largest // -(-at_once // len(nodes)))
    return need
