"""Both protocols on cases whose answer is known, and the published protocol against a slow plain reference."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from sentalign.evaluate.scoring.metrics import THRESHOLDS
from sentalign.evaluate.scoring.protocols import METRICS, PAPER, Scorer, hit, paper_mask
from sentalign.evaluate.scoring.target import Boxes
from sentalign.localize.maps.heatmap import axis_taps, bilinear, paper_map
from sharding.pixels import Geometry, letterbox

TALL = letterbox(np.zeros((400, 300), np.uint8), 224)[1]


def grid_of(boxes, geometry, cells=14):
    """1 in cells whose centre lies in a box."""
    centres = (np.arange(cells) + 0.5) * geometry.width / cells
    xs = geometry.to_original(np.stack([centres, centres], axis=1))
    grid = np.zeros((cells, cells))
    for x, y, w, h in boxes:
        grid += np.outer((xs[:, 1] >= y) & (xs[:, 1] < y + h), (xs[:, 0] >= x) & (xs[:, 0] < x + w))
    return (grid > 0).astype(float)


def test_every_metric_is_high_for_the_right_map_and_low_for_the_opposite():
    boxes = np.array([[60.0, 100.0, 90.0, 110.0]])
    grid = grid_of(boxes, TALL)
    scorer = Scorer(TALL, Boxes(boxes), grid.shape)
    right, wrong = scorer(grid), scorer(-grid)
    assert set(right) == set(METRICS)
    assert right["pointing"] == 1.0
    assert wrong["pointing"] == 0.0
    assert right["average_precision"] > 0.9 > 0.2 > wrong["average_precision"]
    assert right["cnr"] > 1 > -1 > wrong["cnr"]
    assert right["miou"] > 0.5 > 0.1 > wrong["miou"]
    assert right["dice"] > right["miou"]


def test_constant_map_misses_everywhere():
    values = Scorer(TALL, Boxes(np.array([[0.0, 0.0, 300.0, 200.0]])), (14, 14))(np.full((14, 14), 0.3))
    assert [values[name] for name in ("pointing", "iou", "cnr", "miou", "dice")] == [0.0] * 5
    assert values["average_precision"] == pytest.approx(0.5)  # the share that the box covers


def test_overlapping_boxes_are_one_region():
    grid = np.random.default_rng(0).random((14, 14))
    one = np.array([[60.0, 100.0, 90.0, 110.0]])
    twice = np.concatenate([one, one, [[70.0, 120.0, 20.0, 20.0]]])
    assert Scorer(TALL, Boxes(one), grid.shape)(grid) == Scorer(TALL, Boxes(twice), grid.shape)(grid)


def test_box_outside_the_scored_centre_has_no_paper_value_but_a_clean_one():
    grid = np.zeros((14, 14))
    grid[0, 7] = 1.0
    values = Scorer(TALL, Boxes(np.array([[100.0, 0.0, 100.0, 20.0]])), grid.shape)(grid)
    assert all(np.isnan(values[name]) for name in PAPER)
    assert values["pointing"] == 1.0
    assert values["average_precision"] > 0


def test_tiny_box_is_not_lost_between_points():
    geometry = letterbox(np.zeros((3000, 2000), np.uint8), 224)[1]
    values = Scorer(geometry, Boxes(np.array([[1001.0, 1500.0, 2.0, 2.0]])), (14, 14)).clean(np.eye(14))
    assert np.isfinite(list(values.values())).all()


def test_paper_protocol_against_its_slow_reference():
    rng = np.random.default_rng(1)
    grid = rng.normal(size=(19, 19))
    boxes = np.array([[50.0, 60.0, 120.0, 100.0], [100.0, 130.0, 130.0, 90.0]])
    smooth = ndimage.gaussian_filter(grid, 1.5, mode="reflect")
    large = np.empty((224, 224))
    for row in range(224):
        for column in range(224):
            y, x = ((v + 0.5) * 19 / 224 - 0.5 for v in (row, column))
            y, x = min(max(y, 0), 18), min(max(x, 0), 18)
            top, left = min(int(y), 17), min(int(x), 17)
            fy, fx = y - top, x - left
            cell = smooth[top : top + 2, left : left + 2]
            upper, lower = cell @ [1 - fx, fx]
            large[row, column] = upper * (1 - fy) + lower * fy
    mask = np.zeros((224, 224), bool)
    for x, y, w, h in boxes:
        # 300 x 400 in 224: scale 0.56, 28 columns of padding on each side.
        for row in range(224):
            for column in range(224):
                inside_x = x * 0.56 + 28 <= column + 0.5 < (x + w) * 0.56 + 28
                mask[row, column] |= inside_x and y * 0.56 <= row + 0.5 < (y + h) * 0.56
    scored, mask = large[14:210, 14:210], mask[14:210, 14:210]
    scored = 2 * (scored - scored.min()) / (scored.max() - scored.min()) - 1
    values = Scorer(TALL, Boxes(boxes), grid.shape).paper(grid)
    assert (paper_mask(Boxes(boxes), TALL) == mask).all()
    assert np.allclose(paper_map(grid, TALL, TALL), scored)
    inside, outside = scored[mask], scored[~mask]
    expected = (inside.mean() - outside.mean()) / np.sqrt(inside.var() + outside.var())
    assert values["cnr"] == pytest.approx(expected)
    above = [scored.astype(np.float32) > np.float32(t) for t in THRESHOLDS]
    iou = [(one & mask).sum() / (one | mask).sum() for one in above]
    dice = [2 * (one & mask).sum() / (one.sum() + mask.sum()) for one in above]
    assert values["miou"] == pytest.approx(np.mean(iou), abs=1e-9)
    assert values["dice"] == pytest.approx(np.mean(dice), abs=1e-9)


def test_clean_protocol_on_the_original_pixels():
    geometry = Geometry.identity(20, 20)
    boxes = np.array([[3.0, 4.0, 6.0, 5.0]])
    grid = np.random.default_rng(2).random((20, 20))  # one cell a pixel: the map is the grid
    mask = np.zeros((20, 20), bool)
    mask[4:9, 3:9] = True
    order = np.argsort(-grid.ravel())
    ranks = np.flatnonzero(mask.ravel()[order]) + 1
    values = Scorer(geometry, Boxes(boxes), grid.shape).clean(grid)
    assert values["average_precision"] == pytest.approx(np.mean(np.arange(1, 31) / ranks))
    assert values["pointing"] == float(mask.ravel()[order[0]])


def test_paper_metrics_of_a_map_lie_where_its_cells_lie_and_the_plain_reading_is_stretched():
    """Cells of 32 pixels, the first one centred on the corner of the input: half a cell beside the stretched grid."""
    cells = replace(TALL, pad=(TALL.pad[0] + 16, TALL.pad[1] + 16))
    box = cells.to_original(np.array([[64.0, 96.0], [128.0, 160.0]]))
    boxes = np.array([[*box[0], *(box[1] - box[0])]])
    grid = np.zeros((7, 7))
    grid[3:5, 2:4] = 1
    scorer = Scorer(cells, Boxes(boxes), grid.shape, TALL)
    assert scorer(grid)["cnr"] > scorer(grid, grid)["cnr"] + 0.5
    assert scorer(grid, grid)["cnr"] == Scorer(TALL, Boxes(boxes), grid.shape)(grid)["cnr"]
    assert scorer(grid, grid)["pointing"] == scorer(grid)["pointing"] == 1


def test_a_finer_grid_is_smoothed_alike():
    grid, rows = np.random.default_rng(3).random((8, 8)), (np.arange(32) + 0.5) / 4
    fine = bilinear(grid, axis_taps(rows, 8), axis_taps(rows, 8))
    coarse = paper_map(grid, TALL, TALL)
    assert (
        np.abs(paper_map(fine, TALL, TALL, 4) - coarse).max() < 0.3 < np.abs(paper_map(fine, TALL, TALL) - coarse).max()
    )
    boxes = np.array([[60.0, 100.0, 90.0, 110.0]])
    values = Scorer(TALL, Boxes(boxes), (8, 8))(fine)
    inside = paper_mask(Boxes(boxes), TALL)
    mapped = paper_map(fine, TALL, TALL, 4)
    expected = (mapped[inside].mean() - mapped[~inside].mean()) / np.sqrt(mapped[inside].var() + mapped[~inside].var())
    assert values["cnr"] == pytest.approx(expected)


def test_pointing_edges():
    boxes = np.array([[2.0, 3.0, 2.0, 1.0], [7.0, 7.0, 1.0, 1.0]])
    assert hit((2, 3), Boxes(boxes)) == 1.0
    assert hit((3, 3), Boxes(boxes)) == 1.0
    assert hit((7, 7), Boxes(boxes)) == 1.0
    assert hit((4, 3), Boxes(boxes)) == 0.0  # the pixel right of the box
    assert hit((1, 3), Boxes(boxes)) == 0.0
    assert hit((2, 4), Boxes(boxes)) == 0.0
    assert hit(None, Boxes(boxes)) == 0.0
