"""Controls: maps that read no sentence, and sentences that are wrong for the image.

In: pictures, boxes, phrases. Out: score grids on the model's own grid, and sentences to query instead of the right one.
`protocols` scores them like the model's. No model here.
"""

# N cases, P sub-positions along one axis, H W cells of the grid, h w rows and columns of a picture

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sentalign.evaluate.scoring.metrics import Array
from sentalign.evaluate.scoring.target import Target
from sharding.pixels import Geometry, Picture, shrink

SALIENCY_SIDE = 224
SCALES = (2, 4, 8)  # Gaussian sigma in pixels of a picture 224 pixels long
SUB = 8  # sub-positions of a cell along each axis


def shuffle(images: Sequence[str], seed: int) -> NDArray[np.int64]:
    """For each case (N,) the number of a case of a DIFFERENT image, whose phrase replaces its own; -1 for none.

    A permutation: images in random order, the cases of each together in random order, then a cyclic shift by the
    largest number of cases of an image, so that no case gets one of its own image. Some do, and get -1, when one image
    holds more than half of the cases.
    """
    names, image_N, counts = np.unique(np.asarray(images, dtype=str), return_inverse=True, return_counts=True)
    rng = np.random.default_rng(seed)
    # Random within an image too: else the first phrase of one image would replace the first phrase of another.
    order = np.lexsort((rng.random(len(image_N)), rng.permutation(len(names))[image_N]))
    partner_N = np.empty(len(order), np.int64)
    partner_N[order] = np.roll(order, -int(counts.max(initial=0)))
    return np.where(image_N[partner_N] == image_N, -1, partner_N)


def saliency(picture: Picture) -> tuple[dict[str, Array], Geometry]:
    """Text-free maps (h, w) of a picture at most 224 pixels long, and its geometry.

    Intensity (bright, dark), local contrast |I - G(I)| and local standard deviation sqrt(G(I²) - G(I)²) with a Gaussian
    G of 2, 4 and 8 pixels.
    """
    small = shrink(picture, SALIENCY_SIDE)
    grey_hw = small.grey_HW.astype(float)
    maps = {"bright": grey_hw, "dark": 255 - grey_hw}
    for scale in SCALES:
        mean_hw = ndimage.gaussian_filter(grey_hw, scale)
        variance_hw = ndimage.gaussian_filter(grey_hw**2, scale) - mean_hw**2
        maps[f"contrast {scale} px"] = np.abs(grey_hw - mean_hw)
        maps[f"deviation {scale} px"] = np.sqrt(np.maximum(variance_hw, 0))
    return maps, small.geometry


class Cells:
    """The cells of the model's grid as original pixels, each axis at 8 sub-positions a cell."""

    def __init__(self, frame: Geometry, grid: tuple[int, int]) -> None:
        self._frame, self._grid = frame, grid
        self._rows_P = self._axis(1, frame.height, grid[0])
        self._columns_P = self._axis(0, frame.width, grid[1])
        inside = (
            (self._rows_P >= 0) & (self._rows_P < frame.rows),
            (self._columns_P >= 0) & (self._columns_P < frame.columns),
        )
        self._inside_PP = inside[0][:, None] & inside[1]

    def _axis(self, axis: int, extent: int, cells: int) -> Array:
        points = np.zeros((cells * SUB, 2))
        points[:, axis] = (np.arange(cells * SUB) + 0.5) * extent / (cells * SUB)
        return self._frame.to_original(points)[:, axis]

    def mean(self, map_hw: Array, geometry: Geometry) -> Array:
        """A map of the picture of `geometry` averaged over each cell (H, W), without the padding.

        A cell of padding only gets the lowest value, so that no control points beside the picture.
        """
        index = []
        for axis, originals_P, size in ((1, self._rows_P, map_hw.shape[0]), (0, self._columns_P, map_hw.shape[1])):
            points = np.zeros((len(originals_P), 2))
            points[:, axis] = originals_P
            index.append(np.clip(np.floor(geometry.to_output(points)[:, axis]), 0, size - 1).astype(int))
        sums_HW = self._per_cell(map_hw[np.ix_(*index)] * self._inside_PP)
        counts_HW = self._per_cell(self._inside_PP.astype(float))
        means_HW = np.divide(sums_HW, counts_HW, out=np.zeros_like(sums_HW), where=counts_HW > 0)
        means_HW[counts_HW == 0] = means_HW[counts_HW > 0].min()
        return means_HW

    def share(self, target: Target) -> Array:
        """The share of each cell that the target covers (H, W)."""
        return self._per_cell(target.covers(self._rows_P, self._columns_P).astype(float)) / SUB**2

    def centre(self) -> Array:
        """The centre prior (H, W): a Gaussian at the picture's centre, its sigma a quarter of the picture's sides."""
        rows_H = self._rows_P.reshape(-1, SUB).mean(axis=1) / self._frame.rows - 0.5
        columns_W = self._columns_P.reshape(-1, SUB).mean(axis=1) / self._frame.columns - 0.5
        return np.exp(-8 * rows_H[:, None] ** 2 - 8 * columns_W**2)

    def _per_cell(self, values_PP: Array) -> Array:
        height, width = self._grid
        # (H · 8, W · 8) -> (H, 8, W, 8)
        return values_PP.reshape(height, SUB, width, SUB).sum(axis=(1, 3))


def mean_masks(shares_NHW: Array, patients: Sequence[str]) -> Array:
    """For each case the mean mask of all other patients' cases (N, H, W); zero where there is no other patient."""
    _, patient_N = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    members_NN = (patient_N[:, None] != patient_N).astype(float)
    counts_N = np.maximum(members_NN.sum(axis=1), 1)
    return np.einsum("nm,mhw->nhw", members_NN, shares_NHW, optimize=True) / counts_N[:, None, None]
