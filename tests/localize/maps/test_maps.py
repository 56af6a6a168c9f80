"""The maps of the settings `maps`, on real, tiny models: what takes part, what it costs, and whatever the batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from sentalign import config
from sentalign.localize.maps import register
from sentalign.localize.maps.heatmap import clean_map, peak
from sentalign.localize.maps.mirror import Mirror
from sentalign.localize.predict import MAPS, Predictor
from sentalign.localize.prompts import PROMPTS, prompt
from sentalign.model import dual, image, text
from sentalign.model.receptive_field import RegionGrid
from sentalign.tokenizer import Tokenizer
from sharding.contract import UserError
from tests.localize.conftest import BERT, PHRASES

RNG = np.random.default_rng(2)
SENTENCE, UNSAFE = "Right pleural effusion", "Opacity in the lingula"  # the lingula has no counterpart
VIT = {"model_type": "dinov2", "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 8}


def vit_predictor(attention, learn=(), **maps):
    torch.manual_seed(0)
    tokenizer = Tokenizer.train(PHRASES, 120, cased=False)
    tower = image.build(None, VIT | {"image_size": 48}, "stage2", "stage2", 16)
    learned = dict.fromkeys(learn, -1.0)
    model = dual.DualEncoder(tower, text.build(None, BERT, len(tokenizer.vocabulary), 2), learned).eval()
    data = {"shards": "none", "max_tokens": 32, "image_size": 48}
    settings = {"run": "none", "data": data, "model": {"text": {"backbone": BERT}, "width": 16}}
    loss = {"attention": attention, "learn": list(learn)}
    return Predictor(model, tokenizer, config.check(settings | {"loss": loss, "maps": maps}))


def pictures(*heights):
    return [RNG.integers(0, 255, (height, 90), dtype=np.uint8) for height in heights]


@pytest.mark.parametrize("make", [Predictor.load, lambda run: vit_predictor("cosine")], ids=["resnet", "vit"])
def test_a_map_is_the_same_in_every_batch_and_beside_every_sentence(run_folder, make):
    predictor, greys = make(run_folder), pictures(*range(70, 88))
    together = list(predictor.images(greys))
    sentences = [UNSAFE, SENTENCE, "Small nodule"]
    for n in (0, 15, 16, 17):
        one = predictor.maps(together[n], sentences)[1]
        alone = make(run_folder)
        (other,) = alone.maps(alone.image(greys[n]), [SENTENCE])
        for grid, expected in zip(one[:3], other[:3], strict=True):
            assert np.allclose(grid, expected, atol=1e-4 * np.abs(expected).max())
        assert one.mirrored is other.mirrored is True
        assert one.grid_HW.shape == tuple(4 * cells for cells in one.plain_HW.shape)


def test_the_mirrored_picture_is_asked_the_swapped_sentence(run_folder):
    predictor = Predictor.load(run_folder, maps="mirrored")
    features = predictor.image(*pictures(80))
    assert features.trace is None
    swapped_D = predictor.text(["Left pleural effusion"]).units_N2D[0, 1]
    one, other = predictor.maps(features, [SENTENCE, UNSAFE])
    mirror = Mirror.of(RegionGrid(16, 0.5), 96)
    expected_HW = mirror.mean(one.plain_HW, (features.mirrored_HWD @ swapped_D).double().numpy())
    assert np.allclose(one.grid_HW, expected_HW, atol=1e-6)
    assert not np.allclose(one.grid_HW, one.plain_HW, atol=1e-3)
    assert (one.mirrored, other.mirrored) == (True, False)
    assert np.array_equal(other.grid_HW, other.plain_HW)


@pytest.mark.parametrize(
    ("attention", "learn"), [("cosine", ()), ("paper", ()), ("cosine", ("tau",)), ("paper", ("t1",))]
)
def test_the_registered_map_attends_by_the_temperature_of_the_run(attention, learn):
    predictor = vit_predictor(attention, learn, prompts=["{}"])
    features = predictor.image(*pictures(80))
    (one,) = predictor.maps(features, [UNSAFE])
    temperature = np.exp(-1) if learn else {"cosine": 0.1, "paper": 4.0}[attention]
    rule = register.Attention(temperature, 0) if attention == "cosine" else register.Attention(None, temperature)
    units_N2D = predictor.text([UNSAFE]).units_N2D
    units_N2D = normalize(units_N2D, dim=-1) if attention == "cosine" else units_N2D
    evidence_NSS = features.trace.evidence(rule, units_N2D, one.plain_HW[None]).smoothed(8)
    assert np.allclose(one.grid_HW, register.register(one.plain_HW, evidence_NSS[0], RegionGrid(8, 4.0)), atol=1e-6)


def test_the_peak_is_that_of_all_original_pixels(run_folder):
    predictor = Predictor.load(run_folder)
    for grey_HW in pictures(50, 131):
        features = predictor.image(grey_HW)
        for one in predictor.maps(features, [SENTENCE, UNSAFE]):
            map_hw = clean_map(one.grid_HW, features.cells)
            x, y = peak(one.grid_HW, features.cells)
            assert map_hw.shape == grey_HW.shape
            assert map_hw[y, x] == pytest.approx(map_hw.max(), abs=1e-12)


@pytest.mark.parametrize(
    ("name", "forward", "backward"), [("plain", 1, 0), ("mirrored", 2, 0), ("registered", 1, 1), ("both", 2, 1)]
)
def test_a_map_costs_at_most_three_passes_and_a_further_sentence_one(run_folder, name, forward, backward):
    predictor, passes = Predictor.load(run_folder, maps=name), {"forward": 0, "backward": 0}
    tower = predictor._model.image
    tower.register_forward_hook(
        lambda module, inputs, outputs: passes.update(forward=passes["forward"] + len(inputs[0]))
    )
    tower.to_regions.register_full_backward_hook(
        lambda module, inputs, outputs: passes.update(backward=passes["backward"] + len(outputs[0]))
    )
    for features in predictor.images(pictures(80, 70, 90)):
        predictor.maps(features, [SENTENCE])
    assert passes == {"forward": 3 * forward, "backward": 3 * backward}
    predictor.maps(predictor.image(*pictures(80)), [SENTENCE, UNSAFE, "Small nodule"])
    assert passes == {"forward": 4 * forward, "backward": 6 * backward}
    assert all(weight.grad is None for weight in predictor._model.parameters())


def test_prompts_are_averaged_as_unit_vectors():
    predictor = vit_predictor("cosine", prompts=list(PROMPTS), registered=False, mirrored=False)
    features = predictor.image(*pictures(80))
    (one,) = predictor.maps(features, [SENTENCE])
    vectors = predictor.text(
        [SENTENCE, "There is right pleural effusion", "Findings suggesting right pleural effusion"]
    )
    expected_HW = torch.nn.functional.cosine_similarity(
        features.regions_HWD[None], vectors.units_N2D[:, 1, None, None], dim=-1
    ).mean(dim=0)
    assert np.allclose(one.grid_HW, expected_HW, atol=1e-6)
    assert not np.allclose(one.grid_HW, one.plain_HW, atol=1e-4)


def test_a_name_of_map_overrides_the_run():
    assert MAPS.keys() == {"plain", "mirrored", "registered", "both"}
    for changes in MAPS.values():
        config.Maps(**changes)


@pytest.mark.parametrize("template", ["There is", "{} and {}", "{0}", "{finding}"])
def test_a_template_holds_the_sentence_once(template):
    with pytest.raises(UserError, match=r"maps\.prompts.*once"):
        config.check({"run": "r", "data": {"shards": "s"}, "maps": {"prompts": [template]}})


def test_prompts():
    assert prompt(PROMPTS[0], "Right effusion") == "Right effusion"
    assert prompt(PROMPTS[1], "Right effusion") == "There is right effusion"
    assert prompt(PROMPTS[2], "RLL opacity") == "Findings suggesting RLL opacity"
