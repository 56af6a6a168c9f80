"""RadZero's protocol against plain loops, and its quirks."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sentalign.evaluate.scoring import radzero
from sentalign.evaluate.scoring.metrics import box_mask
from sentalign.evaluate.scoring.protocols import CLEAN_SIDE, Scorer
from sentalign.evaluate.scoring.target import Boxes
from sentalign.localize.maps import heatmap
from sharding.pixels import letterbox

GEOMETRY = letterbox(np.zeros((150, 110), np.uint8), 224)[1]  # smaller than the raster: its pixels are the original's
BOXES = Boxes(np.array([[20.0, 30.0, 40.0, 50.0], [70.0, 90.0, 20.0, 30.0]]))


def test_dice_equals_a_loop_over_pixels_and_thresholds():
    grid = np.random.default_rng(0).normal(size=(14, 14))
    _, curve = Scorer(GEOMETRY, BOXES, (14, 14)).radzero(grid, 3.0)
    map_hw = heatmap.clean_map(grid, GEOMETRY, CLEAN_SIDE)
    mask_hw = box_mask(BOXES.boxes, *heatmap.raster(GEOMETRY, CLEAN_SIDE))
    assert map_hw.shape == (150, 110)
    for number in (0, 1, 30, 50, 77, 99, 100):
        both = predicted = 0
        for score, inside in zip(map_hw.ravel(), mask_hw.ravel(), strict=True):
            # Compared in float32, as the docs say: sigmoid(x) > t is x > log(t / (1 - t)).
            above = number == 0 or (
                number < 100 and np.float32(3.0 * score) > np.float32(math.log(number / (100 - number)))
            )
            both, predicted = both + (above and inside), predicted + above
        assert curve[number] == pytest.approx(2 * both / (predicted + mask_hw.sum()), abs=1e-9)


def test_ends_of_the_thresholds():
    _, curve = Scorer(GEOMETRY, BOXES, (14, 14)).radzero(np.zeros((14, 14)), 3.0)
    share = (40 * 50 + 20 * 30) / (150 * 110)
    assert curve[0] == pytest.approx(2 * share / (1 + share)), "everything is above 0"
    assert curve[49] == pytest.approx(curve[0])
    assert curve[50:].tolist() == [0.0] * 51, "sigmoid(0) is not above one half"


@pytest.mark.parametrize(
    ("peak", "expected"),
    [((40, 50), 1), ((20, 30), 1), ((60, 80), 1), ((61, 50), 0), ((19, 50), 0), ((80, 100), 0)],
)
def test_pointing_counts_the_first_box_with_its_edges(monkeypatch, peak, expected):
    monkeypatch.setattr(heatmap, "peak", lambda grid_HW, geometry: peak)
    assert radzero.pointing(np.zeros((2, 2)), GEOMETRY, BOXES) == expected


def test_a_constant_map_misses():
    assert radzero.pointing(np.ones((14, 14)), GEOMETRY, BOXES) == 0
