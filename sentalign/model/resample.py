"""Maps of one grid brought to the cells of another, without moving their centres.

In: where two stages of a backbone lie on the input. Out: weights for rows or columns, and the map at the other grid.
"""

# B images, C channels, H W rows and columns of the map, G of them at the other grid

from __future__ import annotations

import torch
from torch import Tensor

from sentalign.model.receptive_field import RegionGrid


def weights(target: RegionGrid, cells: int, source: RegionGrid, source_cells: int) -> Tensor:
    """(G, H) along one axis: the share of each source cell in the mean over the area of each of `cells` target cells.

    The area is one target stride wide, at least one source cell, and centred on the target cell: source cells that it
    covers by half count half, so that no centre moves. One source cell wide, this is linear interpolation. Beyond the
    border of the map there is nothing: the mean is over the covered part.
    """
    centres_G1 = (target.stride * torch.arange(cells)[:, None] + target.offset - source.offset) / source.stride
    centres_G1 = centres_G1.clamp(-0.5, source_cells - 0.5)
    half, cell_H = max(target.stride / source.stride, 1) / 2, torch.arange(source_cells)
    covered_GH = torch.minimum(centres_G1 + half, cell_H + 0.5) - torch.maximum(centres_G1 - half, cell_H - 0.5)
    covered_GH = covered_GH.clamp(min=0)
    return covered_GH / covered_GH.sum(dim=1, keepdim=True)


def resample(map_BCHW: Tensor, rows_GH: Tensor, columns_GW: Tensor) -> Tensor:
    """The map at the other grid, (B, C, G, G)."""
    # Channels last, as convolutions on a CPU want it and leave it.
    map_BHWC = map_BCHW.permute(0, 2, 3, 1)
    map_BGWC = (rows_GH @ map_BHWC.flatten(2)).unflatten(2, map_BHWC.shape[2:])
    return (columns_GW @ map_BGWC).permute(0, 3, 1, 2)
