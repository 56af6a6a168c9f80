"""Boxes from maps whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from sentalign.config.map_settings import Maps
from sentalign.localize import boxes
from sharding.pixels import Geometry, letterbox


def test_box_around_a_plateau_in_original_pixels():
    # One cell a pixel, so that the map is the grid.
    grid = np.zeros((20, 30))
    grid[4:9, 10:16] = 1.0
    results = boxes.boxes(grid, Geometry.identity(20, 30), 0.65)
    assert [(b.x, b.y, b.width, b.height, b.score) for b in results] == [(10, 4, 6, 5, 1.0)]


def test_components_are_separate_scored_and_sorted():
    grid = np.zeros((20, 30))
    grid[2:4, 2:4], grid[10:14, 20:22] = 0.8, 1.0
    results = boxes.boxes(grid, Geometry.identity(20, 30), 0.65)
    assert [(b.x, b.y, b.width, b.height) for b in results] == [(20, 10, 2, 4), (2, 2, 2, 2)]
    assert [b.score for b in results] == pytest.approx([1.0, 0.8])


def test_touching_corners_are_one_component():
    grid = np.eye(6)
    assert len(boxes.boxes(grid, Geometry.identity(6, 6), 0.65)) == 1


def test_a_higher_share_gives_smaller_boxes():
    geometry = letterbox(np.zeros((2000, 1500), np.uint8), 224)[1]
    grid = np.exp(-((np.arange(14)[:, None] - 6) ** 2 + (np.arange(14) - 7) ** 2) / 8)
    wide, narrow = boxes.boxes(grid, geometry, 0.4)[0], boxes.boxes(grid, geometry, 0.8)[0]
    assert wide.width > narrow.width > 0
    x, y = boxes.localize("a", grid, geometry, 0.5).peak
    for box in (wide, narrow):
        assert box.x <= x <= box.x + box.width <= 1500
        assert box.y <= y <= box.y + box.height <= 2000


@pytest.mark.parametrize(
    ("settings", "level"), [({}, 0.5), ({"registered": False}, 0.65), ({"registered": False, "box_level": 0.3}, 0.3)]
)
def test_boxes_lie_at_the_level_of_the_settings(settings, level):
    assert Maps(**settings).level == level


def test_constant_map_has_neither_box_nor_peak():
    geometry = Geometry.identity(40, 30)
    content = boxes.as_json([boxes.localize("Nothing there", np.ones((4, 4)), geometry, 0.5)], geometry)
    assert content["image"] == {"rows": 40, "columns": 30}
    assert content["sentences"][0]["boxes"] == []
    assert content["sentences"][0]["peak"] is None
