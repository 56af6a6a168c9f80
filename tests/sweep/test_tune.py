"""A whole search on a real local Ray cluster, with a stand-in for training."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import mlflow
import pytest

from sentalign import config
from sentalign.sweep import space, tune
from sentalign.track.journal import Journal
from sharding.contract import UserError

Write = Callable[..., Path]
Running = Callable[[Path], list[str]]


def test_a_trial_larger_than_every_node_is_refused(sweep_file: Write) -> None:
    sweep = space.load(sweep_file(cpus=8))
    with pytest.raises(UserError, match="takes 8 CPU and 0 GPU on one node, and the nodes have 2 CPU and 0 GPU"):
        tune.check_fit(sweep, [{"CPU": 2.0}, {"CPU": 2.0}])
    tune.check_fit(sweep, [{"CPU": 2.0}, {"CPU": 8.0, "GPU": 1.0}])
    sweep = space.load(sweep_file(gpus=2, ranks=2))
    with pytest.raises(UserError, match="lower cpus, or gpus and ranks"):
        tune.check_fit(sweep, [{"CPU": 64.0, "GPU": 1.0}] * 2)


def test_a_folder_in_use_is_refused(sweep_file: Write, tmp_path: Path) -> None:
    (tmp_path / "sweep" / "trials").mkdir(parents=True)
    with pytest.raises(UserError, match="already holds a sweep"):
        tune.search(space.load(sweep_file()), "some.module")


@pytest.mark.parametrize(
    ("failed", "status", "error"),
    [(None, "interrupted", ""), ({}, "stopped", ""), ({0: "a node died"}, "failed", "a node died")],
)
def test_a_trial_that_was_killed_before_it_recorded_its_end(sweep_file: Write, failed, status, error) -> None:
    sweep = space.load(sweep_file())
    run = sweep.out / "trials" / "000"
    run.mkdir(parents=True)
    (run / "trial.json").write_text(json.dumps({"trial": 0, "parameters": {}, "status": "running", "error": ""}))
    with Journal(run) as journal:
        journal.append("start", run="000", config={}, versions={}, pairs=0)
    (trial,) = tune._collect(sweep, failed)
    assert (trial["status"], trial["error"]) == (status, error)


@pytest.mark.slow
def test_a_search(sweep_file: Write, launcher: tuple[str, ...], running: Running, tmp_path: Path) -> None:
    sweep = space.load(sweep_file(concurrent=2, seed=2), ["train.epochs=10", "asha.max_pairs=80"])
    trials = tune.search(sweep, "some.module", launcher)
    assert sorted(trial["trial"] for trial in trials) == [0, 1, 2, 3]
    assert "stopped" in {trial["status"] for trial in trials}
    assert any(trial["status"] == "finished" and trial["pairs"] == 80 for trial in trials)
    best = config.load(sweep.out / "best.yaml")
    assert best.optimizer.lr == trials[0]["parameters"]["optimizer.lr"]
    assert trials[0]["value"] == min(trial["value"] for trial in trials)
    assert json.loads((sweep.out / "trials.json").read_text()) == trials
    assert {trial["trial"]: trial["parameters"] for trial in trials} == dict(enumerate(space.draw(sweep)))
    assert not running(sweep.out)
    check_mlflow(f"sqlite:///{tmp_path}/mlflow.db", trials)


def check_mlflow(uri: str, trials: list[dict]) -> None:
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("sweep")
    assert experiment
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    parent = runs.pop("sweep")
    assert parent.info.status == "FINISHED"
    assert sorted(runs) == ["000", "001", "002", "003"]
    for trial in trials:
        run = runs[f"{trial['trial']:03d}"]
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.info.status == ("FINISHED" if trial["status"] == "finished" else "KILLED")
        assert len(client.get_metric_history(run.info.run_id, "validation/loss")) * 8 == trial["pairs"]


@pytest.mark.slow
def test_a_search_that_is_interrupted_leaves_nothing_running(
    sweep_file: Write, launcher: tuple[str, ...], running: Running, tmp_path: Path
) -> None:
    file = sweep_file(concurrent=2, overrides={"train.epochs": 1000})
    program = (
        "import sys; from sentalign.sweep import space, tune\n"
        "tune.search(space.load(sys.argv[1]), 'some.module', tuple(sys.argv[2:]))"
    )
    search = subprocess.Popen(
        [sys.executable, "-c", program, str(file), *launcher],
        start_new_session=True,
        # A shell starts its background jobs with SIGINT ignored, and their children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 90
    journals = partial((tmp_path / "sweep").glob, "trials/*/journal.jsonl")
    while (len(running(tmp_path / "sweep")) < 3 or not list(journals())) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert len(running(tmp_path / "sweep")) >= 3
    os.killpg(search.pid, signal.SIGINT)  # as a terminal does: to the whole foreground group
    search.wait(60)
    deadline = time.monotonic() + 5
    while running(tmp_path / "sweep") and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not running(tmp_path / "sweep")
    ends = [path.read_text().splitlines()[-1] for path in (tmp_path / "sweep").glob("trials/*/journal.jsonl")]
    assert ends
    assert all('"status":"interrupted"' in line or '"status":"stopped"' in line for line in ends)
