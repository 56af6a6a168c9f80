"""A run folder with a tiny random model, as training leaves it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sentalign import config
from sentalign.model import dual, image, text
from sentalign.tokenizer import Tokenizer

PHRASES = ["Right pleural effusion", "Left apical pneumothorax in the lung", "Small nodule"]
BACKBONE = {"embedding_size": 8, "hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1], "layer_type": "basic"}
BERT = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 64,
}


def save_run(folder: Path, data: dict) -> Path:
    torch.manual_seed(0)
    tokenizer = Tokenizer.train(PHRASES, 120, cased=False)
    tokenizer.save(folder / "tokenizer")
    model = dual.DualEncoder(
        image.build(None, BACKBONE, "stage3", "stage4", 16), text.build(None, BERT, len(tokenizer.vocabulary), 2)
    )
    dual.save(folder, model.describe(), model.state_dict())
    towers = {"image": {"backbone": BACKBONE}, "text": {"backbone": BERT, "cased": False}, "width": 16}
    checked = config.check({"run": str(folder), "data": {"shards": "none", "max_tokens": 32} | data, "model": towers})
    (folder / "config.yaml").write_text(config.dump(checked))
    return folder


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_run(tmp_path_factory.mktemp("run"), {"image_size": 96, "long_side": 80})
