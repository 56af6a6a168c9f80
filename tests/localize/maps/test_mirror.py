"""The mirrored picture: a tower that treats both alike yields the identical grid, at even, odd and padded sizes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from sentalign.localize.maps.mirror import Mirror
from sentalign.model.receptive_field import RegionGrid
from sharding.pixels import letterbox

RNG = np.random.default_rng(0)
# Side, stride and centre of the first region: a ResNet's stages 2 and 3, a ViT of patches of 14, odd and even sizes.
GRIDS = [(128, 8, 0.5), (129, 8, 0.5), (224, 16, 0.5), (299, 16, 0.5), (129, 16, 0.5), (224, 14, 7.0), (224, 8, 4.0)]


def symmetric_tower(stride: int, offset: float) -> nn.Conv2d:
    """One convolution with a kernel that is its own mirror image, its regions at `offset` + `stride` · i."""
    size = 5 if offset % 1 else 4
    tower = nn.Conv2d(1, 1, size, stride, padding=2 if offset == 0.5 else 0, bias=False).double()
    kernel = torch.from_numpy(RNG.random((1, 1, size, size)))
    tower.weight.data = kernel + kernel.flip(3)
    return tower


def regions(tower: nn.Conv2d, image_SS: np.ndarray, offset: float) -> np.ndarray:
    image_11SS = torch.from_numpy(image_SS)[None, None]
    if offset != 0.5:  # 4 x 4 pixels in the middle of each patch
        first = int(offset) - 2
        image_11SS = image_11SS[:, :, first:, first:]
    return tower(image_11SS)[0, 0].detach().numpy()


def pictures(size: int):
    """A picture that fills the input, and one that is letterboxed; black as the letterbox is."""
    wide, tall = (RNG.integers(0, 255, shape, dtype=np.uint8) for shape in ((60, 97), (90, 61)))
    for grey_HW in (wide, tall):
        yield letterbox(grey_HW, size)[0] / 127.5 - 1
    yield letterbox(wide, size, size - 32)[0] / 127.5 - 1


@pytest.mark.parametrize(("size", "stride", "offset"), GRIDS)
def test_an_equivariant_tower_yields_the_identical_grid(size, stride, offset):
    tower, mirror = symmetric_tower(stride, offset), Mirror.of(RegionGrid(stride, offset), size)
    assert abs(mirror.shift) <= stride / 2
    for number, image_SS in enumerate(pictures(size)):
        plain_HW = regions(tower, image_SS, offset)
        mirrored_11SS = mirror.image(torch.from_numpy(image_SS)[None, None])
        mirrored_HW = regions(tower, mirrored_11SS[0, 0].numpy(), offset)
        # Padding of a convolution is 0, of the letterbox -1: the outermost regions see either.
        inner = slice(2, -2)
        mean_HW = mirror.mean(plain_HW, mirrored_HW)
        assert np.abs(mean_HW - plain_HW)[:, inner].max() < 1e-12, number
        assert plain_HW[:, inner].std() > 0.01


@pytest.mark.parametrize(("size", "shift"), [(128, 1), (129, 0), (224, 1), (299, 6)])
def test_regions_of_both_pictures_are_centred_on_the_same_pixels(size, shift):
    """Every pixel is marked by itself; the regions are read off at their centres."""
    stride = 8 if size < 200 else 16
    mirror = Mirror.of(RegionGrid(stride, 0.5), size)
    assert mirror.shift == shift
    columns = torch.arange(size, dtype=torch.float64).expand(1, 1, size, size)
    plain_HW, mirrored_HW = columns[0, 0, ::stride, ::stride], mirror.image(columns)[0, 0, ::stride, ::stride]
    mean_HW = mirror.mean(plain_HW.numpy(), mirrored_HW.numpy())
    assert np.array_equal(mean_HW, plain_HW.numpy())


def test_the_mean_is_taken_column_by_column():
    """A slow loop: region i of the picture is region last - i of the mirrored one, if that exists."""
    for width, last in ((6, 5), (6, 6), (6, 4), (1, 0)):
        plain, mirrored = RNG.random((2, 3, width))
        expected = plain.copy()
        for column in range(width):
            if 0 <= last - column < width:
                expected[:, column] = (plain[:, column] + mirrored[:, last - column]) / 2
        assert np.allclose(Mirror(0, last).mean(plain, mirrored), expected)
