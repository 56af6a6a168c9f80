"""A small MS-CXR folder with real pictures, and localizers that need no training."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sentalign import config
from sentalign.evaluate import cli
from sentalign.evaluate.datasets import ms_cxr
from sentalign.evaluate.score_cases import Scores, measure
from sentalign.localize.predict import SentenceMap
from sentalign.model import dual, image, text
from sentalign.tokenizer import Tokenizer
from sharding.pixels import Geometry, letterbox

SIDE, CELLS = 224, 14
SIZES = ((300, 240), (256, 320))


@dataclass
class MarkLocalizer:
    """Finds the bright mark that the fixture paints: a sentence queries the mark on its side of the picture.

    It has the shape of `Predictor` and computes its grids from the pictures, without weights.
    """

    blind: bool = False

    def images(self, greys: Sequence[np.ndarray]) -> Iterator[SimpleNamespace]:
        for grey_HW in greys:
            square_SS, geometry = letterbox(grey_HW, SIDE)
            cells = square_SS.reshape(CELLS, SIDE // CELLS, CELLS, SIDE // CELLS).mean(axis=(1, 3))
            yield SimpleNamespace(regions=cells / 255, letterbox=geometry, cells=geometry)

    def maps(self, features: Any, sentences: Sequence[str]) -> list[SentenceMap]:
        return [SentenceMap(grid, grid, grid, False) for grid in (self._grid(features, s) for s in sentences)]

    stride, score_scale = SIDE // CELLS, 4.0

    def inputs(self, greys: Sequence[np.ndarray]) -> torch.Tensor:
        squares = np.stack([letterbox(grey_HW, SIDE)[0] for grey_HW in greys])
        return torch.from_numpy(squares).unsqueeze(1).float() / 127.5 - 1

    def attended_scores(self, images_B1SS: torch.Tensor, sentences: Sequence[str]) -> torch.Tensor:
        """The brightest cell on the sentence's side."""
        if self.blind:
            return images_B1SS.sum() * 0 + torch.zeros(len(images_B1SS), len(sentences))
        cells = torch.nn.functional.avg_pool2d((images_B1SS + 1) / 2, self.stride)[:, 0]
        halves = {"right": cells[:, :, : CELLS // 2], "left": cells[:, :, CELLS // 2 :]}
        named = [halves["right" if "right" in sentence.lower() else "left"] for sentence in sentences]
        return torch.stack([half.amax(dim=(1, 2)) for half in named], dim=1)

    def _grid(self, features: Any, sentence: str) -> np.ndarray:
        if self.blind:
            return np.full((CELLS, CELLS), 0.25)
        # The image's left half is the patient's right, as radiologists look at it.
        sides = [float(side in sentence.lower()) for side in ("right", "left")]
        return features.regions * np.repeat(sides, CELLS // 2)


def evaluate(data_set: str, *words: object) -> None:
    """Runs `sentalign evaluate SET words` in this process."""
    parser = argparse.ArgumentParser()
    cli.add_parser(parser.add_subparsers())
    args = parser.parse_args(["evaluate", data_set, *map(str, words)])
    args.command(args)


def square_boxes(geometry: Geometry, boxes: np.ndarray) -> np.ndarray:
    return np.concatenate([geometry.to_output(boxes[:, :2]), geometry.to_output(boxes[:, :2] + boxes[:, 2:])], axis=1)


@pytest.fixture
def localizer() -> MarkLocalizer:
    return MarkLocalizer()


@pytest.fixture
def blind() -> MarkLocalizer:
    return MarkLocalizer(blind=True)


def annotate(folder: Path, images: list[dict], annotations: list[dict], categories: Sequence[str]) -> None:
    listed = [{"id": n, "name": name} for n, name in enumerate(categories, 1)]
    tree = {"info": {}, "licenses": [], "images": images, "annotations": annotations, "categories": listed}
    (folder / "MS_CXR_Local_Alignment_v1.1.0.json").write_text(json.dumps(tree))


@pytest.fixture
def marked(drawn: Path, tmp_path: Path) -> Path:
    """A copy of `drawn` to spoil."""
    return Path(shutil.copytree(drawn, tmp_path / "marked"))


@pytest.fixture(scope="session")
def scores(drawn: Path) -> Scores:
    """The localizer that reads on all of `drawn`."""
    return measure(MarkLocalizer(), ms_cxr.read(drawn))


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 pictures of 12 patients, each with a bright mark left and right; one phrase and one box a mark."""
    folder = tmp_path_factory.mktemp("drawn")
    rng = np.random.default_rng(5)
    images, annotations = [], []
    for n in range(24):
        rows, columns = SIZES[n % 2]
        path = f"files/p10/p1000{n // 2:04d}/s5000{n:04d}/image{n:02d}.jpg"
        images.append({"id": n, "file_name": f"image{n:02d}.jpg", "path": path, "width": columns, "height": rows})
        grey_HW = rng.integers(0, 60, (rows, columns), dtype=np.uint8)
        for side, half in (("right", 0), ("left", columns // 2)):
            x, y = half + 25 + int(rng.integers(40)), int(rng.integers(40, 170))
            grey_HW[y : y + 44, x : x + 40] = 250
            annotations.append(
                {
                    "image_id": n,
                    "category_id": 1 + n % 3,
                    "bbox": [x, y, 40, 44],
                    "label_text": f"Mark {n} in the {side} lung",
                    "width": columns,
                    "height": rows,
                }
            )
        file = (folder / path).with_suffix(".png")
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(grey_HW).save(file)
    annotate(folder, images, annotations, ("Opacity", "Nodule", "Cavity"))
    return folder


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a tiny random model."""
    folder = tmp_path_factory.mktemp("run")
    torch.manual_seed(0)
    tokenizer = Tokenizer.train(["Mark in the left lung", "Mark in the right lung"], 60, cased=False)
    tokenizer.save(folder / "tokenizer")
    backbone = {"embedding_size": 8, "hidden_sizes": [8] * 4, "depths": [1] * 4, "layer_type": "basic"}
    bert = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    model = dual.DualEncoder(
        image.build(None, backbone, "stage3", "stage4", 8), text.build(None, bert, len(tokenizer.vocabulary), 1)
    )
    dual.save(folder, model.describe(), model.state_dict())
    towers = {"image": {"backbone": backbone}, "text": {"backbone": bert}, "width": 8}
    data = {"shards": "none", "image_size": 64}
    (folder / "config.yaml").write_text(config.dump(config.check({"run": str(folder), "data": data, "model": towers})))
    return folder
