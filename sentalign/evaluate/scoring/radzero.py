"""One case under RadZero's protocol (docs/method.md), so that its published figures can be put beside others.

In: the score grid of the sentence alone, what a score is multiplied by before the sigmoid, the case. Out: pointing, and
Dice at every threshold. Which threshold is reported is decided over all cases, in `summary`.
"""

# H W grid, h w raster, T thresholds

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sentalign.evaluate.scoring.metrics import Array, Mask, Sorted
from sentalign.evaluate.scoring.target import Target
from sentalign.localize.maps import heatmap
from sharding.pixels import Geometry

THRESHOLDS = np.arange(101) / 100  # of a sigmoid
with np.errstate(divide="ignore"):
    LOGITS = np.log(THRESHOLDS) - np.log1p(-THRESHOLDS)  # sigmoid(x) > t is x > logit(t); -inf and inf at the ends


def pointing(grid_HW: Array, geometry: Geometry, target: Target) -> float:
    """1 if the peak pixel (x, y) lies in the first box, edges included; other boxes of the phrase do not count.

    A constant map has no peak and counts 0.
    """
    peak = heatmap.peak(grid_HW, geometry)
    x, y, width, height = target.boxes[0]
    return 0.0 if peak is None else float(x <= peak[0] <= x + width and y <= peak[1] <= y + height)


def dice(
    grid_HW: Array, geometry: Geometry, raster: tuple[Array, Array], mask_hw: Mask, scale: float
) -> NDArray[np.float64]:
    """Dice (T,) of {sigmoid(scale · map) > threshold} with the target on a raster; an empty prediction has 0."""
    map_hw = heatmap.bilinear(grid_HW, *heatmap.original_taps(geometry, heatmap.shape(grid_HW), *raster))
    return Sorted(scale * map_hw, mask_hw).overlap(LOGITS)[1]
