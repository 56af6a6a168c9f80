"""Small towers with random weights."""

from __future__ import annotations

import pytest
import torch

from sentalign.model import dual, image, text

WIDTH = 16
RESNET = {"layer_type": "basic", "embedding_size": 8, "hidden_sizes": [8, 12, 20], "depths": [1, 1, 1]}
BERT = {"hidden_size": WIDTH, "num_hidden_layers": 5, "num_attention_heads": 2, "intermediate_size": 24}
PIECES = 40


def tower_of_text(last_layers=4):
    torch.manual_seed(1)
    return text.build(None, BERT | {"max_position_embeddings": 32}, PIECES, last_layers).eval()


def both(**more):
    torch.manual_seed(2)
    return dual.DualEncoder(image.build(None, RESNET, "stage2", "stage3", WIDTH, **more), tower_of_text()).eval()


@pytest.fixture
def model() -> dual.DualEncoder:
    return both()


@pytest.fixture
def texts() -> tuple[torch.Tensor, ...]:
    """Tokens, attention, unit and words of a report of 2 sentences (2 words in 3 pieces, 1 word) and one of 1."""
    tokens_BT = torch.tensor([[2, 7, 8, 9, 11, 3], [2, 5, 6, 3, 0, 0]])
    unit_id_BT = torch.tensor([[-1, 0, 0, 0, 1, -1], [-1, 0, 0, -1, -1, -1]])
    word_counts_BK = torch.tensor([[5.0, 2, 1], [3, 1, 0]])
    return tokens_BT, tokens_BT > 0, unit_id_BT, word_counts_BK


@pytest.fixture
def buckets(texts) -> list[text.TextBucket]:
    """The same as one bucket."""
    return text.buckets(*texts, texts[3] > 0)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    # The variable is read when huggingface_hub is imported; the constant is what it then looks at.
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
