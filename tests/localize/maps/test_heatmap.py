"""Maps on the original pixels: against a slow plain reference, and the exact peak against the whole map."""

from __future__ import annotations

import numpy as np
import pytest

from sentalign.localize.maps import heatmap
from sharding.pixels import Geometry, Picture, letterbox, shrink

RNG = np.random.default_rng(0)
SQUARE = Geometry.identity(224, 224)


def frames():
    """Letterboxes tall and wide, shrunk first, cropped, and with cells smaller than a pixel."""
    yield letterbox(np.zeros((90, 60), np.uint8), 48)[1], (6, 6)
    yield letterbox(np.zeros((31, 77), np.uint8), 64)[1], (5, 5)
    yield letterbox(np.zeros((12, 9), np.uint8), 64)[1], (16, 16)
    small = shrink(Picture(np.zeros((120, 100), np.uint8), Geometry.identity(120, 100), {}), 50)
    yield small.geometry.then(letterbox(small.grey_HW, 48)[1]), (7, 7)
    yield Geometry(40, 50, (5.0, 10.0, 30.0, 25.0), (2.0, 2.0), (2.0, 7.0), 64, 64), (4, 6)


def slow_map(grid, geometry):
    """Every original pixel by itself: its centre to the square, to cells, bilinear between the four nearest centres."""
    height, width = grid.shape
    out = np.empty((geometry.rows, geometry.columns))
    for row in range(geometry.rows):
        for column in range(geometry.columns):
            x, y = geometry.to_output(np.array([[column + 0.5, row + 0.5]]))[0]
            u = min(max(x / geometry.width * width - 0.5, 0), width - 1)
            v = min(max(y / geometry.height * height - 0.5, 0), height - 1)
            total = 0.0
            for i in range(height):
                for j in range(width):
                    total += grid[i, j] * max(0, 1 - abs(v - i)) * max(0, 1 - abs(u - j))
            out[row, column] = total
    return out


@pytest.mark.parametrize("number", range(5))
def test_clean_map_equals_its_slow_reference(number):
    geometry, size = list(frames())[number]
    grid = RNG.normal(size=size)
    assert np.allclose(heatmap.clean_map(grid, geometry), slow_map(grid, geometry))


@pytest.mark.parametrize("number", range(5))
def test_peak_is_the_highest_of_all_original_pixels(number):
    geometry, size = list(frames())[number]
    for _ in range(30):
        grid = RNG.normal(size=size)
        map_hw = heatmap.clean_map(grid, geometry)
        x, y = heatmap.peak(grid, geometry)
        assert map_hw[y, x] == pytest.approx(map_hw.max(), abs=1e-12)
        assert heatmap.highest(grid, geometry) == pytest.approx(map_hw.max(), abs=1e-12)


def test_a_known_cell_lands_on_its_original_pixel():
    # 200 x 100 in 64: scale 0.32, 16 columns of padding. Cell (2, 4) of 8 is centred on x = 36, y = 20.
    geometry = letterbox(np.zeros((200, 100), np.uint8), 64)[1]
    grid = np.zeros((8, 8))
    grid[2, 4] = 1.0
    x, y = heatmap.peak(grid, geometry)
    assert abs(x + 0.5 - (36 - 16) / 0.32) <= 0.5
    assert abs(y + 0.5 - 20 / 0.32) <= 0.5


def test_plateau_beyond_the_outermost_centres_does_not_pull_the_peak_to_the_border():
    grid = np.zeros((4, 4))
    grid[1, 0] = 1.0
    assert heatmap.peak(grid, Geometry.identity(80, 80)) == (9, 29)


def test_long_side_samples_the_same_function():
    geometry = letterbox(np.zeros((100, 60), np.uint8), 64)[1]
    grid = np.add.outer(np.arange(8.0), 2 * np.arange(8.0))  # a plane, but for the constant rim
    whole = heatmap.clean_map(grid, geometry)
    half = heatmap.clean_map(grid, geometry, 50)
    assert half.shape == (50, 30)
    assert np.allclose(half[4:-4], whole.reshape(50, 2, 30, 2).mean(axis=(1, 3))[4:-4])
    assert heatmap.clean_map(grid, geometry, 1000).shape == (100, 60)


@pytest.mark.parametrize("value", [0.0, 0.3, -1234.5])
def test_constant_map_has_no_peak_and_is_minus_one(value):
    grid = np.full((9, 9), value)
    assert heatmap.peak(grid, letterbox(np.zeros((50, 70), np.uint8), 64)[1]) is None
    assert (heatmap.paper_map(grid, SQUARE, SQUARE) == -1).all()


def test_rounding_of_a_constant_map_is_not_a_map():
    grid = np.full((9, 9), 0.3) + RNG.normal(size=(9, 9)) * 1e-9
    assert (heatmap.paper_map(grid, SQUARE, SQUARE) == -1).all()


def test_paper_map_runs_from_minus_one_to_one():
    map_hw = heatmap.paper_map(RNG.normal(size=(19, 19)), SQUARE, SQUARE)
    assert map_hw.shape == (196, 196)
    assert (map_hw.min(), map_hw.max()) == pytest.approx((-1, 1))
