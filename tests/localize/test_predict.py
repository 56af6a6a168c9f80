"""The predictor on a real, tiny run folder."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from sentalign.localize import predict
from sentalign.localize.maps import heatmap
from sentalign.localize.predict import Predictor
from sentalign.model import dual
from sentalign.tokenizer import Tokenizer
from sharding.contract import UserError
from tests.localize.conftest import save_run

RNG = np.random.default_rng(1)


@pytest.fixture(scope="module")
def predictor(run_folder):
    return Predictor.load(run_folder)


@pytest.mark.parametrize(("size", "cells"), [(96, 6), (99, 7), (129, 9)])
def test_cells_lie_over_what_they_see(size, cells, tmp_path):
    """At any size the regions of a ResNet's third stage are 16 pixels apart, and the first is centred on pixel 0."""
    predictor = Predictor.load(save_run(tmp_path / "run", {"image_size": size, "long_side": size}))
    features = predictor.image(np.zeros((size, size), np.uint8))
    assert features.regions_HWD.shape[:2] == (cells, cells)
    centres = (np.arange(cells) + 0.5)[:, None] * [features.cells.width / cells, features.cells.height / cells]
    assert features.cells.to_original(centres) == pytest.approx(16 * np.arange(cells)[:, None] + [0.5, 0.5])
    assert (features.letterbox.width, features.letterbox.pad) == (size, (0, 0))
    for cell in (0, cells - 1):
        grid_HW = np.zeros((cells, cells))
        grid_HW[cell, cell] = 1.0
        assert heatmap.peak(grid_HW, features.cells) == (16 * cell, 16 * cell)


def test_cosine_training_reads_cosines(run_folder, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(run_folder, run)
    (run / "config.yaml").write_text((run / "config.yaml").read_text().replace("attention: paper", "attention: cosine"))
    grey = RNG.integers(0, 255, (120, 90), dtype=np.uint8)
    raw, cosine = (Predictor.load(folder).image(grey) for folder in (run_folder, run))
    predictor = Predictor.load(run, maps="plain")
    sentence_D = predictor.text(["Small nodule"]).units_N2D[0, 1]
    cosine_HW = torch.nn.functional.cosine_similarity(raw.regions_HWD, sentence_D, dim=-1)
    (one,) = predictor.maps(cosine, ["Small nodule"])
    assert np.allclose(one.plain_HW, cosine_HW, atol=1e-6)
    assert torch.allclose(cosine.regions_HWD.norm(dim=-1), torch.ones(cosine.regions_HWD.shape[:2]))


def test_plain_grids_are_products_of_regions_and_text(run_folder):
    predictor = Predictor.load(run_folder, maps="plain")
    features = predictor.image(RNG.integers(0, 255, (120, 90), dtype=np.uint8))
    assert (features.mirrored_HWD, features.trace) == (None, None)
    height, width, depth = features.regions_HWD.shape
    assert (height, width, depth) == (6, 6, 16)
    sentences = ["Right pleural effusion", "Small nodule"]
    text = predictor.text(sentences)
    assert text.units_N2D.shape == (2, 2, 16)
    one = predictor.maps(features, sentences)[1]
    assert not one.mirrored
    for grid, vector in (
        (one.grid_HW, text.units_N2D[1, 1]),
        (one.plain_HW, text.units_N2D[1, 1]),
        (one.paper_HW, text.reports_ND[1]),
    ):
        slow = [[float((features.regions_HWD[i, j] * vector).sum()) for j in range(width)] for i in range(height)]
        assert np.allclose(grid, slow, atol=1e-5)


def test_batches_and_single_pictures_agree(predictor):
    greys = [RNG.integers(0, 255, (60 + n, 90), dtype=np.uint8) for n in range(predict.BATCH + 3)]
    together = list(predictor.images(greys))
    assert len(together) == len(greys)
    for n in (0, predict.BATCH - 1, predict.BATCH, len(greys) - 1):
        alone = predictor.image(greys[n])
        assert torch.allclose(together[n].regions_HWD, alone.regions_HWD, atol=1e-5)
        assert together[n].letterbox == alone.letterbox


def test_a_sentence_is_encoded_alone_whatever_its_batch(run_folder):
    one, other = Predictor.load(run_folder), Predictor.load(run_folder)
    sentences = ["Small nodule", "Left apical pneumothorax in the lung", "Small nodule"]
    together = one.text(sentences)
    assert torch.allclose(together.units_N2D[0], other.text(["Small nodule"]).units_N2D[0], atol=1e-6)
    assert torch.equal(together.units_N2D[0], together.units_N2D[2])
    assert torch.equal(one.text(sentences).reports_ND, together.reports_ND)


def test_sentence_and_report_vectors_are_the_towers(predictor, run_folder):
    model = dual.load(run_folder)
    row = Tokenizer.load(run_folder / "tokenizer").encode(["Small nodule"], 32)
    tokens, unit = torch.tensor([row.tokens]), torch.tensor([row.sentence_ids])
    words = torch.tensor([[float(row.total_words), *map(float, row.word_counts)]])
    units, report = model.encode_texts(tokens, torch.ones_like(tokens, dtype=torch.bool), unit, words)
    text = predictor.text(["Small nodule"])
    assert torch.allclose(text.units_N2D[0], units[0, :2], atol=1e-6)
    assert torch.allclose(text.reports_ND[0], report[0], atol=1e-6)


def test_user_errors(run_folder, tmp_path):
    with pytest.raises(UserError, match="no run folder"):
        Predictor.load(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no trained model"):
        Predictor.load(tmp_path)
    with pytest.raises(UserError, match="cannot load the model on nonsense"):
        Predictor.load(run_folder, "nonsense")
    for name in (dual.WEIGHTS, dual.TOWERS):
        (tmp_path / name).write_bytes((run_folder / name).read_bytes())
    with pytest.raises(UserError, match="tokenizer"):
        Predictor.load(tmp_path)
