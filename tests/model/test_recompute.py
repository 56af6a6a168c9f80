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
    made = dual.DualEncoder(image.build(None, KINDS[kind], "stage2", "stage3", 16), words).train()
    recompute.enable(made, towers)
    return made


def once(made, texts):
    """Features, gradients, buffers, and the bytes kept for the backward pass without the parameters."""
    owned = {p.data_ptr() for p in made.parameters()}
    kept = {}

    def keep(tensor):
        if tensor.data_ptr() not in owned:
            kept[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    images = torch.randn(2, 1, 56, 56, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(7)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        features = made(images, *texts)
        held = sum(kept.values())
    sum(f.square().sum() for f in features if f.is_floating_point()).backward()
    gradients = {name: p.grad for name, p in made.named_parameters() if p.grad is not None}
    return [f.detach() for f in features], gradients, dict(made.named_buffers()), torch.rand(1), held


@pytest.mark.parametrize("towers", ["text", "image", "both"])
@pytest.mark.parametrize("kind", KINDS)
def test_all_is_as_without_but_for_the_memory(kind, towers, texts):
    said, exact, buffers, drawn, much = once(model(kind, "none"), texts)
    made, found, moved, drawn_too, less = once(model(kind, towers), texts)
    assert all(map(torch.equal, made, said))
    assert found.keys() == exact.keys()
    assert all(torch.equal(found[name], exact[name]) for name in exact)
    assert all(torch.equal(moved[name], buffers[name]) for name in buffers)  # running statistics moved once
    assert torch.equal(drawn, drawn_too)
    assert less < (0.99 if towers == "text" else 0.9) * much  # the texts are small here


def test_both_keeps_less_than_half():
    words = (torch.randint(5, 40, (2, 24)), torch.ones(2, 24, dtype=torch.bool), torch.zeros(2, 24, dtype=torch.long))
    texts = (*words, torch.tensor([[24.0, 24.0]] * 2))
    held = {towers: once(model("resnet", towers), texts)[-1] for towers in ("none", "both")}
    assert held["both"] < 0.5 * held["none"]


def test_evaluation_is_untouched(texts):
    nets = [model("resnet", towers).eval() for towers in ("none", "both")]
    assert all(map(torch.equal, *(net.encode_texts(*texts) for net in nets)))


def test_a_backbone_without_known_layers_is_the_users_mistake():
    made = model("resnet", "none")
    made.image.backbone.encoder = torch.nn.Identity()
    with pytest.raises(WeightsError, match=r"train\.recompute: no layers are known in a resnet; set it to none"):
        recompute.enable(made, "image")
