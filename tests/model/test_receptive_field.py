"""Where regions lie: the claimed centres against the pixels that move a region, measured by its gradient."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from sentalign.model import image

SIZES = (128, 129, 192, 224, 289, 299)
RESNET = {"embedding_size": 8, "hidden_sizes": [8] * 4, "hidden_act": "linear"}
BASIC = {"model_type": "resnet", "layer_type": "basic", "depths": [1, 1, 1, 1], **RESNET}
BOTTLENECK = {"model_type": "resnet", "layer_type": "bottleneck", "depths": [2, 1, 1, 1], **RESNET}
CONVNEXT = {"model_type": "convnext", "hidden_sizes": [8] * 4, "depths": [1] * 4}
# With so small a layer scale the attention, which sees the whole picture, adds nothing to a patch.
DINO = {"model_type": "dinov2", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "layerscale_value": 1e-6}  # fmt: skip
TOWERS = [
    *((BASIC, "stage3", size, ()) for size in SIZES),
    *((DINO, "stage1", size, ()) for size in SIZES),
    (BASIC, "stage2", 129, ()),
    (BOTTLENECK, "stage3", 299, ()),
    (CONVNEXT, "stage2", 299, ()),
    # Larger maps are averaged, smaller ones interpolated; neither may move a centre.
    *((BASIC, "stage3", size, ("stage1", "stage2")) for size in (128, 129, 224, 299)),
    *((BASIC, "stage2", size, ("stage3", "stage1")) for size in (128, 129, 224, 299)),
    (BASIC, "stage1", 224, ("stage2",)),
    (CONVNEXT, "stage2", 299, ("stage1", "stage3")),
    (CONVNEXT, "stage2", 224, ("stage1", "stage3")),
    (DINO | {"num_hidden_layers": 3}, "stage3", 224, ("stage1", "stage2")),
]
MARGIN = 64  # a multiple of the strides, wider than half a receptive field


@dataclass
class Measured:
    """The regions (N, G, G, D) of random images, and the |gradient| (H, W) of each cell on the diagonal."""

    regions: torch.Tensor
    images: torch.Tensor

    def weight(self, cell):
        score = self.regions[:, cell, cell].sum()
        (gradient,) = torch.autograd.grad(score, self.images, retain_graph=True)
        return gradient.abs().sum(dim=(0, 1))


def measured(tower, images):
    images = images.clone().requires_grad_()
    return Measured(tower(images)[0], images)


def centroid(weight_HW):
    rows, columns = (torch.arange(side) + 0.5 for side in weight_HW.shape)
    return [float((weight_HW.sum(1) * rows).sum() / weight_HW.sum()),
            float((weight_HW.sum(0) * columns).sum() / weight_HW.sum())]  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "stage", "size", "fused"),
    TOWERS,
    ids=["-".join([s["model_type"], stage, str(size), *fused]) for s, stage, size, fused in TOWERS],
)
def test_a_region_is_centred_on_what_moves_it(settings, stage, size, fused):
    """The border cuts the receptive fields of outer cells, so centroids are measured on the image inside a larger one.

    The cells of both correspond: the middle ones have the same vector, and a border cell of the small image sees
    exactly those rows and columns of the larger receptive field that lie in the small image.
    """
    margin = 0 if settings["model_type"] == "dinov2" else MARGIN  # a patch has no border
    torch.manual_seed(size)
    tower = image.build(None, {"num_channels": 1, **settings}, stage, stage, 8, fused_stages=fused).eval()
    inner = slice(margin, margin + size)
    surrounded = torch.randn(8, 1, size + 2 * margin, size + 2 * margin)
    large, small = measured(tower, surrounded), measured(tower, surrounded[:, :, inner, inner])
    cells = small.regions.shape[2]
    before, middle = (large.regions.shape[2] - cells) // 2, cells // 2
    torch.testing.assert_close(
        small.regions[:, middle, middle], large.regions[:, before + middle, before + middle], atol=1e-4, rtol=1e-3
    )
    grid = tower.region_grid(size)
    for cell in (0, middle, cells - 1):
        weight_HW = large.weight(before + cell)
        expected = margin + grid.stride * cell + grid.offset
        assert centroid(weight_HW) == pytest.approx([expected] * 2, abs=1.2)
        if settings["model_type"] == "resnet":
            for axis in (0, 1):
                assert torch.equal(small.weight(cell).sum(axis) > 0, weight_HW[inner, inner].sum(axis) > 0)


@pytest.mark.parametrize("size", [192, 289])
@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        # Swin pads at the end and merges 2 x 2 cells without a convolution.
        ({"model_type": "swin", "embed_dim": 8, "num_heads": [1] * 4}, (16, 8.0)),
        # BiT pads in a layer of its own before it pools.
        ({"model_type": "bit", "depths": [1] * 3, "num_groups": 4, **RESNET, "hidden_sizes": [8, 16, 32]}, (16, 0.5)),
    ],
)
def test_merged_patches_and_padding_layers(settings, expected, size):
    tower = image.build(None, settings, "stage3", "stage3", 8)
    assert tower.region_grid(size) == expected


def test_weights_statistics_and_random_numbers_do_not_change():
    tower = image.build(None, BASIC, "stage2", "stage3", 8).train()
    rng, before = torch.get_rng_state(), {name: value.clone() for name, value in tower.state_dict().items()}
    assert tower.region_grid(64) == (8, 0.5)
    assert tower.backbone.training
    assert torch.equal(torch.get_rng_state(), rng)
    assert all(torch.equal(value, before[name]) for name, value in tower.state_dict().items())
