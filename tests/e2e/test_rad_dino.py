"""configs/rad-dino.yaml with tiny random weights of the classes that it names, saved as their hub folders are."""

from __future__ import annotations

import json

import pytest
import torch
import transformers

from sentalign import config
from sentalign.tokenizer import Tokenizer
from sentalign.train import model_of
from tests.e2e.commands import ROOT, good

PATH = ROOT / "configs/rad-dino.yaml"
WIDTH = 32
TEXTS = ["There is a nodule in the right upper lobe.", "Left basal effusion, opacity and pneumothorax of the lung."]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Overrides that set folders of a Dinov2Model with the layers and patches of ViT-B/14 and of a BertModel."""
    folder = tmp_path_factory.mktemp("weights")
    sizes = {"hidden_size": WIDTH, "num_attention_heads": 2}
    torch.manual_seed(0)
    vit = transformers.Dinov2Config(**sizes, num_hidden_layers=12, image_size=518, patch_size=14, mlp_ratio=2)
    transformers.Dinov2Model(vit).save_pretrained(folder / "vit")
    pieces = Tokenizer.train(TEXTS, 150, cased=True).vocabulary
    bert = transformers.BertConfig(vocab_size=len(pieces), **sizes, num_hidden_layers=4, intermediate_size=WIDTH)
    transformers.BertModel(bert).save_pretrained(folder / "bert")
    (folder / "bert/vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    places = (f"model.image.weights={folder / 'vit'}", f"model.text.weights={folder / 'bert'}")
    return [*places, f"model.width={WIDTH}"]


def test_the_towers_load_the_weights_and_fuse_four_layers_on_the_grid_of_patches(weights):
    made = config.load(PATH, weights)
    model = model_of(made, 100).eval()
    maps = []
    model.image.backbone.register_forward_hook(lambda module, args, output: maps.extend(output.feature_maps))
    with torch.no_grad():
        regions_BHWD, global_BD = model.image(torch.zeros(1, 1, 518, 518))
    assert len(maps) == 4
    assert regions_BHWD.shape == (1, 37, 37, WIDTH)
    assert global_BD.shape == (1, WIDTH)
    assert model.image.region_grid(518) == (14, 7)
    stored = transformers.Dinov2Model.from_pretrained(made.model.image.weights).state_dict()
    assert all(torch.equal(value, stored[name]) for name, value in model.image.backbone.state_dict().items())


@pytest.mark.slow
def test_shards_training_maps_and_table(weights, tmp_path):
    """Two ranks, ZeRO 2, bfloat16, mirrored images, as the file says; only sizes, epochs and the store are others."""
    good("phantom", "phantoms", "--studies", 40, "--seed", 3, "--size", 96, "--test-studies", 6,
         "--validation-studies", 6, "--processes", 2, folder=tmp_path)  # fmt: skip
    good("shard", "build", "mimic-cxr", "phantoms", "--out", "shards", "--size", 70, folder=tmp_path)
    small = ("data.shards=shards", "data.image_size=70", "data.batch=8", "data.workers=1", "train.epochs=2")
    good("train", PATH, "--ranks", 2, "run=run", *weights, *small, "track.uri=null", folder=tmp_path)
    entries = [json.loads(line) for line in (tmp_path / "run/journal.jsonl").read_text().splitlines()]
    assert entries[-1]["status"] == "finished"
    assert {"picture", "best", "attribution"} <= {entry["kind"] for entry in entries}
    picture = sorted((tmp_path / "phantoms").rglob("*.dcm"))[-1]
    good("localize", picture, "right upper lobe nodule", "--run", "run", "--out", "maps", folder=tmp_path)
    (box,) = json.loads((tmp_path / "maps/boxes.json").read_text())["sentences"]
    assert box["mirrored"]
    good("evaluate", "ms-cxr", "--data", "phantoms", "--run", "run", "--out", "table", "--replicates", 10,
         folder=tmp_path)  # fmt: skip
    metrics = json.loads((tmp_path / "table/metrics.json").read_text())
    assert 0 <= metrics["seen"]["pointing"] <= 1
    assert metrics["health"]["attribution"]["cases"] > 0
