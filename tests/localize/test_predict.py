"""The predictor on a real, tiny run folder."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sentalign import config
from sentalign.localize import predict
from sentalign.localize.predict import Predictor
from sentalign.model import dual
from sentalign.stream.batch import square
from sharding.contract import UserError

RNG = np.random.default_rng(1)


@pytest.fixture(scope="module")
def predictor(run_folder):
    return Predictor.load(run_folder)


@pytest.mark.parametrize(("size", "long_side"), [(96, 0), (96, 80), (96, 96), (299, 224)])
@pytest.mark.parametrize("shape", [(120, 90), (50, 200), (96, 96)])
def test_framing_is_that_of_training(size, long_side, shape):
    grey = RNG.integers(0, 255, shape, dtype=np.uint8)
    ours, geometry = predict.frame(grey, config.Data(shards="none", image_size=size, long_side=long_side))
    theirs, expected = square(grey, size, long_side)
    assert (ours == theirs).all()
    assert geometry == expected


def test_grids_are_products_of_regions_and_text(predictor):
    features = predictor.image(RNG.integers(0, 255, (120, 90), dtype=np.uint8))
    height, width, depth = features.regions_HWD.shape
    assert (height, width, depth) == (6, 6, 16)
    text = predictor.text(["Right pleural effusion", "Small nodule"])
    assert text.sentences_ND.shape == text.reports_ND.shape == (2, 16)
    for grid, vector in (
        (predictor.clean_grid(features, text.sentences_ND[1]), text.sentences_ND[1]),
        (predictor.paper_grid(features, text.reports_ND[1]), text.reports_ND[1]),
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


def test_a_sentence_is_embedded_alone_whatever_stands_beside_it(run_folder):
    one, other = Predictor.load(run_folder), Predictor.load(run_folder)
    sentences = ["Small nodule", "Left apical pneumothorax in the lung", "Small nodule"]
    together = one.text(sentences)
    assert torch.allclose(together.sentences_ND[0], other.text(["Small nodule"]).sentences_ND[0], atol=1e-6)
    assert torch.equal(together.sentences_ND[0], together.sentences_ND[2])
    assert torch.equal(one.text(sentences).reports_ND, together.reports_ND)


def test_sentence_and_report_vectors_are_the_towers(predictor, run_folder):
    model = dual.load(run_folder)
    row = predictor._tokenizer.encode(["Small nodule"], 32)
    tokens, unit = torch.tensor([row.tokens]), torch.tensor([row.unit])
    words = torch.tensor([[float(row.all_words), *map(float, row.words)]])
    units, report = model.encode_texts(tokens, torch.ones_like(tokens, dtype=torch.bool), unit, words)
    text = predictor.text(["Small nodule"])
    assert torch.allclose(text.sentences_ND[0], units[0, 1], atol=1e-6)
    assert torch.allclose(text.reports_ND[0], report[0], atol=1e-6)


def test_users_mistakes(run_folder, tmp_path):
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
