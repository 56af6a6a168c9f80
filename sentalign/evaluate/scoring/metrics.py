"""The metrics of a score map against a mask, each a function of arrays.

In: a map and a mask of the same shape; boxes on a raster. Out: one number, NaN where a metric is undefined. `protocols`
decides which map is scored on which raster.
"""

# h w rows and columns of a raster, N boxes, P pixels, T thresholds

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

# On a map of [-1, 1] (docs/method.md: evaluation protocols); fixed, never tuned on the cases.
THRESHOLDS = np.array([0.1, 0.2, 0.3, 0.4, 0.5])


def cnr(map_hw: Array, mask_hw: Mask) -> float:
    """Signed contrast to noise, (mean_in - mean_out) / sqrt(var_in + var_out), population variances (docs/method.md).

    NaN where there is no pixel inside or none outside. 0 where both variances are 0, so that a constant map scores 0.
    """
    inside_P, outside_P = map_hw[mask_hw], map_hw[~mask_hw]
    if not inside_P.size or not outside_P.size:
        return float("nan")
    noise = float(np.sqrt(inside_P.var() + outside_P.var()))
    return float(inside_P.mean() - outside_P.mean()) / noise if noise > 0 else 0.0


class Sorted:
    """The values of one map, all and those inside the mask, sorted once: each threshold then costs two look-ups."""

    def __init__(self, map_hw: Array, mask_hw: Mask) -> None:
        # float32 sorts several times faster; the grid that a map is interpolated from is float32 too.
        self.all_P = np.sort(map_hw.astype(np.float32), axis=None)
        self.inside_P = np.sort(map_hw[mask_hw].astype(np.float32))

    def overlap(self, thresholds_T: Array) -> tuple[Array, Array]:
        """IoU and Dice (T,) of {map > threshold} with the mask; an empty prediction has 0. NaN with an empty mask."""
        if not self.inside_P.size:
            nothing = np.full(len(thresholds_T), np.nan)
            return nothing, nothing
        cuts_T = np.asarray(thresholds_T, np.float32)
        both_T = self.inside_P.size - np.searchsorted(self.inside_P, cuts_T, side="right")
        predicted_T = self.all_P.size - np.searchsorted(self.all_P, cuts_T, side="right")
        total_T = predicted_T + self.inside_P.size
        return both_T / (total_T - both_T), 2 * both_T / total_T

    def average_precision(self) -> float:
        """Area under the precision-recall steps over all pixels (scikit-learn's definition; equal values are one step).

        = the mean over the pixels inside of the precision at their own value. NaN with an empty mask.
        """
        inside = self.inside_P.size
        if not inside:
            return float("nan")
        true_P = inside - np.searchsorted(self.inside_P, self.inside_P, side="left")
        predicted_P = self.all_P.size - np.searchsorted(self.all_P, self.inside_P, side="left")
        return float((true_P / predicted_P).mean())


def box_mask(boxes_xywh_N4: Array, rows_h: Array, columns_w: Array) -> Mask:
    """The union of the boxes on a raster (h, w) whose pixel centres lie at `rows_h` and `columns_w`.

    Boxes and centres share one coordinate system. A pixel belongs to a box that contains its centre: overlapping boxes
    are OR-ed, never added, and fractional edges round to the nearest pixel edge.
    """
    left, top, width, height = np.asarray(boxes_xywh_N4, float).T[:, :, None]
    in_rows_Nh = (top <= rows_h) & (rows_h < top + height)
    in_columns_Nw = (left <= columns_w) & (columns_w < left + width)
    # (N, h, 1) & (N, 1, w) -> (h, w)
    return (in_rows_Nh[:, :, None] & in_columns_Nw[:, None, :]).any(axis=0)
