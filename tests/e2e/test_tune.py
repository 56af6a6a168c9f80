"""A search as a user types it: every trial a real DeepSpeed run on phantoms, children in MLflow, best.yaml trains."""

from __future__ import annotations

import json

import pytest

from sentalign import config
from sentalign.sweep.spec.comparable_metrics import absence
from tests.e2e.commands import ROOT, good

pytestmark = pytest.mark.slow


def test_a_search_on_phantoms(tmp_path):
    import mlflow

    good("phantom", "phantoms", "--studies", 90, "--seed", 3, "--size", 128, "--test-studies", 12,
         "--validation-studies", 20, folder=tmp_path)  # fmt: skip
    good("shard", "build", "mimic-cxr", "phantoms", "--out", "shards", "--size", 64, folder=tmp_path)
    good("tune", ROOT / "configs/sweep.yaml", "trials=4", "concurrent=2", "ranks=1", "out=sweep",
         "scheduler.grace_pairs=48", "scheduler.reduction_factor=2", "train.validate_every_pairs=48",
         "data.shards=shards", "data.batch=16", "data.image_size=64", "train.epochs=3",
         "track.uri=sqlite:///mlflow.db", folder=tmp_path)  # fmt: skip
    trials = json.loads((tmp_path / "sweep/trials.json").read_text())
    assert trials["best"] is not None
    assert trials["objectives"] == [{"metric": "validation/retrieval_recall", "mode": "max"}]
    trials = trials["trials"]
    assert len(trials) == 4
    assert all(trial["status"] in {"finished", "stopped"} for trial in trials)
    best = config.load(tmp_path / "sweep/best.yaml")
    boxed = best.model_copy(update={"validation": best.validation.model_copy(update={"boxes": "phantoms"})})
    assert not [name for trial in trials for name in trial["values"] if absence(name, boxed)], "all are known"
    assert best.data.batch == 16
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.get_experiment_by_name("sentalign-sweep")
    runs = client.search_runs([experiment.experiment_id])
    children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    assert len(children) == 4
    assert len(runs) == 5
