"""What a map is to find on a picture: boxes, or a mask of pixels.

In: boxes or masks in pixels of the annotated picture. Out: which points they cover. Nothing is scored here.
"""

# N boxes, H W rows and columns of the picture, h w of some points

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sentalign.evaluate.scoring.metrics import Array, Mask, box_mask


class Target(Protocol):
    """The true region of a case."""

    @property
    def boxes(self) -> Array:
        """Its boxes (N, 4), x y width height; of a mask, those around its connected parts."""

    def covers(self, rows_h: Array, columns_w: Array) -> Mask:
        """Whether it covers each point of a raster (h, w), in pixels of the picture: pixel i is [i, i + 1)."""

    def scaled(self, x: float, y: float) -> Self:
        """The same on a picture of x times the columns and y times the rows."""

    def within(self, rows: int, columns: int) -> tuple[Self, int]:
        """What lies in a picture of that size, and how many boxes were cut; without a box where nothing does."""


@dataclass(frozen=True)
class Boxes:
    """The union of boxes; edges may be fractions of a pixel."""

    boxes: Array

    def covers(self, rows_h: Array, columns_w: Array) -> Mask:
        """See `Target`."""
        return box_mask(self.boxes, rows_h, columns_w)

    def scaled(self, x: float, y: float) -> Boxes:
        """See `Target`."""
        return Boxes(self.boxes * np.array([x, y, x, y]))

    def within(self, rows: int, columns: int) -> tuple[Boxes, int]:
        """See `Target`."""
        corners_N2 = self.boxes[:, :2], self.boxes[:, :2] + self.boxes[:, 2:]
        start_N2, end_N2 = (np.clip(corner_N2, 0, (columns, rows)) for corner_N2 in corners_N2)
        cut_N4 = np.concatenate([start_N2, end_N2 - start_N2], axis=1)
        # Less than a thousandth of a pixel is the rounding of a scale.
        beyond = int((np.abs(cut_N4 - self.boxes) > 1e-3).any(axis=1).sum())
        return (Boxes(cut_N4[(cut_N4[:, 2:] > 0).all(axis=1)]), beyond) if beyond else (self, 0)


@dataclass(frozen=True)
class PixelMask:
    """The pixels of a mask, of a picture that may have `scale` (x, y) times its columns and rows.

    A set of masks is held in memory, eight pixels a byte (np.packbits).
    """

    bits: NDArray[np.uint8]
    shape: tuple[int, int]
    scale: tuple[float, float] = (1.0, 1.0)

    @classmethod
    def of(cls, mask_HW: NDArray[np.bool_]) -> Self:
        """The mask of a picture of its own size."""
        height, width = mask_HW.shape
        return cls(np.packbits(mask_HW), (height, width))

    def pixels(self) -> NDArray[np.bool_]:
        """The mask itself (H, W)."""
        return np.unpackbits(self.bits, count=self.shape[0] * self.shape[1]).reshape(self.shape).astype(bool)

    @cached_property
    def boxes(self) -> Array:
        """Around each connected part; pixels that touch at a corner are connected."""
        numbered_HW, _ = ndimage.label(self.pixels(), np.ones((3, 3)))
        parts = [(c.start, r.start, c.stop - c.start, r.stop - r.start) for r, c in ndimage.find_objects(numbered_HW)]
        return np.array(parts, float).reshape(-1, 4) * (*self.scale, *self.scale)

    def covers(self, rows_h: Array, columns_w: Array) -> Mask:
        """See `Target`."""
        (height, width), pixels_HW = self.shape, self.pixels()
        row_h, column_w = (np.floor(np.divide(p, s)) for p, s in ((rows_h, self.scale[1]), (columns_w, self.scale[0])))
        inside_hw = ((row_h >= 0) & (row_h < height))[:, None] & ((column_w >= 0) & (column_w < width))
        index = np.ix_(np.clip(row_h, 0, height - 1).astype(int), np.clip(column_w, 0, width - 1).astype(int))
        return np.asarray(pixels_HW[index] & inside_hw)

    def scaled(self, x: float, y: float) -> PixelMask:
        """See `Target`."""
        return PixelMask(self.bits, self.shape, (self.scale[0] * x, self.scale[1] * y))

    def within(self, rows: int, columns: int) -> tuple[PixelMask, int]:
        """See `Target`: a mask is stretched over the picture and never reaches beyond it."""
        return self, 0
