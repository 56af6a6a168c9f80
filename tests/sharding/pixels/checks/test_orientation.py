"""Turned and inverted chests are named; upright ones are not; the error rates on real X-rays are as stated."""

from __future__ import annotations

import csv
import io
import math
from importlib.resources import files

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sharding import pixels
from sharding.pixels.checks import noticed, orientation
from sharding.pixels.checks.orientation import LOOKS, MARGIN, looks
from sharding.pixels.picture import Geometry, Picture
from tests.sharding.conftest import dicom_bytes
from tests.sharding.pixels.checks.chests import chest

QUARTERS_CLOCKWISE = {"upright": 0, "turned clockwise": 1, "upside down": 2, "turned anticlockwise": 3}


def made_to_look(grey_HW: np.ndarray, name: str) -> np.ndarray:
    """An upright picture changed in the words of the name."""
    inverted, turned = name.startswith("inverted"), name.removeprefix("inverted").removeprefix(", ") or "upright"
    grey_HW = np.rot90(grey_HW, -QUARTERS_CLOCKWISE[turned])
    return np.ascontiguousarray(255 - grey_HW if inverted else grey_HW)


def picture_of(grey_HW: np.ndarray, **provenance: str) -> Picture:
    return Picture(grey_HW, Geometry.identity(*grey_HW.shape), provenance)


@pytest.mark.parametrize("shape", [(300, 280), (2000, 1700), (61, 75), (700, 300)])
@pytest.mark.parametrize("name", LOOKS)
def test_a_drawn_chest_is_named_as_it_was_changed(name, shape):
    grey_HW = made_to_look(chest(*shape), name)
    assert looks(grey_HW) == name


@pytest.mark.parametrize("name", LOOKS)
def test_a_heart_on_the_right_is_no_fault(name):
    assert looks(made_to_look(chest()[:, ::-1], name)) == name


def plain_looks(grey_HW: np.ndarray) -> set[str]:
    """The twin: each pixel, cell and way by itself; several names where rounding decides between them."""
    rows, columns = grey_HW.shape
    cells = []
    for cell_row in range(12):
        for cell_column in range(12):
            total = 0.0
            for y in range(8 * cell_row, 8 * cell_row + 8):
                for x in range(8 * cell_column, 8 * cell_column + 8):
                    total += float(grey_HW[int((y + 0.5) * rows / 96), int((x + 0.5) * columns / 96)])
            cells.append(total / 64)
    mean = sum(cells) / 144
    spread = math.sqrt(sum((cell - mean) ** 2 for cell in cells) / 144)
    bent = [math.tanh((cell - mean) / (spread + 1e-6)) for cell in cells]
    lines = (files("sharding.pixels.checks") / "orientation.csv").read_text().splitlines()
    weights = [[float(number) for number in line] for line in csv.reader(lines)]
    found = {}
    for name in LOOKS:
        score = 0.0
        for row in range(12):
            for column in range(12):
                y, x = row, column
                turned = name.removeprefix("inverted").removeprefix(", ") or "upright"
                for _ in range(QUARTERS_CLOCKWISE[turned]):  # where this part of an upright chest lies now
                    y, x = x, 11 - y
                score += bent[12 * y + x] * weights[row][column]
        found[name] = -score if name.startswith("inverted") else score
    best = max(found.values())
    names = {name for name, score in found.items() if score > best - 1e-9}
    return ({"upright"} if best - found["upright"] < MARGIN + 1e-9 else set()) | (
        names if best - found["upright"] > MARGIN - 1e-9 else set()
    )


@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 130), st.integers(1, 130))))
def test_any_picture_gets_the_name_that_the_twin_gives(grey_HW):
    assert looks(grey_HW) in plain_looks(grey_HW)


@pytest.mark.parametrize("name", LOOKS)
def test_the_twin_agrees_on_chests(name):
    assert plain_looks(made_to_look(chest(120, 130), name)) == {name}


def test_constant_pictures_are_upright():
    assert looks(np.full((40, 40), 7, np.uint8)) == "upright"


def test_the_coefficients_know_no_left_and_right():
    lines = np.loadtxt(io.StringIO((files("sharding.pixels.checks") / "orientation.csv").read_text()), delimiter=",")
    assert lines.tolist() == lines[:, ::-1].tolist()


def test_what_is_noticed_changes_no_pixel():
    upside_down = picture_of(made_to_look(chest(), "upside down"), codec="PNG")
    judged, found = noticed.judged(upside_down, True)
    assert judged.grey_HW is upside_down.grey_HW
    assert judged.provenance == {"codec": "PNG", "looks": "upside down"}
    assert found == ["looks upside down"]
    assert set(found) <= set(noticed.NAMES)


def test_laterals_and_blank_pictures_are_not_judged():
    """As the build says: tests/sharding/build/test_noticed.py."""
    judged, found = noticed.judged(picture_of(made_to_look(chest(), "inverted")), False)
    assert judged.provenance["looks"] == "not judged"
    assert found == []


def test_a_contradicted_depth_is_noticed():
    data = dicom_bytes((chest().astype(np.uint16) * 16) << 4, BitsStored=12, HighBit=11)
    judged, found = noticed.judged(pixels.read(data), True)
    assert found == [noticed.DEPTH]
    assert judged.provenance["looks"] == "upright"


@pytest.mark.realdata
def test_few_real_x_rays_are_called_turned_and_nearly_all_turned_ones_are_noticed(realdata):
    """Of the X-rays that the coefficients were fitted to; benchmarks/orientation.py tells the rates on others."""
    paths = sorted((realdata / "cxr_notes" / "images").iterdir())
    thumbnails = [orientation.thumbnail(pixels.read(path.read_bytes()).grey_HW) for path in paths]
    scores_NK = np.array([orientation.scores(one, orientation.coefficients()) for one in thumbnails])
    assert (scores_NK.max(1) - scores_NK[:, 0] > MARGIN).mean() <= 0.02
    for way in range(1, 8):
        assert (scores_NK.max(1) - scores_NK[:, way] > MARGIN).mean() >= 0.95
