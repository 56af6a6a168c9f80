"""Every metric by hand on a small case, and against a slow plain reference on random ones."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sentalign.evaluate.scoring.metrics import THRESHOLDS, Sorted, box_mask, cnr

MAP = np.array([[0.9, 0.4, -0.2], [0.35, 0.05, -0.8]])
MASK = np.array([[True, True, False], [False, False, False]])


def slow_average_precision(map_hw, mask_hw):
    """Precision-recall steps at every distinct value, from the highest."""
    area, recall = 0.0, 0.0
    for value in sorted(set(map_hw.ravel().tolist()), reverse=True):
        predicted = map_hw >= value
        true = (predicted & mask_hw).sum()
        area += (true / mask_hw.sum() - recall) * true / predicted.sum()
        recall = true / mask_hw.sum()
    return area


def slow_overlap(map_hw, mask_hw, threshold):
    both = union = predicted = inside = 0
    for value, member in zip(map_hw.ravel(), mask_hw.ravel(), strict=True):
        both += value > threshold and member
        union += value > threshold or member
        predicted += value > threshold
        inside += member
    return both / union, 2 * both / (predicted + inside)


def slow_cnr(map_hw, mask_hw):
    inside = [v for v, m in zip(map_hw.ravel(), mask_hw.ravel(), strict=True) if m]
    outside = [v for v, m in zip(map_hw.ravel(), mask_hw.ravel(), strict=True) if not m]
    mean = [sum(part) / len(part) for part in (inside, outside)]
    variance = [sum((v - m) ** 2 for v in part) / len(part) for part, m in zip((inside, outside), mean, strict=True)]
    return (mean[0] - mean[1]) / math.sqrt(sum(variance))


def random_cases():
    rng = np.random.default_rng(3)
    for _ in range(40):
        shape = tuple(rng.integers(2, 9, 2))
        # Few distinct float32 values, so that ties happen.
        map_hw = rng.integers(-8, 9, shape).astype(np.float32).astype(float) / 8
        mask_hw = rng.random(shape) < 0.4
        mask_hw[0, 0], mask_hw[-1, -1] = True, False
        yield map_hw, mask_hw


def test_overlap_by_hand():
    # > 0.1: three pixels, two of them inside; > 0.5: one pixel, inside.
    iou, dice = Sorted(MAP, MASK).overlap(np.array([0.1, 0.5]))
    assert iou == pytest.approx([2 / 3, 1 / 2])
    assert dice == pytest.approx([4 / 5, 2 / 3])


def test_average_precision_by_hand():
    assert Sorted(MAP, MASK).average_precision() == pytest.approx(1.0)
    lower = np.array([[True, False, False], [True, False, False]])
    # Inside at ranks 1 and 3: (1 + 2/3) / 2.
    assert Sorted(MAP, lower).average_precision() == pytest.approx(5 / 6)


def test_cnr_by_hand_and_its_sign():
    values, mask = np.array([[4.0, 2.0, 1.0, 1.0]]), np.array([[True, True, False, False]])
    assert cnr(values, mask) == pytest.approx(2.0)  # means 3 and 1, variances 1 and 0
    assert cnr(-values, mask) == pytest.approx(-2.0)


@pytest.mark.parametrize("metric", ["average precision", "overlap", "cnr"])
def test_against_slow_references(metric):
    for map_hw, mask_hw in random_cases():
        if metric == "average precision":
            fast, slow = Sorted(map_hw, mask_hw).average_precision(), slow_average_precision(map_hw, mask_hw)
        elif metric == "overlap":
            fast = np.array(Sorted(map_hw, mask_hw).overlap(THRESHOLDS)).T
            slow = np.array([slow_overlap(map_hw, mask_hw, t) for t in THRESHOLDS])
        else:
            fast, slow = cnr(map_hw, mask_hw), slow_cnr(map_hw, mask_hw)
        assert fast == pytest.approx(slow, abs=1e-9)


def test_empty_prediction_counts_zero():
    iou, dice = Sorted(np.full((4, 4), -1.0), np.eye(4, dtype=bool)).overlap(THRESHOLDS)
    assert (iou == 0).all()
    assert (dice == 0).all()


def test_constant_map_earns_nothing():
    mask = np.eye(4, dtype=bool)
    assert cnr(np.full((4, 4), -1.0), mask) == 0.0
    # All pixels tie: the precision is the share of the mask.
    assert Sorted(np.full((4, 4), -1.0), mask).average_precision() == pytest.approx(0.25)


def test_metrics_without_a_mask_have_no_value():
    empty = np.zeros((3, 3), bool)
    values = np.arange(9.0).reshape(3, 3)
    assert math.isnan(cnr(values, empty))
    assert math.isnan(cnr(values, ~empty))
    assert math.isnan(Sorted(values, empty).average_precision())
    assert np.isnan(Sorted(values, empty).overlap(THRESHOLDS)).all()


def test_box_mask_is_a_union_on_pixel_centres():
    rows, columns = np.arange(6) + 0.5, np.arange(8) + 0.5
    boxes = np.array([[1.0, 1.0, 3.0, 2.0], [2.0, 2.0, 3.4, 2.0]])
    slow = np.zeros((6, 8), bool)
    for x, y, w, h in boxes:
        for row in range(6):
            for column in range(8):
                slow[row, column] |= x <= column + 0.5 < x + w and y <= row + 0.5 < y + h
    mask = box_mask(boxes, rows, columns)
    assert mask.dtype == bool
    assert (mask == slow).all()
    assert mask.sum() == 6 + 6 - 2  # the edge at 5.4 rounds to 5; the overlap of two pixels counts once
