"""A grid of scores → a map on the original pixels, its peak, and the map of the published protocol.

In: the score grid of one sentence, and the `Geometry` from the original pixels to the square that the grid covers
(`cells_geometry`). Out: maps, the exact peak. The scores are computed in `predict` and evaluated in sentalign.evaluate.

Convention: half-pixel centres. Cell i of G covers [i, i + 1) · S / G of a square of side S and holds the score at its
centre; between centres the map is bilinear, beyond the outermost centres it is constant.
"""

# G, H, W cells of the grid (one axis; rows, columns), N positions, h w rows and columns of a map

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sharding.pixels import Geometry

Array = NDArray[np.float64]

PAPER_SIGMA = 1.5
PAPER_SIDE = 224
PAPER_SCORED = (14, 210)  # the central 7/8 of 224
# A range below this share of the largest value is rounding of a constant map, not a map.
FLAT = 1e-6


class Taps(NamedTuple):
    """The cells that positions along one axis interpolate: (1 - share) of `low` plus share of `high`, each (N,)."""

    low_N: NDArray[np.int64]
    high_N: NDArray[np.int64]
    share_N: Array


def cells_geometry(letterbox: Geometry, stride: int, offset: float, cells: int) -> Geometry:
    """From the original pixels to the square of `cells` x `cells` cells, each centred on what its region sees.

    `letterbox` leads to the network's input, where region i is centred on stride · i + offset. The square need not be
    the input: a 299 pixel input of a ResNet has 19 regions, 16 pixels apart, the first one centred on its first pixel.
    """
    shift, side = stride / 2 - offset, stride * cells
    pad = (letterbox.pad[0] + shift, letterbox.pad[1] + shift)
    return replace(letterbox, pad=pad, height=side, width=side)


def axis_taps(positions_N: Array, cells: int) -> Taps:
    """The taps of positions in cells (0: outer edge of the first cell, `cells`: outer edge of the last)."""
    centred_N = np.clip(np.asarray(positions_N, float) - 0.5, 0, cells - 1)
    low_N = np.minimum(centred_N.astype(np.int64), max(cells - 2, 0))
    return Taps(low_N, np.minimum(low_N + 1, cells - 1), centred_N - low_N)


def bilinear(grid_HW: Array, rows: Taps, columns: Taps) -> Array:
    """The grid interpolated at `rows` (h,) x `columns` (w,): (h, w).

    Two taps per axis instead of matrix products, which at this size spend most of their time waiting for threads.
    """
    grid_HW = np.asarray(grid_HW, float)
    down_hW = grid_HW[rows.low_N] * (1 - rows.share_N)[:, None] + grid_HW[rows.high_N] * rows.share_N[:, None]
    low_hw, high_hw = down_hW.take(columns.low_N, axis=1), down_hW.take(columns.high_N, axis=1)
    return low_hw * (1 - columns.share_N) + high_hw * columns.share_N


def original_taps(geometry: Geometry, grid: tuple[int, int], rows_h: Array, columns_w: Array) -> tuple[Taps, Taps]:
    """The taps of the grid at original coordinates `rows_h` x `columns_w`; the axes are independent."""
    ys = geometry.to_output(np.stack([np.zeros_like(rows_h), rows_h], axis=1))[:, 1]
    xs = geometry.to_output(np.stack([columns_w, np.zeros_like(columns_w)], axis=1))[:, 0]
    height, width = grid
    return axis_taps(ys * height / geometry.height, height), axis_taps(xs * width / geometry.width, width)


def raster(geometry: Geometry, long_side: int | None) -> tuple[Array, Array]:
    """Original coordinates (rows (h,), columns (w,)) of the pixel centres of the original, or of a smaller raster.

    With `long_side` the raster has at most that many pixels on its long side, never more than the original, and its
    pixels are equal parts of the original.
    """
    share = 1.0 if long_side is None else min(1.0, long_side / max(geometry.rows, geometry.columns))
    height, width = max(1, round(geometry.rows * share)), max(1, round(geometry.columns * share))
    rows_h = (np.arange(height) + 0.5) * geometry.rows / height
    columns_w = (np.arange(width) + 0.5) * geometry.columns / width
    return rows_h, columns_w


def clean_map(grid_HW: Array, geometry: Geometry, long_side: int | None = None) -> Array:
    """The map (h, w) on the original pixels, the letterbox undone exactly (docs/method.md: evaluation protocols).

    `long_side` samples the same function on a coarser raster, for display; None gives every original pixel.
    """
    rows_h, columns_w = raster(geometry, long_side)
    return bilinear(grid_HW, *original_taps(geometry, shape(grid_HW), rows_h, columns_w))


def shape(grid_HW: Array) -> tuple[int, int]:
    """Rows and columns of a grid."""
    height, width = grid_HW.shape
    return height, width


def is_flat(values: Array) -> bool:
    """Whether a map is constant up to rounding: it then has no peak and predicts nothing."""
    low, high = float(np.min(values)), float(np.max(values))
    return high - low <= FLAT * max(abs(low), abs(high))


def peak(grid_HW: Array, geometry: Geometry) -> tuple[int, int] | None:
    """The original pixel (x, y) with the highest value of the full-resolution map; None where the map is constant.

    Exact without computing that map: between two cell centres a bilinear function is linear along each axis, so its
    maximum over the pixels between them is at the first or the last one; only these are evaluated. Of equal values the
    first in reading order wins; a border pixel wins only over smaller ones.
    """
    rows, columns, values = _candidates(grid_HW, geometry)
    if is_flat(values):
        return None
    row, column = np.unravel_index(int(values.argmax()), values.shape)
    return int(columns[column]), int(rows[row])


def highest(grid_HW: Array, geometry: Geometry) -> float:
    """The highest value of the full-resolution map, that of its peak, without computing that map."""
    return float(_candidates(grid_HW, geometry)[2].max())


def _candidates(grid_HW: Array, geometry: Geometry) -> tuple[Array, Array, Array]:
    """Rows and columns of the original pixels of which one is the peak, and the map at all their crossings."""
    rows, columns = _corners(geometry, shape(grid_HW))
    values = bilinear(grid_HW, *original_taps(geometry, shape(grid_HW), rows + 0.5, columns + 0.5))
    return rows, columns, values


def _corners(geometry: Geometry, grid: tuple[int, int]) -> tuple[Array, Array]:
    """Rows and columns of the original pixels on both sides of each cell centre, then the border pixels."""
    height, width = grid
    centres_y = (np.arange(height) + 0.5) * geometry.height / height
    centres_x = (np.arange(width) + 0.5) * geometry.width / width
    ys = geometry.to_original(np.stack([np.zeros(height), centres_y], axis=1))[:, 1]
    xs = geometry.to_original(np.stack([centres_x, np.zeros(width)], axis=1))[:, 0]
    return _beside(ys, geometry.rows), _beside(xs, geometry.columns)


def _beside(centres_G: Array, size: int) -> Array:
    first = np.floor(centres_G - 0.5)
    inner = np.stack([first, first + 1], axis=1).ravel()
    inside = inner[(inner >= 0) & (inner < size)]
    # A dict, not np.unique: the border pixels stay last.
    return np.array(list(dict.fromkeys([*inside.tolist(), 0.0, float(size - 1)])))


def paper_map(grid_HW: Array, frame: Geometry, square: Geometry, sub_cells: float = 1) -> Array:
    """The scored map (196, 196) of the published protocol, in [-1, 1] (docs/method.md: evaluation protocols).

    Gaussian of sigma 1.5 cells on the grid (scipy, mode "reflect"), bilinear to 224 x 224 pixels of `square`, the
    network's input, with half-pixel centres, the central 7/8 of it, min-max over that centre. The grid covers `frame`;
    the published reading takes it to be the input itself. A finer grid has `sub_cells` per cell along each axis, so
    that all are smoothed alike. A constant map becomes -1 everywhere, below every threshold.
    """
    low, high = PAPER_SCORED
    smooth_HW = ndimage.gaussian_filter(np.asarray(grid_HW, float), PAPER_SIGMA * sub_cells, mode="reflect")
    shares = (np.arange(low, high) + 0.5) / PAPER_SIDE
    points_N2 = square.to_original(np.stack([shares * square.width, shares * square.height], axis=1))
    return to_signed(bilinear(smooth_HW, *original_taps(frame, shape(grid_HW), points_N2[:, 1], points_N2[:, 0])))


def to_signed(map_hw: Array) -> Array:
    """Min-max to [-1, 1]; a constant map becomes -1."""
    if is_flat(map_hw):
        return np.full(map_hw.shape, -1.0)
    low, high = float(map_hw.min()), float(map_hw.max())
    return (map_hw - low) * (2.0 / (high - low)) - 1.0
