"""Lines of text are cut out of a picture, whatever touches them; what is not text gives no sheet."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from sharding.pixels.checks import text_lines


def picture(*texts, ink=220, ground=60, size=(640, 640)):
    """Texts as (text, left, top, height)."""
    image = Image.new("L", size, ground)
    for text, left, top, height in texts:
        ImageDraw.Draw(image).text((left, top), text, fill=ink, font=ImageFont.load_default(height))
    return image


def lines_of(image):
    """The boxes that are found in a picture of bright letters, in pixels: top, bottom, left, right."""
    grey_HW = np.asarray(image)
    share_hw = text_lines._share_of_strokes(grey_HW - text_lines._opened(grey_HW))
    found = filter(text_lines.Line.is_text, text_lines._lines(share_hw))
    return [tuple(8 * edge for edge in (line.top, line.bottom, line.left, line.right)) for line in found]


@pytest.mark.parametrize("height", [12, 20, 40])
def test_a_box_covers_each_line_of_text(height):
    found = lines_of(picture(("KOWALSKA ZOFIA", 40, 100, height), ("12.03.1957", 300, 400, height)))
    assert len(found) <= 3, "the tops of large letters may be a box of their own"
    upper, lower = ([box for box in found if is_upper == (box[0] < 300)] for is_upper in (True, False))
    top, bottom, left, right = max(upper, key=lambda box: box[3] - box[2])
    assert top <= 100 + height <= bottom + height / 2
    assert left <= 48
    assert right >= 40 + 5 * height
    ((top, _, left, right),) = lower
    assert top in range(392, 416)
    assert left in range(288, 312)
    assert right >= 300 + 4 * height


def test_a_wire_that_touches_the_text_does_not_swallow_it():
    image = picture(("KOWALSKA ZOFIA", 40, 300, 20))
    ImageDraw.Draw(image).line([(200, 0), (215, 310), (400, 639)], fill=200, width=5)
    assert any(left <= 48 and right >= 190 and bottom - top <= 40 for top, bottom, left, right in lines_of(image))


def test_blobs_edges_and_noise_are_no_text():
    image = picture()
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, 200, 639), fill=180)
    draw.ellipse((300, 100, 420, 220), fill=255)
    draw.line([(500, 0), (500, 639)], fill=255, width=4)
    noisy_HW = np.asarray(image) + np.random.default_rng(0).normal(0, 4, (640, 640))
    assert not list(text_lines.sheets(np.clip(noisy_HW, 0, 255).astype(np.uint8)))


@pytest.mark.parametrize(("ink", "ground"), [(220, 60), (20, 180)])
def test_bright_and_dark_letters_give_dark_text_on_white(ink, ground):
    found = list(text_lines.sheets(np.asarray(picture(("MILLER HANS", 40, 40, 24), ink=ink, ground=ground))))
    assert any(sheet_HW.min() < 60 and np.median(sheet_HW) > 240 for sheet_HW in found)


@given(arrays.arrays(np.uint8, st.tuples(st.integers(14, 40), st.integers(14, 40))))
def test_the_opening_is_that_of_pillow(grey_HW):
    image = Image.fromarray(grey_HW)
    expected = image.filter(ImageFilter.MinFilter(13)).filter(ImageFilter.MaxFilter(13))
    assert np.array_equal(text_lines._opened(grey_HW), np.asarray(expected))


@given(st.lists(st.booleans(), max_size=40))
def test_runs_have_no_gap_of_more_than_two(row):
    columns = [number for number, is_on in enumerate(row) if is_on]
    expected: list[list[int]] = []
    for column in columns:
        if expected and column - expected[-1][-1] <= 3:
            expected[-1].append(column)
        else:
            expected.append([column])
    found = list(text_lines._runs(np.array(row, bool)))
    assert found == [(run[0], run[-1] + 1) for run in expected]


@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 90), st.integers(1, 90))))
def test_any_picture_is_searched(grey_HW):
    for sheet_HW in text_lines.sheets(grey_HW):
        assert sheet_HW.dtype == np.uint8
        assert sheet_HW.size
