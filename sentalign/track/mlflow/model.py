"""The trained model of a finished run → a model that `mlflow.pyfunc.load_model` loads: picture, sentence in, map out.

In: a run folder. Out: a logged model with signature and example, linked to the run. No code and no pickle is stored: it
is loaded by the installed package (`localize.pyfunc_model`). Weights above UPLOADED_BYTES stay where they are: the
model has their place and sha256.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from sentalign.track import journal
from sentalign.track.mlflow.connection import public_text
from sentalign.track.mlflow.upload_state import UploadState

LOADER = "sentalign.localize.pyfunc_model"
WEIGHTS, REFERENCE, CONFIG = "model.safetensors", "weights.json", "config.yaml"
FILES = ("towers.json", CONFIG, "tokenizer/vocab.txt", "tokenizer/tokenizer_config.json")
UPLOADED_BYTES = 64 * 2**20


def is_due(run: Path) -> bool:
    """Whether the run is finished and has all files of a model."""
    ends = [entry.get("status") for entry, _ in journal.follow(run)]
    return ends[-1:] == ["finished"] and all((run / name).is_file() for name in (WEIGHTS, *FILES))


def send(client: Any, state: UploadState, run: Path, experiment_id: str) -> None:
    """Logs the model, unless `state` says that these weights are there."""
    from mlflow.entities import LoggedModelOutput

    with open(run / WEIGHTS, "rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if state.model == sha256:
        return
    tags = {"weights.sha256": sha256, "weights.bytes": str((run / WEIGHTS).stat().st_size)}
    made = client.create_logged_model(experiment_id, name="model", source_run_id=state.run_id, tags=tags)
    with tempfile.TemporaryDirectory() as folder:
        save(run, Path(folder) / "model", sha256, UPLOADED_BYTES)
        client.log_model_artifacts(made.model_id, str(Path(folder) / "model"))
    client.finalize_logged_model(made.model_id, "READY")
    client.log_outputs(state.run_id, [LoggedModelOutput(made.model_id, step=0)])
    client.set_tag(state.run_id, "model.uri", f"models:/{made.model_id}")
    state.model = sha256


def save(run: Path, out: Path, sha256: str, uploaded_bytes: int) -> None:
    """Writes the folder of the model: MLmodel, requirements, an example, and `data/` for the loader."""
    import mlflow.pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import Array

    signature = ModelSignature(
        Schema([ColSpec(DataType.binary, "picture"), ColSpec(DataType.string, "sentence")]),
        Schema([ColSpec(Array(Array(DataType.double)), "map"), ColSpec(DataType.double, "score")]),
    )
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        _copy(run, data, sha256, uploaded_bytes)
        mlflow.pyfunc.save_model(
            str(out),
            loader_module=LOADER,
            data_path=str(data),
            signature=signature,
            input_example=_example(),
            pip_requirements=["sentalign[model]"],
            metadata={"weights_sha256": sha256},
        )


def _copy(run: Path, data: Path, sha256: str, uploaded_bytes: int) -> None:
    for name in FILES:
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(run / name, data / name)
    (data / CONFIG).write_text(public_text((run / CONFIG).read_text()))
    weights = (run / WEIGHTS).resolve()
    size = weights.stat().st_size
    if size <= uploaded_bytes:
        shutil.copyfile(weights, data / WEIGHTS)
    else:
        reference = {"location": str(weights), "sha256": sha256, "bytes": size}
        (data / REFERENCE).write_text(json.dumps(reference, indent=1))


def _example() -> Any:
    """A picture of nobody, and a sentence."""
    import pandas as pd
    from PIL import Image

    file = io.BytesIO()
    Image.linear_gradient("L").resize((64, 64)).save(file, "PNG")
    return pd.DataFrame({"picture": [file.getvalue()], "sentence": ["Right pleural effusion."]})
