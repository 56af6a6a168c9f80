"""What `sentalign evaluate` measured is in the MLflow run of the run that it measured."""

from __future__ import annotations

import json

import pytest

from sentalign import cli
from sentalign.evaluate.results import run_record
from sentalign.track import mlflow_uploader
from sentalign.track.journal import Journal
from sentalign.track.mlflow import results
from tests.track.mlflow.conftest import write_run

CONTENT = {
    "set": "phantoms",
    "seen": {"pointing": 0.9, "pointing_ci": [0.8, 1.0], "cases": 12},
    "withheld": None,
    "protocols": {"clean": {"ap": {"pooled": 0.5, "pooled_ci": [0.4, 0.6],
                                   "categories": {"Nodule": {"mean": 0.25, "mean_ci": [0.0, 0.5]}}}}},
    "bootstrap": {"replicates": 30},
}  # fmt: skip
AREAS = {"labels": {"Edema": {"local_pair": {"auc": 0.75, "ci": [0.5, 1.0]}}}, "mean": {"auc": None, "ci": None}}


@pytest.fixture
def run(tmp_path):
    made = write_run(tmp_path / "run", 1000.0, "finished")
    with Journal(made) as book:
        book.append("best", time=1015.0, pairs=8, value=1.0)
    return made


def table(client, run_id, path):
    import mlflow

    return mlflow.artifacts.load_dict(f"{client.get_run(run_id).info.artifact_uri}/{path}")


def test_estimates_are_the_values_with_an_interval():
    assert [tuple(one) for one in results.estimates(CONTENT)] == [
        (("seen", "pointing"), 0.9, 0.8, 1.0),
        (("protocols", "clean", "ap", "pooled"), 0.5, 0.4, 0.6),
        (("protocols", "clean", "ap", "categories", "Nodule", "mean"), 0.25, 0.0, 0.5),
    ]
    assert [one.where for one in results.estimates(AREAS)] == [("labels", "Edema", "local_pair", "auc")]


def test_a_result_becomes_metrics_tables_and_a_file(run, store, client):
    run_record.write(run, "MS-CXR", CONTENT)
    run_record.write(run, "classification labels.csv", AREAS)
    run_id = mlflow_uploader.sync(run, store, "results")
    sent = client.get_run(run_id)
    assert {k: v for k, v in sent.data.metrics.items() if k.startswith("evaluation/")} == {
        "evaluation/MS-CXR/seen/pointing": 0.9
    }
    (metric,) = client.get_metric_history(run_id, "evaluation/MS-CXR/seen/pointing")
    assert metric.step == 8, "the pairs of the weights that were measured"
    (name,) = (path.stem for path in (run / "results").glob("ms-cxr-*.json"))
    assert table(client, run_id, f"evaluation/{name}/result.json") == CONTENT
    shown = table(client, run_id, f"evaluation/{name}/estimates.json")
    assert shown["columns"] == ["part", "metric", "value", "low", "high"]
    assert shown["data"][0] == ["seen", "pointing", 0.9, 0.8, 1.0]
    shown = table(client, run_id, f"evaluation/{name}/categories.json")
    assert shown["data"] == [["protocols / clean / ap / categories / Nodule", "mean", 0.25, 0.0, 0.5]]
    assert sent.info.status == "FINISHED"


def test_the_same_result_is_kept_and_sent_once(run, store, client):
    run_record.write(run, "MS-CXR", CONTENT)
    run_record.write(run, "MS-CXR", CONTENT)
    assert len(list((run / "results").iterdir())) == 1
    run_id = mlflow_uploader.sync(run, store, "results")
    state = json.loads((run / "mlflow_upload.json").read_text())
    del state[store]["results"]  # a crash between sending and remembering
    (run / "mlflow_upload.json").write_text(json.dumps(state))
    mlflow_uploader.sync(run, store, "results")
    (name,) = (path.stem for path in (run / "results").iterdir())
    assert len(table(client, run_id, f"evaluation/{name}/estimates.json")["data"]) == 2
    assert len(client.get_metric_history(run_id, "evaluation/MS-CXR/seen/pointing")) == 1


def test_an_export_keeps_no_result_and_a_folder_that_cannot_be_written_is_a_warning(tmp_path, run, capsys):
    (tmp_path / "export").mkdir()
    run_record.write(tmp_path / "export", "MS-CXR", CONTENT)
    assert not list((tmp_path / "export").iterdir())
    (run / "results").write_text("in the way")
    run_record.write(run, "MS-CXR", CONTENT)
    assert "does not keep this result" in capsys.readouterr().err


def test_a_record_that_is_half_written_waits(run, store):
    (run / "results").mkdir()
    (run / "results" / "half.json").write_text('{"name":')
    mlflow_uploader.sync(run, store, "results")
    assert "half" not in (run / "mlflow_upload.json").read_text()


def test_an_evaluation_sends_its_result_and_prints_only_its_own(run, store, client, capfd, monkeypatch):
    run_id = mlflow_uploader.sync(run, store, "evaluated")

    def evaluate(args):
        run_record.write(args.run, "MS-CXR", CONTENT)
        print(json.dumps({"own": 1}))

    monkeypatch.setattr("sentalign.evaluate.cli.ms_cxr", evaluate)
    words = ["evaluate", "ms-cxr", "--data", "x", "--run", str(run), "--out", "x", "--json"]
    assert cli.main(words) == 0
    assert json.loads(capfd.readouterr().out) == {"own": 1}
    assert client.get_run(run_id).data.metrics["evaluation/MS-CXR/seen/pointing"] == 0.9


def test_an_evaluation_of_a_run_whose_server_is_down_succeeds_with_a_warning(run, capfd, monkeypatch):
    (run / "mlflow_upload.json").write_text(json.dumps({"http://127.0.0.1:9": {"run_id": "x", "experiment": "e"}}))
    monkeypatch.setattr("sentalign.evaluate.cli.ms_cxr", lambda args: None)
    assert cli.main(["evaluate", "ms-cxr", "--data", "x", "--run", str(run), "--out", "x"]) == 0
    said = capfd.readouterr().err
    assert "warning: MLflow has no results of this evaluation (http://127.0.0.1:9 did not accept the run" in said
    assert f"sentalign track sync {run}" in said
