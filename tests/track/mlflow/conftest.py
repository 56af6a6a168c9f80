"""A store for all tests of this folder, and folders as a sweep leaves them."""

from __future__ import annotations

import json
import os

import pytest

from sentalign.track.journal import Journal


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """One SQLite store: making one takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"


@pytest.fixture
def client(store):
    import mlflow

    return mlflow.MlflowClient(tracking_uri=store)


def write_run(folder, start, end=None, validations=2, **config):
    """A journal that starts at `start`, with a validation every ten seconds."""
    with Journal(folder) as book:
        book.append("start", time=start, run=folder.name, config=config, versions={}, pairs=0)
        for number in range(1, validations + 1):
            book.append("validation", time=start + 10 * number, pairs=8 * number, loss=1.0 / number)
        if end:
            book.append("end", time=start + 10 * validations + 1, status=end)
    return folder


def write_trial(folder, status, error="", **more):
    folder.mkdir(parents=True, exist_ok=True)
    number = int(folder.name)
    record = {"trial": number, "parameters": {"loss.tau": (number + 1) / 10}, "status": status, "error": error, **more}
    (folder / "trial.json").write_text(json.dumps(record))


@pytest.fixture
def sweep(tmp_path):
    """Finished, stopped (killed), failed before its journal, from two seeds; two objectives."""
    folder = tmp_path / "sweep"
    with Journal(folder) as book:
        book.append("start", time=1000.0, run="sweep", config={"trials": 4, "base": "base.yaml"})
    trials = folder / "trials"
    write_run(trials / "000", 1010.0, "finished", loss={"tau": 0.1})
    write_trial(trials / "000", "finished")
    write_run(trials / "001", 1020.0, loss={"tau": 0.2})
    write_trial(trials / "001", "stopped")
    (trials / "002").mkdir()
    (trials / "002" / "config.yaml").write_text("{seed: 7, loss: {tau: 0.3, t1: 4.0}}\n")
    write_trial(trials / "002", "failed", "training ended with 1: ValueError: Mustermann, Erika")
    os.utime(trials / "002" / "trial.json", (1050.0, 1050.0))
    os.utime(trials / "002" / "config.yaml", (1040.0, 1040.0))
    write_trial(trials / "003", "finished")
    for seed in (0, 1):
        write_run(trials / "003" / f"seed-{seed}", 1100.0 + 5 * seed, "finished", seed=seed)
    content = [
        {"trial": 0, "status": "finished", "parameters": {"loss.tau": 0.1}, "values": {"ap": 0.5, "side": 0.9}},
        {"trial": 1, "status": "stopped", "parameters": {"loss.tau": 0.2}, "values": {"ap": 0.25, "side": None}},
        {"trial": 2, "status": "failed", "parameters": {"loss.tau": 0.3}, "values": {}},
        {"trial": 3, "status": "finished", "parameters": {"loss.tau": 0.4}, "values": {"ap": 0.75, "side": 1.0},
         "curve": [[8, {"ap": 0.5}], [16, {"ap": 0.75}]]},
    ]  # fmt: skip
    (folder / "trials.json").write_text(json.dumps({"trials": content, "best": 3}))
    (folder / "best.yaml").write_text("track: {uri: 'http://me:secret@host/'}\n")
    (folder / "index.html").write_text("<p>page</p>\n")
    return folder


@pytest.fixture
def nested(client):
    """The runs of an experiment by name, and the tree that their parent tags make."""

    def read(experiment):
        found = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
        names = {run.info.run_id: run.info.run_name for run in found}
        parents = {run.info.run_name: names.get(run.data.tags.get("mlflow.parentRunId", "")) for run in found}
        return {run.info.run_name: run for run in found}, parents

    return read
