"""Runs a sweep with Ray Tune and ASHA; the only importer of Ray Tune.

In: a `Sweep`. Out: `out/best.yaml`, `out/trials.json`, a run folder a trial, a parent run in MLflow with the trials as
children. The trials themselves are trial.py; a trial runs on one node, and on a cluster of several `out` and the
working folder must be on a disk that all nodes share.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from rich.progress import Progress

from sentalign import config
from sentalign.sweep.space import Sweep, configuration, draw
from sentalign.sweep.trial import LOG_NAME, TRIAL_NAME, Plan, execute
from sentalign.track import journal, mlflow_uploader
from sentalign.track.journal import Journal
from sharding import ray_cluster
from sharding.contract import UserError

ENVIRONMENT = {
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # After Ctrl-C Tune would first finish its bookkeeping; here it ends at once, with all trials.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
}


def search(sweep: Sweep, module: str, launcher: tuple[str, ...] | None = None) -> list[dict[str, Any]]:
    """Runs all trials and writes best.yaml and trials.json; returns the trials, best first.

    Every rank of a trial runs `module`; `launcher` replaces DeepSpeed's. Raises UserError: `out` is in use, the cluster
    is too small, or every trial failed.
    """
    if (sweep.out / "trials").exists():
        raise UserError(f"{sweep.out} already holds a sweep; choose another folder with out=FOLDER")
    base = configuration(sweep, {}, sweep.out)
    _start_cluster(sweep)
    failed: dict[int, str] | None = None
    try:
        parent_run = _start_parent(sweep, base)
        failed = _run_trials(sweep, Plan(sweep, os.getcwd(), module, parent_run, launcher))
    finally:
        _stop_cluster()
        trials = _collect(sweep, failed)
        (sweep.out / "trials.json").write_text(json.dumps(trials, indent=1) + "\n")
        _upload(sweep, base, trials)
    return _write_results(sweep, trials)


def _start_cluster(sweep: Sweep) -> None:
    """Starts a cluster on the loopback interface, or connects to the one at RAY_ADDRESS."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    ray = ray_cluster.start()
    try:
        check_fit(sweep, [node["Resources"] for node in ray.nodes() if node["Alive"]])
    except UserError:
        _stop_cluster()
        raise


def _stop_cluster() -> None:
    import ray

    ray.shutdown()


def check_fit(sweep: Sweep, nodes: list[dict[str, float]]) -> None:
    """Raises UserError where no node is large enough for a trial: Ray would wait forever."""
    if any(node.get("CPU", 0) >= sweep.cpus and node.get("GPU", 0) >= sweep.gpus for node in nodes):
        return
    shapes = ", ".join(sorted({f"{node.get('CPU', 0):g} CPU and {node.get('GPU', 0):g} GPU" for node in nodes}))
    raise UserError(
        f"a trial takes {sweep.cpus:g} CPU and {sweep.gpus} GPU on one node, and the nodes have {shapes}; "
        "lower cpus, or gpus and ranks"
    )


def _start_parent(sweep: Sweep, base: config.Config) -> str | None:
    """The sweep's own run, with a journal; its MLflow id, or None where MLflow is off or cannot be reached."""
    sweep.out.mkdir(parents=True, exist_ok=True)
    with Journal(sweep.out) as book:
        track = base.track.model_dump(mode="json")
        book.append("start", run=sweep.out.name, config=sweep.model_dump(mode="json"), track=track)
    if base.track.uri is None:
        return None
    try:
        return mlflow_uploader.sync(sweep.out, base.track.uri, base.track.experiment, base.track.parent_run)
    except UserError as error:
        print(f"warning: {error}; the sweep continues and tries again at its end", file=sys.stderr)
        return None


def _run_trials(sweep: Sweep, plan: Plan) -> dict[int, str]:
    """The errors of those that Tune counts as failed, by number."""
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler

    scheduler = ASHAScheduler(
        time_attr="pairs",
        max_t=sweep.asha.max_pairs,
        grace_period=sweep.asha.grace_pairs,
        reduction_factor=sweep.asha.reduction_factor,
    )
    trial = partial(_trial, plan=plan, parameters=draw(sweep))
    with Progress(disable=not sys.stderr.isatty()) as progress:
        tuner = tune.Tuner(
            tune.with_resources(trial, {"cpu": sweep.cpus, "gpu": sweep.gpus}),
            param_space={"number": tune.grid_search(list(range(sweep.trials)))},
            tune_config=tune.TuneConfig(
                metric=sweep.metric, mode=sweep.mode, scheduler=scheduler, max_concurrent_trials=sweep.concurrent
            ),
            run_config=tune.RunConfig(
                name="tune", storage_path=str(sweep.out / "ray"), verbose=0, callbacks=[_bar(progress, sweep.trials)]
            ),
        )
        grid = tuner.fit()
    results = [grid[n] for n in range(len(grid))]
    return {result.config["number"]: str(result.error) for result in results if result.config and result.error}


def _trial(drawn: dict[str, int], plan: Plan, parameters: list[dict[str, Any]]) -> None:
    from ray import tune

    execute(plan, drawn["number"], parameters[drawn["number"]], tune.report)


def _bar(progress: Progress, trials: int) -> Any:
    from ray import tune

    class TrialEnd(tune.Callback):
        """Advances the bar when a trial ends, successfully or not."""

        def __init__(self, advance: Callable[[], None]) -> None:
            self.advance = advance

        def __getstate__(self) -> dict[str, Any]:
            return {}  # Tune pickles its callbacks, and a progress bar cannot be pickled

        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            self.advance()

        on_trial_error = on_trial_complete

    return TrialEnd(partial(progress.advance, progress.add_task("trials", total=trials)))


def _collect(sweep: Sweep, failed: dict[int, str] | None) -> list[dict[str, Any]]:
    """All trials, best first, from their own records and journals; completes each journal with its end.

    `failed`: the errors of trials that Tune counts as failed; None where the search was interrupted.
    """
    trials = []
    for path in sorted((sweep.out / "trials").glob(f"*/{TRIAL_NAME}")):
        record = json.loads(path.read_text())
        if record["status"] == "running":
            record |= _end_of(record["trial"], failed)
        record |= _best_validation(sweep, path.parent)
        if record["status"] == "stopped" and record["pairs"] >= sweep.asha.max_pairs:
            record["status"] = "finished"  # Tune stops it at the report of the last validation
        trials.append(record)
        journal.end_killed(path.parent, record["status"])
    sign = 1 if sweep.mode == "min" else -1
    return sorted(trials, key=lambda trial: math.inf if trial["value"] is None else sign * trial["value"])


def _end_of(trial: int, failed: dict[int, str] | None) -> dict[str, str]:
    """Status and error of a trial whose process ended before it recorded them.

    The cluster ends right after the last decision of the scheduler, and a node may go at any time.
    """
    if failed is None:
        return {"status": "interrupted"}
    return {"status": "failed", "error": failed[trial]} if trial in failed else {"status": "stopped"}


def _best_validation(sweep: Sweep, run: Path) -> dict[str, Any]:
    """Best value of the metric, its pairs, and the pairs at the last validation."""
    seen = [(journal.metrics(e).get(sweep.metric), e["pairs"]) for e, _ in journal.follow(run) if journal.metrics(e)]
    values = [(value, pairs) for value, pairs in seen if value is not None and math.isfinite(value)]
    if not values:
        return {"value": None, "best_pairs": None, "pairs": seen[-1][1] if seen else 0}
    value, pairs = (min if sweep.mode == "min" else max)(values, key=lambda pair: pair[0])
    return {"value": value, "best_pairs": pairs, "pairs": seen[-1][1]}


def _upload(sweep: Sweep, base: config.Config, trials: list[dict[str, Any]]) -> None:
    """Updates MLflow: stopped trials had no time to send their end."""
    if not (sweep.out / journal.JOURNAL_NAME).is_file():
        return
    with Journal(sweep.out) as book:
        ended = all(trial["status"] != "interrupted" for trial in trials) and len(trials) == sweep.trials
        book.append("end", status="finished" if ended else "interrupted")
    if base.track.uri is None:
        return
    try:
        mlflow_uploader.sync_tree(sweep.out, base.track.uri, base.track.experiment, base.track.parent_run)
    except UserError as error:
        print(f"warning: {error}; later: sentalign track sync {sweep.out}", file=sys.stderr)


def _write_results(sweep: Sweep, trials: list[dict[str, Any]]) -> list[dict[str, Any]]:
    usable = [trial for trial in trials if trial["status"] != "failed" and trial["value"] is not None]
    if not usable:
        error = next((trial["error"] for trial in trials if trial["error"]), f"no {sweep.metric} was written")
        raise UserError(f"every trial failed, the first with: {error} (see {sweep.out}/trials/*/{LOG_NAME})")
    best = configuration(sweep, usable[0]["parameters"], sweep.out / "best")
    (sweep.out / "best.yaml").write_text(config.dump(best))
    return trials
