"""Where the regions of a backbone lie: the stride of its grid, and where the receptive field of a region is centred.

In: a backbone and the side of its square input. Out: a `RegionGrid` of each stage, from the kernels, strides and
paddings of the layers. No weight is read: the layers run on the meta device, which computes shapes only.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

LAYERS = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d, nn.ConstantPad2d)


class RegionGrid(NamedTuple):
    """Along each axis the receptive field of region i is centred on stride · i + offset, in pixels of the input.

    Pixel p covers [p, p + 1): a layer that sees pixel 0 alone has the offset 0.5.
    """

    stride: int
    offset: float


def region_grid(backbone: Any, stage: str, size: int) -> RegionGrid:
    """The grid of the regions that a stage makes of a (size, size) input."""
    return stage_grids(backbone, size)[stage][0]


def stage_grids(backbone: Any, size: int) -> dict[str, tuple[RegionGrid, int]]:
    """The grid of each output stage of a (size, size) input, and its number of rows.

    Residual branches share their grid, so the number of rows identifies the grid of a map. A number that no layer put
    out is that of a map padded at its end; if it is that of the regions, they merge cells of a finer map (Swin).
    """
    grids = {size: RegionGrid(1, 0.5)}

    def record(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        unpadded = max(known for known in grids if known <= inputs[0].shape[2])
        grids.setdefault(output.shape[2], _after(layer, grids[unpadded]))

    with torch.device("meta"):
        probe = type(backbone)(backbone.config).eval()
        images = torch.zeros(1, backbone.config.num_channels, size, size)
    for layer in probe.modules():
        if isinstance(layer, LAYERS):
            layer.register_forward_hook(record)
    rows = {s: m.shape[2] for s, m in zip(probe.out_features, probe(images).feature_maps, strict=True)}
    return {stage: (_of_rows(rows[stage], grids), rows[stage]) for stage in rows}


def _of_rows(rows: int, grids: dict[int, RegionGrid]) -> RegionGrid:
    finer = min(known for known in grids if known >= rows)
    (stride, offset), merged = grids[finer], round(finer / rows)
    return RegionGrid(stride * merged, offset + stride * (merged - 1) / 2)


def _after(layer: nn.Module, grid: RegionGrid) -> RegionGrid:
    """The grid after one more layer, whose first output sees inputs -padding .. dilation · (kernel - 1) - padding."""
    names = ("kernel_size", "stride", "dilation", "padding")
    kernel, stride, dilation, padding = (_rows(getattr(layer, name, 1)) for name in names)
    centre = dilation * (kernel - 1) / 2 - padding
    return RegionGrid(grid.stride * stride, grid.offset + grid.stride * centre)


def _rows(value: Any) -> int:
    """The entry for rows of an int, (rows, columns) or ConstantPad2d's (left, right, top, bottom)."""
    return value if isinstance(value, int) else value[-2]
