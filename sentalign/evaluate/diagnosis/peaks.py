"""Why a map misses: its peak lies on the wrong side of the picture, far from every box, or beside one.

In: the peak of each case's map, its boxes, and the geometries of its picture. Out: one number per case and figure; NaN
where a figure does not apply. Means and medians are computed in `summary`.
"""

# N cases, M boxes of a case

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentalign import sides
from sentalign.evaluate.datasets.case import Case
from sentalign.evaluate.predict_cases import MODEL
from sentalign.evaluate.score_cases import Scores
from sentalign.evaluate.scoring.metrics import Array
from sentalign.localize.maps import heatmap
from sharding.pixels import Geometry

Peak = tuple[int, int] | None  # (x, y) in original pixels; None: the map is constant
NEAR = 24 / 128  # of the side of the network's input
FIGURES = ("side", "near", "dx", "dy")


def diagnose(scores: Scores) -> dict[str, Array]:
    """Every figure of the model's map on all cases, (N,) each, and `peak` (N, 2) in original pixels, NaN for none.

    `side`: 1 where the peak is on the side of the boxes, see `right_side`. `near`: 1 where it is near a box, see
    `offset`. `dx`, `dy`: of near peaks, how far right of and below the centre of the nearest box the peak lies, in
    pixels of the network's input.
    """
    frames_N = scores.clean_frames, scores.paper_frames
    peaks_N = [peak_of(*one) for one in zip(scores.kinds[MODEL].clean_NHW, scores.clean_frames, strict=True)]
    rows_N = [of_case(*one) for one in zip(peaks_N, scores.cases, *frames_N, strict=True)]
    figures = {name: np.array([row[name] for row in rows_N], float) for name in FIGURES}
    peaks_N2 = np.array([peak or (np.nan, np.nan) for peak in peaks_N], float).reshape(-1, 2)
    return figures | {"peak": peaks_N2}


def peak_of(grid_HW: NDArray[np.float32], frame: Geometry) -> Peak:
    """The peak of the model's map of a case."""
    return heatmap.peak(grid_HW.astype(float), frame)


def of_case(peak: Peak, case: Case, clean_frame: Geometry, paper_frame: Geometry) -> dict[str, float]:
    """The figures of one case (see `diagnose`)."""
    near, dx, dy = offset(peak, case.boxes, paper_frame)
    side = right_side(peak, case.boxes, clean_frame.columns) if sides.names_side(case.phrase) else float("nan")
    return {"side": side, "near": near, "dx": dx, "dy": dy}


def right_side(peak: Peak, boxes_xywh_M4: Array, columns: int) -> float:
    """1 where the peak is on the side of the picture's middle column that holds all boxes, else 0.

    NaN where the boxes are not all wholly on one side. A constant map has no peak and counts 0.
    """
    left_M, width_M = boxes_xywh_M4[:, 0], boxes_xywh_M4[:, 2]
    on_left, on_right = bool((left_M + width_M <= columns / 2).all()), bool((left_M >= columns / 2).all())
    if not on_left and not on_right:
        return float("nan")
    return float(peak is not None and (peak[0] + 0.5 < columns / 2) == on_left)


def offset(peak: Peak, boxes_xywh_M4: Array, letterbox: Geometry) -> tuple[float, float, float]:
    """(near, dx, dy): whether the peak is within 24/128 of the input's side of a box, and where from its centre.

    Distances are those of pixels of the network's input, to which `letterbox` leads from the original; the distance to
    a box is 0 inside it. dx and dy are measured from the centre of the nearest box, of equally near ones of the one
    with the nearest centre, and are NaN where no box is near. A constant map is near nothing.
    """
    if peak is None:
        return 0.0, float("nan"), float("nan")
    point_2 = letterbox.to_output(np.array([[peak[0] + 0.5, peak[1] + 0.5]]))[0]
    low_M2 = letterbox.to_output(boxes_xywh_M4[:, :2])
    high_M2 = letterbox.to_output(boxes_xywh_M4[:, :2] + boxes_xywh_M4[:, 2:])
    outside_M2 = np.maximum(np.maximum(low_M2 - point_2, point_2 - high_M2), 0)
    from_centre_M2 = point_2 - (low_M2 + high_M2) / 2
    distance_M, centre_M = np.hypot(*outside_M2.T), np.hypot(*from_centre_M2.T)
    nearest = np.lexsort((centre_M, distance_M))[0]
    if distance_M[nearest] > NEAR * letterbox.height:
        return 0.0, float("nan"), float("nan")
    dx, dy = from_centre_M2[nearest].tolist()
    return 1.0, dx, dy


def displacement(figures: dict[str, Array], members_N: NDArray[np.bool_]) -> dict[str, Any]:
    """Medians of dx and dy over the near ones of some cases, and their count; None where there is none."""
    near_N = members_N & np.isfinite(figures["dx"])
    if not near_N.any():
        return {"dx": None, "dy": None, "cases": 0}
    return {axis: float(np.median(figures[axis][near_N])) for axis in ("dx", "dy")} | {"cases": int(near_N.sum())}
