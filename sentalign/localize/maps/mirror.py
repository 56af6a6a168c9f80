"""The mirrored picture: its regions lie exactly on those of the picture itself.

In: the grid of the regions, network inputs, score grids. Out: mirrored inputs, and the mean of two score grids. The
sentence of the mirrored picture has left and right exchanged (`sentalign.sides`); `predict` asks both.
"""

# B images, S side of the network input, H W grid

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor
from torch.nn.functional import pad

from sentalign.localize.maps.heatmap import Array
from sentalign.model.receptive_field import RegionGrid

BLACK = -1.0  # of the letterbox


class Mirror(NamedTuple):
    """The mirrored input is moved right by `shift` pixels; region i of the picture is its region `last` - i."""

    shift: int
    last: int

    @classmethod
    def of(cls, grid: RegionGrid, size: int) -> Mirror:
        """The smallest shift that puts the centres of the mirrored regions on those of the picture.

        Without it they lie at size - stride · i - offset, off the grid by a pixel at 224 (a ResNet's first region is
        centred on pixel 0, no region on the last one), by 6 at 299, by none at 129.
        """
        last = math.floor((size - 2 * grid.offset) / grid.stride + 0.5)
        return cls(round(grid.stride * last + 2 * grid.offset) - size, last)

    def image(self, images_B1SS: Tensor) -> Tensor:
        """The mirrored inputs; a strip of `shift` pixels is lost at one end and black at the other."""
        return pad(images_B1SS.flip(3), (self.shift, -self.shift), value=BLACK)

    def mean(self, plain_HW: Array, mirrored_HW: Array) -> Array:
        """The mean of the picture's grid and of the mirrored picture's, flipped back.

        Outermost columns that the mirrored picture does not have are those of the picture alone.
        """
        width = plain_HW.shape[1]
        low, high = max(0, self.last - width + 1), min(width, self.last + 1)
        mean_HW = plain_HW.copy()
        mean_HW[:, low:high] += mirrored_HW[:, ::-1][:, low - self.last + width - 1 : high - self.last + width - 1]
        mean_HW[:, low:high] /= 2
        return mean_HW
