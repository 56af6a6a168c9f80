"""Recomputed layers: values and gradients as without, fewer bytes kept."""

from __future__ import annotations

import pytest
import torch

from sentalign.model import dual, image, recompute, text
from sentalign.model.pretrained import WeightsError
from tests.model.conftest import BERT

KINDS = {
    "resnet": {"model_type": "resnet", "layer_type": "bottleneck", "embedding_size": 8, "hidden_sizes": [16, 16, 16],
               "depths": [2, 2, 2]},
    "convnext": {"model_type": "convnext", "hidden_sizes": [8, 8, 8, 8], "depths": [2, 2, 2, 1], "drop_path_rate": 0.3},
    "dinov2": {"model_type": "dinov2", "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2,
               "image_size": 28, "patch_size": 14, "hidden_dropout_prob": 0.2},
    "swin": {"model_type": "swin", "embed_dim": 8, "depths": [2, 2, 2], "num_heads": [1, 1, 1], "image_size": 48,
             "window_size": 2, "patch_size": 2},
}  # fmt: skip


def model(kind, towers):
    torch.manual_seed(0)
    words = text.build(None, BERT | {"hidden_dropout_prob": 0.3, "max_position_embeddings": 32}, 40, 4)
    encoder = dual.DualEncoder(
        image.build(None, KINDS[kind], "stage2", "stage3", 16, fused_stages=["stage1"]), words
    ).train()
    recompute.enable(encoder, towers)
    return encoder


def once(encoder, buckets):
    """Features, gradients, buffers, and the bytes kept for the backward pass without the parameters."""
    owned = {p.data_ptr() for p in encoder.parameters()}
    saved = {}

    def save(tensor):
        if tensor.data_ptr() not in owned:
            saved[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    images = torch.randn(2, 1, 56, 56, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(7)
    with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
        features = encoder(images, buckets)
        saved_bytes = sum(saved.values())
    sum(f.square().sum() for f in features).backward()
    gradients = {name: p.grad for name, p in encoder.named_parameters() if p.grad is not None}
    return [f.detach() for f in features], gradients, dict(encoder.named_buffers()), torch.rand(1), saved_bytes


@pytest.mark.parametrize("towers", ["text", "image", "both"])
@pytest.mark.parametrize("kind", KINDS)
def test_recomputation_changes_nothing_but_the_memory(kind, towers, buckets):
    features, gradients, buffers, drawn, saved_bytes = once(model(kind, "none"), buckets)
    recomputed = once(model(kind, towers), buckets)
    assert all(map(torch.equal, recomputed[0], features))
    assert recomputed[1].keys() == gradients.keys()
    assert all(torch.equal(recomputed[1][name], gradients[name]) for name in gradients)
    assert all(torch.equal(recomputed[2][name], buffers[name]) for name in buffers)  # running statistics updated once
    assert torch.equal(recomputed[3], drawn)
    assert recomputed[4] < (0.99 if towers == "text" else 0.9) * saved_bytes  # the texts are small here


def test_both_saves_less_than_half_the_bytes():
    words = (torch.randint(5, 40, (2, 24)), torch.ones(2, 24, dtype=torch.bool), torch.zeros(2, 24, dtype=torch.long))
    words_BK = torch.tensor([[24.0, 24.0]] * 2)
    buckets = text.buckets(*words, words_BK, words_BK > 0)
    saved = {towers: once(model("resnet", towers), buckets)[-1] for towers in ("none", "both")}
    assert saved["both"] < 0.5 * saved["none"]


def test_evaluation_is_unchanged(texts):
    encoders = [model("resnet", towers).eval() for towers in ("none", "both")]
    assert all(map(torch.equal, *(encoder.encode_texts(*texts) for encoder in encoders)))


def test_a_backbone_without_known_layers_is_a_user_error():
    encoder = model("resnet", "none")
    encoder.image.backbone.encoder = torch.nn.Identity()
    with pytest.raises(WeightsError, match=r"train\.recompute: no layers are known in a resnet; set it to none"):
        recompute.enable(encoder, "image")
