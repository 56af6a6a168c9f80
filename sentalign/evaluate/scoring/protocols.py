"""One case under the clean and the paper protocol (docs/method.md: evaluation protocols), and by `radzero` the third.

In: score grids, the geometries from the original pixels to them, a target in original pixels. Out: one number per
metric. The model and every control are scored by this code.

clean   the whole image, the letterbox undone. Pointing is exact on the original pixels (the peak of the full-resolution
        map, computed without that map). Average precision and IoU: the map sampled on a raster of the original with a
        long side of at most 256, at its pixel centres, the target taken at the same points; IoU on the min-max map at
        the published thresholds. A box, or a part of a mask, that holds no such point gets the pixel at its centre.
paper   `heatmap.paper_map`; the target taken through the letterbox to the same 224 x 224, its central 7/8 scored. A
        case whose target lies wholly outside that centre, or fills it, has no value there: NaN, counted.
        A grid is scored where its cells lie (`paper`), or as published, stretched over the input (`stretched`).
"""

# H W grid, h w raster, N boxes

from __future__ import annotations

import numpy as np

from sentalign.evaluate.scoring import radzero
from sentalign.evaluate.scoring.metrics import THRESHOLDS, Array, Mask, Sorted, box_mask, cnr
from sentalign.evaluate.scoring.target import Target
from sentalign.localize.maps import heatmap
from sharding.pixels import Geometry

CLEAN_SIDE = 256
CLEAN = ("pointing", "average_precision", "iou")
PAPER = ("cnr", "miou", "dice")
METRICS = CLEAN + PAPER


class Scorer:
    """Scores grids against the target of one case; what depends only on the case is computed once."""

    def __init__(
        self, geometry: Geometry, target: Target, regions: tuple[int, int], square: Geometry | None = None
    ) -> None:
        """`geometry` leads to the square of the cells, `square` (None: the same) to the network's input.

        `regions` are the rows and columns of the model's own grid; the grids that are scored may have more.
        """
        assert len(target.boxes), "a case has at least one box"
        self._geometry, self._square, self._regions = geometry, square or geometry, regions
        self._target = target
        self._raster = heatmap.raster(geometry, CLEAN_SIDE)
        self._clean_hw = clean_mask(target, geometry, *self._raster)
        self._paper_hw = paper_mask(target, self._square)

    def __call__(self, grid_HW: Array, stretched_HW: Array | None = None) -> dict[str, float]:
        """All `METRICS` of a grid; the paper ones of `stretched_HW`, as published, where one is given."""
        paper = self.paper(grid_HW) if stretched_HW is None else self.stretched(stretched_HW)
        return self.clean(grid_HW) | paper

    def radzero(self, grid_HW: Array, scale: float) -> tuple[float, Array]:
        """Pointing and Dice at every threshold under RadZero's protocol (see `radzero`)."""
        curve_T = radzero.dice(grid_HW, self._geometry, self._raster, self._clean_hw, scale)
        return radzero.pointing(grid_HW, self._geometry, self._target), curve_T

    def clean(self, grid_HW: Array) -> dict[str, float]:
        """The clean protocol's metrics of one grid."""
        taps = heatmap.original_taps(self._geometry, heatmap.shape(grid_HW), *self._raster)
        signed = Sorted(heatmap.to_signed(heatmap.bilinear(grid_HW, *taps)), self._clean_hw)
        iou_T, _ = signed.overlap(THRESHOLDS)
        pointing = hit(heatmap.peak(grid_HW, self._geometry), self._target)
        values = (pointing, signed.average_precision(), iou_T.mean())
        return {name: float(value) for name, value in zip(CLEAN, values, strict=True)}

    def paper(self, grid_HW: Array) -> dict[str, float]:
        """The paper protocol's metrics of a grid over the square of its cells."""
        return self._paper(grid_HW, self._geometry)

    def stretched(self, grid_HW: Array) -> dict[str, float]:
        """The paper protocol's metrics of a grid that is stretched over the network's input."""
        return self._paper(grid_HW, self._square)

    def cnr(self, grid_HW: Array) -> float:
        """`paper`'s cnr alone."""
        return cnr(self._paper_map(grid_HW, self._geometry), self._paper_hw) if self._has_paper else float("nan")

    def _paper(self, grid_HW: Array, frame: Geometry) -> dict[str, float]:
        """NaN where the scored centre holds nothing of the target or nothing else."""
        if not self._has_paper:
            return dict.fromkeys(PAPER, float("nan"))
        map_hw = self._paper_map(grid_HW, frame)
        iou_T, dice_T = Sorted(map_hw, self._paper_hw).overlap(THRESHOLDS)
        values = (cnr(map_hw, self._paper_hw), iou_T.mean(), dice_T.mean())
        return {name: float(value) for name, value in zip(PAPER, values, strict=True)}

    @property
    def _has_paper(self) -> bool:
        return bool(self._paper_hw.any()) and not self._paper_hw.all()

    def _paper_map(self, grid_HW: Array, frame: Geometry) -> Array:
        return heatmap.paper_map(grid_HW, frame, self._square, len(grid_HW) / self._regions[0])


def hit(peak: tuple[int, int] | None, target: Target) -> float:
    """The pointing game: 1 if the target covers the centre of the peak pixel (x, y), else 0.

    A constant map has no peak and counts 0.
    """
    return 0.0 if peak is None else float(target.covers(np.array([peak[1] + 0.5]), np.array([peak[0] + 0.5]))[0, 0])


def clean_mask(target: Target, geometry: Geometry, rows_h: Array, columns_w: Array) -> Mask:
    """The target on a raster of the original; a box or part between its points gets the one nearest to its centre."""
    mask_hw = target.covers(rows_h, columns_w)
    for x, y, width, height in target.boxes:
        if (mask_hw & box_mask(np.array([[x, y, width, height]]), rows_h, columns_w)).any():
            continue
        row = int(np.clip((y + height / 2) / geometry.rows * len(rows_h), 0, len(rows_h) - 1))
        column = int(np.clip((x + width / 2) / geometry.columns * len(columns_w), 0, len(columns_w) - 1))
        mask_hw[row, column] = True
    return mask_hw


def paper_mask(target: Target, geometry: Geometry) -> Mask:
    """The target on the central 7/8 of the square, (196, 196)."""
    centres = np.arange(*heatmap.PAPER_SCORED, dtype=float) + 0.5
    of_side = np.array([geometry.width, geometry.height]) / heatmap.PAPER_SIDE
    columns, rows = geometry.to_original(np.stack([centres, centres], axis=1) * of_side).T
    return target.covers(rows, columns)
