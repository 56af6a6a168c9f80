"""System metrics of all hosts are in one run, each under its number, and nothing is sent twice."""

from __future__ import annotations

import json

from sentalign.track import mlflow_uploader
from tests.track.mlflow.conftest import write_run


def sample(run, node, *rows):
    file = run / "system" / f"node-{node}.jsonl"
    file.parent.mkdir(exist_ok=True)
    with open(file, "a") as out:
        for at, value in rows:
            out.write(json.dumps({"kind": "system", "time": at, "cpu_utilization_percentage": value}) + "\n")


def curve(client, run_id, node):
    history = client.get_metric_history(run_id, f"system/node-{node}/cpu_utilization_percentage")
    return sorted((m.step, m.timestamp, m.value) for m in history)


def test_every_host_is_under_one_run(tmp_path, store, client):
    run = write_run(tmp_path / "run", 1000.0)
    sample(run, 0, (1000.0, 10.0), (1010.0, 20.0))
    sample(run, 11, (1003.0, 30.0))
    run_id = mlflow_uploader.sync(run, store, "system")
    sample(run, 0, (1020.25, 40.0))
    with open(run / "system" / "node-0.jsonl", "a") as out:
        out.write('{"kind":"sys')  # being written
    assert mlflow_uploader.sync(run, store, "system") == run_id
    assert curve(client, run_id, 0) == [(0, 1_000_000, 10.0), (10, 1_010_000, 20.0), (20, 1_020_250, 40.0)]
    assert curve(client, run_id, 11) == [(0, 1_003_000, 30.0)]
