"""Geometry maps points there and back; shrinking and letterboxing say where the pixels went."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from sharding.pixels.picture import Geometry, Picture, letterbox, resize, shrink

SIDES = st.integers(1, 3000)
POINTS = st.lists(st.tuples(st.floats(-50, 4000), st.floats(-50, 4000)), min_size=1, max_size=5).map(np.array)


@st.composite
def geometries(draw):
    rows, columns, size = draw(SIDES), draw(SIDES), draw(st.integers(1, 600))
    ratio = size / max(rows, columns)
    step = Geometry.resized(rows, columns, max(1, round(rows * ratio)), max(1, round(columns * ratio)))
    pad = ((size - step.height) // 2, (size - step.width) // 2)
    return replace(step, pad=(float(pad[0]), float(pad[1])), height=size, width=size, spacing=(0.14, 0.14))


@given(geometries(), POINTS)
def test_to_original_undoes_to_output(geometry, points_xy_N2):
    there_and_back = geometry.to_original(geometry.to_output(points_xy_N2))
    np.testing.assert_allclose(there_and_back, points_xy_N2, atol=1e-6, rtol=1e-9)


@given(geometries(), st.integers(1, 600), POINTS)
def test_then_equals_one_after_the_other(first, side, points_xy_N2):
    second = replace(
        Geometry.identity(first.height, first.width),
        crop=(1.0, 2.0, 5.0, 6.0),
        scale=(side / 100, side / 50),
        pad=(3.0, 0.0),
    )
    both = first.then(second)
    expected = second.to_output(first.to_output(points_xy_N2))
    np.testing.assert_allclose(both.to_output(points_xy_N2), expected, atol=1e-6, rtol=1e-9)
    assert (both.rows, both.columns, both.spacing) == (first.rows, first.columns, first.spacing)


@given(geometries())
def test_a_geometry_survives_json(geometry):
    assert Geometry.from_dict(json.loads(json.dumps(geometry.as_dict()))) == geometry


def test_the_outer_edges_of_the_image_are_those_of_the_letterboxed_image():
    square_SS, geometry = letterbox(np.full((100, 50), 255, np.uint8), 64)
    corners = geometry.to_output(np.array([[0, 0], [50, 100]]))
    np.testing.assert_allclose(corners, [[16, 0], [48, 64]])
    assert square_SS.shape == (64, 64)
    assert (square_SS[:, 16:48] == 255).all()
    assert square_SS[:, :16].max() == square_SS[:, 48:].max() == 0


def test_shrink_never_enlarges():
    picture = Picture(np.zeros((30, 40), np.uint8), Geometry.identity(30, 40), {})
    assert shrink(picture, 40) is picture


@pytest.mark.parametrize(("shape", "expected"), [((300, 400), (75, 100)), ((1000, 3), (100, 1))])
def test_shrink_keeps_the_aspect_and_says_the_exact_scale(shape, expected):
    small = shrink(Picture(np.zeros(shape, np.uint8), Geometry.identity(*shape), {}), 100)
    assert small.grey_HW.shape == expected
    edge = small.geometry.to_output(np.array([[shape[1], shape[0]]]))
    np.testing.assert_allclose(edge, [[expected[1], expected[0]]])


def test_what_was_shrunk_says_by_what():
    small = shrink(Picture(np.zeros((300, 400), np.uint8), Geometry.identity(300, 400), {"codec": "PNG"}), 100)
    assert small.provenance == {"codec": "PNG", "resize": "triangle, reducing gap 1.2"}


@given(st.integers(300, 1200), st.integers(300, 1200), st.integers(40, 100))
def test_averaging_pixels_first_moves_nothing(rows, columns, size):
    """Sides that the averaging does not divide: the middle of a spot stays where the geometry says."""
    image_HW = np.zeros((rows, columns), np.uint8)
    image_HW[rows // 3 : rows // 3 + 60, columns // 2 : columns // 2 + 80] = 255
    small = shrink(Picture(image_HW, Geometry.identity(rows, columns), {}), size)
    row_N, column_N = np.nonzero(small.grey_HW)
    weights_N = small.grey_HW[row_N, column_N].astype(float)
    middle = [np.average(column_N + 0.5, weights=weights_N), np.average(row_N + 0.5, weights=weights_N)]
    expected = small.geometry.to_output(np.array([[columns // 2 + 40, rows // 3 + 30]]))
    np.testing.assert_allclose([middle], expected, atol=0.15)


def test_averaging_pixels_first_stays_near_the_filter_alone():
    noise_HW = np.random.default_rng(0).integers(0, 256, (900, 700)).astype(np.uint8)
    smooth_HW = np.asarray(Image.fromarray(noise_HW).filter(ImageFilter.GaussianBlur(2)))
    alone_HW = np.asarray(Image.fromarray(smooth_HW).resize((233, 300), Image.Resampling.BILINEAR))
    apart_HW = abs(resize(smooth_HW, 300, 233).astype(int) - alone_HW)
    assert 0 < apart_HW.mean() < 1
    assert apart_HW.max() <= 6


def test_shrinking_is_antialiased():
    stripes_HW = np.tile(np.array([0, 255], np.uint8), (64, 32))
    small = shrink(Picture(stripes_HW, Geometry.identity(64, 64), {}), 16)
    assert abs(small.grey_HW.astype(int) - 127).max() < 20
