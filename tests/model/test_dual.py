"""Both towers together, and in a folder."""

from __future__ import annotations

import json

import pytest
import torch

from sentalign.model import dual, image, text
from sentalign.model.pretrained import WeightsError
from tests.model.conftest import both


@pytest.fixture
def images():
    return torch.randn(2, 1, 48, 80, generator=torch.Generator().manual_seed(0))


def test_regions_lie_row_by_row(model, images, texts):
    with torch.no_grad():
        features, (map_BHWD, global_BD) = model(images), model.image(images)
    rows, columns = 6, 10
    assert features.regions_BRD.shape == (2, rows * columns, 16)
    for row, column in [(0, 0), (0, 9), (3, 4), (5, 0), (5, 9)]:
        assert torch.equal(features.regions_BRD[:, row * columns + column], map_BHWD[:, row, column])
    assert torch.equal(features.image_BD, global_BD)


def test_units_are_packed_and_cls_is_the_first_of_each_report(model, buckets, texts):
    with torch.no_grad():
        features = model(None, buckets)
        hidden = model.text.bert(texts[0], texts[1].long(), output_hidden_states=True).hidden_states
    assert features.units_MD.shape == (5, 16)  # reports of two sentences and of one
    torch.testing.assert_close(features.units_MD[[0, 3]], sum(hidden[-4:])[:, 0])
    assert features.report_BD.shape == (2, 16)


def test_each_tower_alone_has_the_features_of_both_together(model, images, buckets):
    with torch.no_grad():
        both, of_images, of_texts = model(images, buckets), model(images), model(None, buckets)
    assert of_images.units_MD is of_images.report_BD is of_texts.regions_BRD is of_texts.loss_scalars_N is None
    for name in ("regions_BRD", "image_BD"):
        assert torch.equal(getattr(both, name), getattr(of_images, name))
    for name in ("units_MD", "report_BD"):
        assert torch.equal(getattr(both, name), getattr(of_texts, name))


def test_encoding_is_the_same_without_gradient(model, images, buckets, texts):
    features = model(images, buckets)
    assert features.regions_BRD.requires_grad
    regions_BHWD, image_BD = model.encode_images(images)
    units_BKD, report_BD = model.encode_texts(*texts)
    assert not any(t.requires_grad for t in (regions_BHWD, image_BD, units_BKD, report_BD))
    assert regions_BHWD.shape == (2, 6, 10, 16)
    torch.testing.assert_close(regions_BHWD.flatten(1, 2), features.regions_BRD.detach())
    torch.testing.assert_close(units_BKD[texts[3] > 0], features.units_MD.detach())
    assert not units_BKD[texts[3] == 0].any()


def outputs(model, images, buckets):
    with torch.no_grad():
        return model(images, buckets)


@pytest.mark.parametrize("coordinates", [False, True])
def test_round_trip_is_bit_equal(tmp_path, model, images, buckets, coordinates):
    model.image.coordinates = coordinates
    model.train()(images, buckets)  # so that the running statistics are not those of a new model
    dual.save(tmp_path / "run", model.describe(), model.state_dict())
    again = dual.load(tmp_path / "run")
    assert not again.training
    assert again.image.coordinates is coordinates
    state = again.state_dict()
    assert state.keys() == model.state_dict().keys()
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    for one, other in zip(outputs(model.eval(), images, buckets), outputs(again, images, buckets), strict=True):
        assert torch.equal(one, other)
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["model.safetensors", "towers.json"]


def test_round_trip_of_a_vit_with_stages_in_another_order(tmp_path, images):
    settings = {"model_type": "dinov2", "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    bert = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    towers = (
        image.build(None, settings | {"image_size": 28, "patch_size": 14}, "stage2", "stage1", 16),
        text.build(None, bert, 40, 1),
    )
    model = dual.DualEncoder(*towers).eval()
    dual.save(tmp_path, model.describe(), model.state_dict())
    again = dual.load(tmp_path)
    assert (again.image.region_stage, again.image.global_stage, again.text.last_layers) == ("stage2", "stage1", 1)
    for one, other in zip(model.encode_images(images), again.encode_images(images), strict=True):
        assert torch.equal(one, other)


def test_round_trip_of_fused_stages_and_of_folders_without_them(tmp_path, images, buckets):
    model = both(fused_stages=["stage1", "stage3"])
    dual.save(tmp_path, model.describe(), model.state_dict())
    again = dual.load(tmp_path)
    assert again.image.fused_stages == ["stage1", "stage3"]
    for one, other in zip(outputs(model, images, buckets), outputs(again, images, buckets), strict=True):
        assert torch.equal(one, other)
    dual.save(tmp_path, both().describe(), both().state_dict())
    towers = json.loads((tmp_path / "towers.json").read_text())
    assert towers.pop("fused_stages") == []
    (tmp_path / "towers.json").write_text(json.dumps(towers))
    assert dual.load(tmp_path).image.fused_stages == []


def test_description_is_plain_json(model):
    assert json.loads(json.dumps(model.describe()))["width"] == 16


def test_a_second_save_replaces_the_first(tmp_path, model):
    dual.save(tmp_path, model.describe(), model.state_dict())
    with torch.no_grad():
        model.image.to_global.bias.fill_(7)
    dual.save(tmp_path, model.describe(), model.state_dict())
    assert (dual.load(tmp_path).image.to_global.bias == 7).all()


@pytest.mark.parametrize("absent", ["model.safetensors", "towers.json"])
def test_a_folder_without_a_model(tmp_path, model, absent):
    with pytest.raises(WeightsError, match="no trained model"):
        dual.load(tmp_path / "none")
    dual.save(tmp_path, model.describe(), model.state_dict())
    (tmp_path / absent).unlink()
    with pytest.raises(WeightsError, match="no trained model"):
        dual.load(tmp_path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.safetensors", b"junk"),
        ("model.safetensors", b""),
        ("towers.json", b"{"),
        ("towers.json", b"\xff"),
        ("towers.json", b"[]"),
        ("towers.json", b"{}"),
        ("towers.json", lambda text: text.replace(b'"width": 16', b'"width": 24')),
    ],
)
def test_a_damaged_model_is_one_line(tmp_path, model, name, content):
    dual.save(tmp_path, model.describe(), model.state_dict())
    file = tmp_path / name
    file.write_bytes(content(file.read_bytes()) if callable(content) else content)
    with pytest.raises(WeightsError, match=r"is damaged \(.+\); copy the folder again$") as caught:
        dual.load(tmp_path)
    assert "\n" not in str(caught.value)
