"""The drawing: what is bright where, and the sentence above it."""

from __future__ import annotations

import numpy as np
from PIL import Image

from sentalign.localize import overlay
from sharding.pixels import Geometry, Picture, letterbox

GREY = np.full((300, 200), 90, np.uint8)
PICTURE = Picture(GREY, Geometry.identity(300, 200), {})
FRAME = letterbox(GREY, 224)[1]


def hot_grid():
    grid = np.zeros((14, 14))
    grid[3, 7] = 1.0
    return grid


def test_colour_only_where_the_map_is_high():
    drawn = np.asarray(overlay.draw(PICTURE, hot_grid(), FRAME, long_side=300)).astype(int)
    assert drawn.shape == (300, 200, 3)
    coloured = np.abs(drawn - 90).sum(axis=2) > 20
    # Cell (3, 7) of 14 in 224 is centred on x = 120, y = 56; the scale is 224 / 300, the padding 37.
    y, x = np.argwhere(coloured).mean(axis=0)
    assert abs(y - 56 * 300 / 224) < 3
    assert abs(x - (120 - 37) * 300 / 224) < 3
    assert (drawn[250:] == 90).all()


def test_constant_map_leaves_the_picture_alone():
    assert (np.asarray(overlay.draw(PICTURE, np.ones((14, 14)), FRAME)) == 90).all()


def test_small_picture_is_enlarged_and_a_large_one_shrunk():
    grid = hot_grid()
    assert overlay.draw(PICTURE, grid, FRAME).size == (427, 640)
    assert overlay.draw(PICTURE, grid, FRAME, long_side=320).size == (213, 320)
    large = Picture(np.zeros((3000, 2000), np.uint8), Geometry.identity(3000, 2000), {})
    assert overlay.draw(large, grid, letterbox(large.grey_HW, 224)[1]).size == (683, 1024)


def test_boxes_and_peak_are_drawn_in_original_pixels_of_a_shrunk_picture():
    image = overlay.draw(PICTURE, np.ones((14, 14)), FRAME, [(20, 30, 100, 60)], [(100, 200, 60, 50)], (150, 40), 150)
    drawn = np.asarray(image)
    assert drawn.shape[:2] == (150, 100)
    assert tuple(drawn[15, 30]) == overlay.PREDICTED
    assert tuple(drawn[100, 60]) == overlay.TRUTH
    assert tuple(drawn[20, 75]) == overlay.PREDICTED
    assert tuple(drawn[60, 40]) == (90, 90, 90)


def test_picture_that_was_cropped_is_drawn_in_its_own_frame():
    geometry = Geometry(300, 200, (100.0, 50.0, 100.0, 100.0), (1.0, 1.0), (0.0, 0.0), 100, 100)
    picture = Picture(np.full((100, 100), 90, np.uint8), geometry, {})
    frame = geometry.then(letterbox(picture.grey_HW, 224)[1])
    grid = np.zeros((10, 10))
    grid[2, 7] = 1.0
    drawn = np.asarray(overlay.draw(picture, grid, frame, truth=[(60, 110, 30, 20)], long_side=100)).astype(int)
    y, x = np.argwhere(drawn[:, :, 0] != drawn[:, :, 2]).mean(axis=0)
    assert abs(y - 24.5) < 3
    assert abs(x - 74.5) < 3
    assert tuple(drawn[10, 20]) == overlay.TRUTH


def test_long_sentence_wraps_above_the_picture(tmp_path):
    sentence = "There is a moderately large right pleural effusion with adjacent atelectasis, " * 3
    overlay.write(tmp_path / "a.png", PICTURE, hot_grid(), FRAME, sentence, [], None)
    sheet = Image.open(tmp_path / "a.png")
    assert sheet.width == 480
    assert sheet.height > 640 + 4 * 16
    assert not sheet.info  # no file name, no date
