"""Targets that are masks: every metric on their pixels, against loops, and the same as boxes where they are boxes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentalign.evaluate.scoring.metrics import THRESHOLDS
from sentalign.evaluate.scoring.protocols import METRICS, Scorer, clean_mask, hit, paper_mask
from sentalign.evaluate.scoring.target import Boxes, PixelMask
from sentalign.localize.maps import heatmap
from sharding.pixels import letterbox

ROWS, COLUMNS = 200, 150


def blob(seed, rows=ROWS, columns=COLUMNS):
    """Two discs, one of which may be cut by the picture's edge."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:rows, :columns]
    mask = np.zeros((rows, columns), bool)
    for _ in range(2):
        mask |= np.hypot(y - rng.uniform(0, rows), x - rng.uniform(0, columns)) < rng.uniform(8, 40)
    return mask


def frame(rows=ROWS, columns=COLUMNS):
    return letterbox(np.zeros((rows, columns), np.uint8), 224)[1]


@given(seed=st.integers(0, 1000), scale=st.sampled_from([(1.0, 1.0), (2.0, 2.0), (0.5, 0.5), (1.5, 1.498)]))
@settings(max_examples=20)
def test_points_are_covered_by_the_pixel_that_they_lie_in(seed, scale):
    mask, rng = blob(seed, 20, 15), np.random.default_rng(seed)
    rows, columns = rng.uniform(-5, 45, 12), rng.uniform(-5, 40, 9)
    covered = PixelMask.of(mask).scaled(*scale).covers(rows, columns)
    for i, j in np.ndindex(12, 9):
        row, column = math.floor(rows[i] / scale[1]), math.floor(columns[j] / scale[0])
        assert covered[i, j] == (0 <= row < 20 and 0 <= column < 15 and mask[row, column])


def test_boxes_of_a_mask_surround_its_connected_parts():
    mask = np.zeros((10, 12), bool)
    mask[1:3, 2:5] = mask[3, 5] = mask[7:9, 9] = True  # the first two touch at a corner
    assert PixelMask.of(mask).boxes.tolist() == [[2, 1, 4, 3], [9, 7, 1, 2]]
    assert PixelMask.of(mask).scaled(2, 3).boxes.tolist() == [[4, 3, 8, 9], [18, 21, 2, 6]]
    assert PixelMask.of(mask).scaled(2, 1).scaled(1, 3).boxes.tolist() == [[4, 3, 8, 9], [18, 21, 2, 6]]


@pytest.mark.parametrize("seed", range(5))
def test_a_mask_of_boxes_scores_as_the_boxes(seed):
    rng, grid = np.random.default_rng(seed), np.random.default_rng(seed + 50).normal(size=(14, 14))
    boxes = np.array([[rng.integers(0, 90), rng.integers(0, 140), *rng.integers(5, 60, 2)] for _ in range(2)], float)
    mask = np.zeros((ROWS, COLUMNS), bool)
    for x, y, width, height in boxes.astype(int):
        mask[y : y + height, x : x + width] = True
    found, expected = (Scorer(frame(), target, (14, 14))(grid) for target in (PixelMask.of(mask), Boxes(boxes)))
    for name in METRICS:
        assert found[name] == pytest.approx(expected[name], abs=1e-12), name


@given(seed=st.integers(0, 1000))
@settings(max_examples=10)
def test_metrics_of_masks_equal_loops_over_pixels(seed):
    """Clean: the map at each pixel of the picture. Paper: the map and the mask at each pixel of the square's centre."""
    mask, grid = blob(seed), np.random.default_rng(seed).normal(size=(14, 14))
    scores = Scorer(frame(), PixelMask.of(mask), (14, 14))(grid)
    rows, columns = (np.arange(n) + 0.5 for n in (ROWS, COLUMNS))
    taps = heatmap.original_taps(frame(), (14, 14), rows, columns)
    clean = heatmap.to_signed(heatmap.bilinear(grid, *taps)).astype(np.float32)
    peak = heatmap.peak(grid, frame())
    assert scores["pointing"] == float(mask[peak[1], peak[0]])
    assert scores["average_precision"] == pytest.approx(precision(clean, mask), abs=1e-9)
    assert scores["iou"] == pytest.approx(np.mean([overlap(clean > t, mask)[0] for t in THRESHOLDS.astype(np.float32)]))
    paper = heatmap.paper_map(grid, frame(), frame(), 1.0).astype(np.float32)
    inside = np.zeros((196, 196), bool)
    for i, j in np.ndindex(196, 196):
        # 200 rows fill the square; 150 columns are 168 of its 224, in the middle.
        row, column = (i + 14.5) * 200 / 224, (j + 14.5 - 28) * 200 / 224
        inside[i, j] = 0 <= column < COLUMNS and mask[int(row), int(column)]
    assert (paper_mask(PixelMask.of(mask), frame()) == inside).all()
    if inside.any():
        pairs = [overlap(paper > t, inside) for t in THRESHOLDS.astype(np.float32)]
        assert [scores["miou"], scores["dice"]] == pytest.approx(np.mean(pairs, axis=0), abs=1e-9)


def overlap(predicted, inside):
    both = (predicted & inside).sum()
    return both / (predicted | inside).sum(), 2 * both / (predicted.sum() + inside.sum())


def precision(values, inside):
    """The mean, over the pixels inside, of the share that lies inside of all pixels at least as high."""
    flat, member = values.ravel(), inside.ravel()
    return np.mean([(member & (flat >= v)).sum() / (flat >= v).sum() for v in flat[member]])


def test_a_part_between_the_points_of_the_raster_gets_the_nearest_one():
    mask = np.zeros((2000, 3000), bool)
    mask[1501, 1002] = True
    geometry = frame(2000, 3000)
    raster = heatmap.raster(geometry, 256)
    assert clean_mask(PixelMask.of(mask), geometry, *raster).sum() == 1
    assert hit((1002, 1501), PixelMask.of(mask)) == 1.0
    assert hit((1001, 1501), PixelMask.of(mask)) == hit(None, PixelMask.of(mask)) == 0.0


def test_a_thin_part_that_no_point_of_the_raster_hits_counts_where_it_is():
    """A diagonal line, whose box holds points of the raster, of which none lies on it."""
    geometry = frame(2000, 2000)
    rows, columns = heatmap.raster(geometry, 256)
    mask = np.zeros((2000, 2000), bool)
    line = np.arange(400, 700)
    mask[line, 1000 + line - 397] = True
    mask[np.ix_(np.floor(rows).astype(int), np.floor(columns).astype(int))] = False
    found = clean_mask(PixelMask.of(mask), geometry, rows, columns)
    assert not PixelMask.of(mask).covers(rows, columns).any()
    assert found.any()
    for i, j in np.argwhere(found):
        assert 400 <= rows[i] < 700
        assert abs((columns[j] - 1000) - (rows[i] - 397)) < 16


def test_boxes_end_at_the_edge_of_their_picture():
    boxes = Boxes(np.array([[-5.0, 10, 20, 30], [90, 90, 40, 5], [10, 10, 5, 5], [100, 0, 10, 10]]))
    cut, beyond = boxes.within(100, 100)
    assert cut.boxes.tolist() == [[0, 10, 15, 30], [90, 90, 10, 5], [10, 10, 5, 5]]
    assert beyond == 3
    same, none = Boxes(boxes.boxes[2:3]).within(100, 100)
    assert (same.boxes.tolist(), none) == ([[10, 10, 5, 5]], 0)
    nothing, beyond = Boxes(boxes.boxes[3:]).within(100, 100)
    assert (len(nothing.boxes), beyond) == (0, 1)
    rounded, none = Boxes(np.array([[0.0, 0, 100 + 1e-9, 50]])).within(100, 100)
    assert (rounded.boxes[0, 2], none) == (100 + 1e-9, 0)
    mask = PixelMask.of(np.ones((4, 4), bool))
    assert mask.within(4, 4) == (mask, 0)
