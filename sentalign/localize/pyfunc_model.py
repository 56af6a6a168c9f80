"""The trained model behind `mlflow.pyfunc.load_model`: pictures and sentences in, maps out.

In: the folder `data/` of a logged model. Out: an object with MLflow's `predict`. The model that `track.mlflow.model`
logs names this module, and MLflow calls `_load_pyfunc`; mlflow itself is not imported here.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sentalign.localize.arguments import pick_device
from sentalign.localize.maps.heatmap import clean_map
from sentalign.localize.predict import Predictor
from sentalign.model import dual
from sharding import pixels
from sharding.contract import UserError
from sharding.store import locations

REFERENCE = "weights.json"
PLACE = "SENTALIGN_WEIGHTS"  # environment variable: where the weights are now, if they were moved
LONG_SIDE = 512  # of the map of a larger picture


class SentenceMaps:
    """What MLflow calls: `predict`."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        """A table with `picture` (bytes of a DICOM, PNG or JPEG file) and `sentence` → one with `map` and `score`.

        `map` (rows, columns) covers the whole picture; its long side has at most 512 values. `score` is the highest of
        the sentence on the picture as it is (see `boxes.Localization`). Raises UserError for what is no picture.
        """
        import pandas as pd

        found = [self._localize(row.picture, row.sentence) for row in model_input.itertuples()]
        return pd.DataFrame(found, columns=["map", "score"], index=model_input.index)

    def _localize(self, file: bytes, sentence: str) -> tuple[list[list[float]], float]:
        picture = pixels.read(bytes(file))
        features = self._predictor.image(picture.grey_HW)
        maps = self._predictor.maps(features, [sentence])
        (found,) = self._predictor.localizations(picture, features, [sentence], maps)
        geometry = picture.geometry.then(features.cells)
        return clean_map(maps[0].grid_HW, geometry, LONG_SIDE).tolist(), float(found.score)


def _load_pyfunc(data_path: str) -> SentenceMaps:
    """MLflow's entry. Raises UserError where the weights are not what the model was logged with."""
    with _complete(Path(data_path)) as run:
        return SentenceMaps(Predictor.load(run, pick_device(None)))


@contextlib.contextmanager
def _complete(data: Path) -> Iterator[Path]:
    """The folder of the model with its weights, which may be elsewhere."""
    if not (data / REFERENCE).is_file():
        yield data
        return
    reference = json.loads((data / REFERENCE).read_text())
    place = os.environ.get(PLACE) or reference["location"]
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder)
        for path in data.iterdir():
            (whole / path.name).symlink_to(path.resolve())
        (whole / dual.WEIGHTS).symlink_to(_weights(place, reference["sha256"], whole))
        yield whole


def _weights(place: str, sha256: str, folder: Path) -> Path:
    """The file of the weights, fetched into the folder if they are in a store. Raises UserError."""
    remedy = f"set {PLACE} to the path or URL of the weights with sha256 {sha256}"
    file = locations.local_path(place)
    if file is None:
        file = folder / "fetched"
        file.write_bytes(locations.read(place))
    if not file.is_file():
        raise UserError(f"the weights of this model are not at {place}; {remedy}")
    with open(file, "rb") as opened:
        if hashlib.file_digest(opened, "sha256").hexdigest() != sha256:
            raise UserError(f"{place} has other weights than this model was logged with; {remedy}")
    return file.resolve()
