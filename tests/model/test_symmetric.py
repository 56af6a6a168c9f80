"""Vertically symmetric kernels: an upside-down picture has upside-down regions."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sentalign.model import image, symmetric
from sentalign.model.pretrained import WeightsError

RESNET = {"layer_type": "bottleneck", "num_channels": 2, "embedding_size": 8, "hidden_sizes": [8, 12, 20]}
RESNET |= {"depths": [1, 2, 1]}


def tower(**settings):
    torch.manual_seed(0)
    options = {"coordinates": "x", "fused_stages": ["stage1"], "vertical_symmetry": True} | settings
    return image.build(None, RESNET | settings.pop("backbone", {}), "stage2", "stage3", 6, **options).double()


@pytest.mark.parametrize("norms", ["batch", "group"])
def test_the_regions_of_an_upside_down_picture_are_upside_down(norms):
    held = tower(norms=norms)
    optimizer = torch.optim.AdamW(held.parameters(), 1e-2)
    for _ in range(3):
        images_B1HW = torch.randn(2, 1, 65, 65, dtype=torch.float64)
        regions_BHWD, global_BD = held(images_B1HW)
        optimizer.zero_grad()
        (regions_BHWD[:, 0].sum() + global_BD.sum()).backward()
        optimizer.step()
    regions_BHWD, global_BD = held(images_B1HW)
    flipped_BHWD, same_BD = held(images_B1HW.flip(2))
    torch.testing.assert_close(flipped_BHWD.flip(1), regions_BHWD)
    torch.testing.assert_close(same_BD, global_BD)
    assert not torch.allclose(held(images_B1HW.flip(3))[0].flip(2), regions_BHWD)  # left and right stay apart


@pytest.mark.parametrize("changed", [{"vertical_symmetry": False}, {"coordinates": "xy", "num_channels": 3}])
def test_without_them_or_with_rows_as_a_channel_they_are_not(changed):
    channels = {"num_channels": changed.pop("num_channels", 2)}
    torch.manual_seed(0)
    options = {"coordinates": "x", "vertical_symmetry": True} | changed
    other = image.build(None, RESNET | channels, "stage2", "stage3", 6, **options).double()
    images_B1HW = torch.randn(2, 1, 65, 65, dtype=torch.float64)
    assert not torch.allclose(other(images_B1HW.flip(2))[0].flip(1), other(images_B1HW)[0], atol=1e-3)


def test_value_and_gradient_are_those_of_a_kernel_of_free_rows():
    """The plain twin: the upper rows of the kernel are parameters, the lower ones are copies."""
    layer = nn.Conv2d(2, 3, (3, 1), stride=2, padding=(1, 0)).double()
    layer.config = None
    symmetric.replace(nn.Sequential(layer))
    images = torch.randn(2, 2, 9, 4, dtype=torch.float64)
    outer, middle = (layer.weight[..., row, :].detach().clone().requires_grad_() for row in (0, 1))
    rows = nn.functional.pad(images, (0, 0, 1, 1))
    expected = sum(
        torch.einsum("bchw,dc->bdhw", rows[:, :, row : row + 9 : 2, ::2], kernel[..., 0])
        for row, kernel in ((0, outer), (1, middle), (2, outer))
    )
    expected = expected + layer.bias[:, None, None]
    found = layer(images)
    torch.testing.assert_close(found, expected)
    probe = torch.randn_like(found)
    (of_layer,) = torch.autograd.grad((found * probe).sum(), [layer.weight])
    of_outer, of_middle = torch.autograd.grad((expected * probe).sum(), [outer, middle])
    # Either outer row is half of the free one, and carries half of its gradient.
    torch.testing.assert_close(of_layer, torch.stack([of_outer / 2, of_middle, of_outer / 2], dim=2))


def test_names_and_the_size_of_the_kernels_stay():
    free, held = tower(vertical_symmetry=False).state_dict(), tower().state_dict()
    assert {name: value.shape for name, value in free.items()} == {name: value.shape for name, value in held.items()}
    kernels = [name for name, value in free.items() if value.ndim == 4 and value.shape[-1] > 1]
    assert len(kernels) == 5
    for name in kernels:
        torch.testing.assert_close(held[name].norm(), free[name].norm())
        torch.testing.assert_close(held[name], held[name].flip(2))


def test_a_backbone_without_convolutions_that_overlap_is_refused():
    dino = {"model_type": "dinov2", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    with pytest.raises(WeightsError, match="vertical_symmetry is for convolutions, and a dinov2 has none that overlap"):
        image.build(None, dino | {"image_size": 28, "patch_size": 14}, "stage1", "stage1", 8, vertical_symmetry=True)
