"""Second views of training images, for the losses that compare a sentence's map in two views of one image.

In: augmented images, and where the regions of the network lie on them. Out: `View`s: the image zoomed about its centre,
or blurred outside of small windows, and which cells of its map correspond to which places of the plain map. A view
depends on the seed, the epoch and the sample only (docs/method.md, consistency of maps). The losses are elsewhere.
"""

# b images of this rank, m of a micro-batch, v of them that have a view, H side, G cells of the map along an axis

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sentalign.config import Loss
from sentalign.stream.augment import warp
from sentalign.stream.order.plan import short_draws


class View(NamedTuple):
    """Other views of some images. Cell (y, x) of a view's map is to equal the plain map at places_vGG2[:, y, x]."""

    images_v1HH: Tensor
    places_vGG2: Tensor  # x, y in the coordinates of torch's grid_sample, align_corners=False
    compared_vGG: Tensor  # bool: the cells that take part


class CellGrid(NamedTuple):
    """Cell i of a map of `cells` x `cells` is centred on stride · i + offset, in pixels."""

    stride: int
    offset: float
    cells: int


def has_view(batch: int, share: float, first: int, rows: int, step: int) -> list[bool]:
    """Which of the global batch's rows first .. first + rows - 1 get a view: evenly spread, others in each step.

    Where the number of views divides by the ranks, local row n is chosen on all ranks or on none.
    """
    views = round(batch * share)
    numbers = range(first + step, first + step + rows)
    return [(n + 1) * views // batch > n * views // batch for n in numbers]


@dataclass(frozen=True)
class ViewMaker:
    """The views of a rank's images of one step, made when they are needed."""

    images_b1HH: Tensor
    keys: Sequence[str]
    epochs: Sequence[int]
    has_view: Sequence[bool]
    seed: int
    loss: Loss

    def rows(self, part: slice) -> list[int]:
        """The rows of a micro-batch that have a view, by their number in the rank's batch."""
        return [n for n in range(len(self.keys))[part] if self.has_view[n]]

    def make(self, kind: str, rows: Sequence[int], grid: CellGrid) -> View:
        """View `kind`, rescale or window, of some rows."""
        draws = [short_draws(3, "view", self.seed, self.epochs[n], self.keys[n]) for n in rows]
        images_v1HH = self.images_b1HH[list(rows)]
        if kind == "rescale":
            return rescaled(images_v1HH, [zoom(draw[0], *self.loss.rescale) for draw in draws], grid)
        return windowed(images_v1HH, [(draw[1], draw[2]) for draw in draws], self.loss.window, grid)


def zoom(draw: int, low: float, high: float) -> float:
    """A factor between low and high, uniform in its logarithm, from an integer below 2^64."""
    return float(low * (high / low) ** (draw / 2.0**64))


def rescaled(images_v1HH: Tensor, factors_v: Sequence[float], grid: CellGrid) -> View:
    """Images zoomed about their centre; outside of the image is black. Compared are cells whose place is on the map."""
    factors = np.array(factors_v)
    linear_v22, half = factors[:, None, None] * np.eye(2), images_v1HH.shape[2] / 2
    centres_G = grid.stride * np.arange(grid.cells) + grid.offset
    # In cells of the plain map: 0 is the centre of its first cell.
    cells_vG = (half + (centres_G - half) / factors[:, None] - grid.offset) / grid.stride
    inside_vG = torch.from_numpy((cells_vG > -0.01) & (cells_vG < grid.cells - 0.99)).to(images_v1HH.device)
    places_vG = torch.from_numpy((2 * cells_vG + 1) / grid.cells - 1).to(images_v1HH)
    compared_vGG = inside_vG[:, :, None] & inside_vG[:, None]
    return View(warp(images_v1HH, linear_v22, np.zeros((len(factors), 2))), _places(places_vG), compared_vGG)


def windowed(images_v1HH: Tensor, phases_v2: Sequence[tuple[int, int]], side: float, grid: CellGrid) -> View:
    """Images blurred but for windows around every p-th cell, from a random cell on; compared are these cells.

    A window is `side` cells wide and so is the least gap: p = ceil(2 side). The blur averages over a window.
    """
    period, high = math.ceil(2 * side), images_v1HH.shape[2]
    first_v2 = np.array(phases_v2, np.uint64) % np.uint64(min(period, grid.cells))
    # Distance of each pixel's centre from the nearest chosen cell's centre, in cells.
    pixels_H = ((np.arange(high) + 0.5 - grid.offset) / grid.stride)[None, None] - first_v2[:, :, None]
    distance_v2H = np.abs(pixels_H - period * np.round(pixels_H / period))
    chosen_v2G = (np.arange(grid.cells) - first_v2[:, :, None].astype(np.int64)) % period == 0
    sharp_v2H, chosen = (torch.from_numpy(x).to(images_v1HH.device) for x in (distance_v2H < side / 2, chosen_v2G))
    sharp_v1HH = (sharp_v2H[:, 0, :, None] & sharp_v2H[:, 1, None])[:, None]
    places_G = (2 * torch.arange(grid.cells, device=images_v1HH.device) + 1).to(images_v1HH) / grid.cells - 1
    images = torch.where(sharp_v1HH, images_v1HH, _blurred(images_v1HH, side * grid.stride))
    return View(images, _places(places_G.expand(len(images), -1)), chosen[:, 0, :, None] & chosen[:, 1, None])


def _blurred(images_v1HH: Tensor, pixels: float) -> Tensor:
    """Low-pass: shrunk until `pixels` are one, and enlarged again."""
    high = images_v1HH.shape[2]
    small = F.interpolate(images_v1HH, size=max(1, round(high / pixels)), mode="bilinear", antialias=True)
    return F.interpolate(small, size=high, mode="bilinear")


def _places(along_vG: Tensor) -> Tensor:
    """(v, G, G, 2), x before y, of the same places along both axes."""
    cells = along_vG.shape[1]
    return torch.stack([along_vG[:, None].expand(-1, cells, -1), along_vG[:, :, None].expand(-1, -1, cells)], dim=-1)
