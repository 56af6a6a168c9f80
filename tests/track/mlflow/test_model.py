"""The model of a finished run loads through MLflow, gives the maps of `localize`, and is uploaded or referred to."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sentalign.localize import pyfunc_model
from sentalign.localize.maps.heatmap import clean_map
from sentalign.localize.predict import Predictor
from sentalign.model import dual, export
from sentalign.track import mlflow_uploader
from sentalign.track.mlflow import model
from sharding import pixels
from sharding.contract import UserError
from tests.localize.conftest import save_run
from tests.track.mlflow.conftest import write_run
from tests.track.test_samples import noise

SENTENCE = "Right pleural effusion."


@pytest.fixture
def run(tmp_path):
    made = save_run(tmp_path / "run", {"image_size": 32})
    with open(made / "config.yaml", "a") as file:
        file.write("track: {uri: 'http://me:secret@host/', experiment: e}\n")
    return write_run(made, 1000.0, "finished")


def expected(run, file):
    """The map and the score by the path of `localize`."""
    predictor, picture = Predictor.load(run), pixels.read(file)
    features = predictor.image(picture.grey_HW)
    (one,) = predictor.maps(features, [SENTENCE])
    (found,) = predictor.localize(picture, [SENTENCE])
    return clean_map(one.grid_HW, picture.geometry.then(features.cells)), found.score


def test_the_files_are_those_of_an_export():
    assert {model.WEIGHTS, *model.FILES} == set(export.FILES)
    assert (model.WEIGHTS, model.REFERENCE) == (dual.WEIGHTS, pyfunc_model.REFERENCE)
    assert pyfunc_model.__name__ == model.LOADER


def test_a_finished_run_has_a_model_that_loads(run, store, client):
    import mlflow

    run_id = mlflow_uploader.sync(run, store, "model")
    sent = client.get_run(run_id)
    (output,) = sent.outputs.model_outputs
    assert sent.data.tags["model.uri"] == f"models:/{output.model_id}"
    mlflow.set_tracking_uri(store)
    loaded = mlflow.pyfunc.load_model(sent.data.tags["model.uri"])
    signature = loaded.metadata.signature
    assert [(c.name, c.type.name) for c in signature.inputs] == [("picture", "binary"), ("sentence", "string")]
    assert signature.outputs.input_names() == ["map", "score"]
    weights = hashlib.sha256((run / dual.WEIGHTS).read_bytes()).hexdigest()
    assert loaded.metadata.metadata == {"weights_sha256": weights}
    example = loaded.input_example
    shown = loaded.predict(example)
    assert np.shape(shown["map"][0]) == pixels.read(example["picture"][0]).grey_HW.shape
    file = noise(3)
    out = loaded.predict(pd.DataFrame({"picture": [file, file], "sentence": [SENTENCE, "Small nodule."]}))
    grid, score = expected(run, file)
    np.testing.assert_allclose(out["map"][0], grid)
    assert out["score"][0] == pytest.approx(score)
    assert out["score"][1] != out["score"][0]
    local = mlflow.artifacts.download_artifacts(sent.data.tags["model.uri"], tracking_uri=store)
    files = [path for path in Path(local).rglob("*") if path.is_file()]
    assert not [path for path in files if path.suffix in (".pkl", ".pickle", ".py")], "no code"
    assert not [path for path in files if b"secret" in path.read_bytes()]


def test_the_same_weights_are_sent_once(run, store, client):
    run_id = mlflow_uploader.sync(run, store, "once")
    mlflow_uploader.sync(run, store, "once")
    assert len(client.get_run(run_id).outputs.model_outputs) == 1


@pytest.mark.parametrize("status", [None, "stopped", "failed"])
def test_only_a_finished_run_has_a_model(tmp_path, status):
    made = save_run(tmp_path / "run", {"image_size": 32})
    assert not model.is_due(write_run(made, 1000.0, status))


def test_large_weights_stay_where_they_are(run, tmp_path, monkeypatch):
    sha256 = hashlib.sha256((run / dual.WEIGHTS).read_bytes()).hexdigest()
    model.save(run, tmp_path / "model", sha256, uploaded_bytes=1000)
    data = tmp_path / "model" / "data" / "data"
    assert not (data / dual.WEIGHTS).exists()
    assert json.loads((data / "weights.json").read_text()) == {
        "location": str(run / dual.WEIGHTS),
        "sha256": sha256,
        "bytes": (run / dual.WEIGHTS).stat().st_size,
    }
    file = noise(1)
    table = pd.DataFrame({"picture": [file], "sentence": [SENTENCE]})
    np.testing.assert_allclose(pyfunc_model._load_pyfunc(str(data)).predict(table)["map"][0], expected(run, file)[0])
    moved = (run / dual.WEIGHTS).rename(tmp_path / "elsewhere.safetensors")
    with pytest.raises(UserError, match=f"are not at .*; set SENTALIGN_WEIGHTS to .* sha256 {sha256}"):
        pyfunc_model._load_pyfunc(str(data))
    monkeypatch.setenv("SENTALIGN_WEIGHTS", str(moved))
    assert np.shape(pyfunc_model._load_pyfunc(str(data)).predict(table)["map"][0]) == (32, 32)
    moved.write_bytes(moved.read_bytes() + b"x")
    with pytest.raises(UserError, match="has other weights than this model was logged with"):
        pyfunc_model._load_pyfunc(str(data))


def test_weights_in_a_bucket_are_fetched(run, tmp_path, monkeypatch, s3):
    from sharding.store import locations

    content = (run / dual.WEIGHTS).read_bytes()
    model.save(run, tmp_path / "model", hashlib.sha256(content).hexdigest(), uploaded_bytes=1000)
    locations.open_store(s3).put("model.safetensors", content)
    monkeypatch.setenv("SENTALIGN_WEIGHTS", f"{s3}/model.safetensors")
    (run / dual.WEIGHTS).unlink()
    table = pd.DataFrame({"picture": [noise(1)], "sentence": [SENTENCE]})
    loaded = pyfunc_model._load_pyfunc(str(tmp_path / "model" / "data" / "data"))
    assert np.shape(loaded.predict(table)["map"][0]) == (32, 32)
