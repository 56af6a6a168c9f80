"""Sides, near peaks and displacement: by hand, against loops, and on maps that fail by construction."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentalign.evaluate import evaluation
from sentalign.evaluate.datasets import ms_cxr
from sentalign.evaluate.diagnosis import peaks
from sentalign.evaluate.results import page
from sentalign.evaluate.score_cases import measure
from sentalign.evaluate.summary import summarise
from sharding.pixels import letterbox
from tests.evaluate.conftest import CELLS, MarkLocalizer

LETTERBOX = letterbox(np.zeros((400, 200), np.uint8), 100)[1]  # a quarter of the original, 25 black columns left
BOX = np.array([[20.0, 100.0, 40.0, 80.0]])  # in the input: x 30 to 40, y 25 to 45


class Displaced(MarkLocalizer):
    """Every map is moved one cell down and right."""

    def _grid(self, features, sentence):
        return np.roll(super()._grid(features, sentence), (1, 1), axis=(0, 1))


class Swapped(MarkLocalizer):
    """Left and right are confused."""

    def _grid(self, features, sentence):
        return super()._grid(features, "left" if "right" in sentence else "right")


def summary_of(drawn, localizer):
    return summarise(measure(localizer, ms_cxr.read(drawn)), 20)["diagnosis"]["seen"]


@pytest.mark.parametrize(
    ("boxes", "peak", "expected"),
    [
        ([[0, 0, 50, 9]], (49, 80), 1.0),
        ([[0, 0, 50, 9]], (50, 80), 0.0),
        ([[50, 0, 50, 9], [70, 0, 9, 9]], (50, 0), 1.0),
        ([[0, 0, 51, 9]], (10, 0), float("nan")),
        ([[0, 0, 9, 9], [60, 0, 9, 9]], (10, 0), float("nan")),
        ([[0, 0, 50, 9]], None, 0.0),
    ],
)
def test_sides_by_hand(boxes, peak, expected):
    assert peaks.right_side(peak, np.array(boxes, float), 100) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("peak", "expected"),
    [
        ((39, 139), (1, 0, 0)),
        ((79, 139), (1, 10, 0)),
        # 24/128 of 100 are 18.75 input pixels, 75 of the original: right of x = 60, below y = 180.
        ((134, 139), (1, 23.75, 0)),
        ((135, 139), (0, None, None)),
        ((39, 254), (1, 0, 28.75)),
        ((39, 256), (0, None, None)),
        (None, (0, None, None)),
    ],
)
def test_near_and_displacement_by_hand(peak, expected):
    near, dx, dy = peaks.offset(peak, BOX, LETTERBOX)
    assert near == expected[0]
    if near:
        assert (dx, dy) == pytest.approx(expected[1:], abs=0.2)  # a pixel's centre is half a pixel off
    else:
        assert np.isnan([dx, dy]).all()


@given(
    boxes=st.lists(st.tuples(*[st.integers(0, 190)] * 2, *[st.integers(1, 90)] * 2), min_size=1, max_size=3),
    x=st.integers(0, 199),
    y=st.integers(0, 399),
)
def test_the_nearest_box_is_that_of_a_search_over_its_points(boxes, x, y):
    near, dx, dy = peaks.offset((x, y), np.array(boxes, float), LETTERBOX)
    found = []
    for left, top, width, height in boxes:
        inside = (min(max(x + 0.5, left), left + width), min(max(y + 0.5, top), top + height))
        centre = (x + 0.5 - left - width / 2) / 4, (y + 0.5 - top - height / 2) / 4
        found.append((np.hypot(inside[0] - x - 0.5, inside[1] - y - 0.5) / 4, np.hypot(*centre), centre))
    distance, _, centre = min(found)
    assert near == (distance <= 18.75)
    assert not near or (dx, dy) == pytest.approx(centre)


def test_a_model_that_finds_the_marks_has_no_fault(drawn):
    why = summary_of(drawn, MarkLocalizer())
    assert why["side"]["pooled"] == why["near"]["pooled"] == 1
    assert why["side"]["cases"] == sum(c["cases"] for c in why["side"]["categories"].values()) == 48
    assert why["displacement"]["cases"] == 48
    assert abs(why["displacement"]["dx"]) < 8 > abs(why["displacement"]["dy"]), "within half a cell"


def test_a_model_that_confuses_sides_is_told_apart(drawn):
    assert summary_of(drawn, Swapped())["side"]["pooled"] == 0


def test_a_displaced_map_is_told_apart(drawn):
    there, moved = (summary_of(drawn, one)["displacement"] for one in (MarkLocalizer(), Displaced()))
    cell = 224 / CELLS
    assert moved["cases"] == 48
    for axis in ("dx", "dy"):
        assert moved[axis] - there[axis] == pytest.approx(cell, abs=1.5)
        for name, category in moved["categories"].items():
            assert category[axis] - there["categories"][name][axis] == pytest.approx(cell, abs=3)


def test_a_constant_map_is_wrong_and_near_nothing(drawn):
    why = summary_of(drawn, MarkLocalizer(blind=True))
    assert why["side"]["pooled"] == why["near"]["pooled"] == 0
    assert (why["displacement"]["cases"], why["displacement"]["dx"]) == (0, None)


def test_the_figures_are_on_the_page_and_can_be_computed_again_from_the_arrays(scores):
    stored = evaluation.arrays(scores)
    assert stored["peak"].shape == (48, 2)
    for n, (x, y) in enumerate(stored["peak"]):
        boxes = stored["boxes_xywh"][stored["boxes_case"] == n]
        assert stored["side"][n] == peaks.right_side((int(x), int(y)), boxes, int(stored["columns"][n]))
        frame = replace(scores.paper_frames[n], pad=tuple(stored["paper_pad"][n]))
        assert (stored["near"][n], stored["dx"][n], stored["dy"][n]) == pytest.approx(
            peaks.offset((int(x), int(y)), boxes, frame)
        )
    html = page.render(scores, summarise(scores, 20))
    assert "Why maps miss" in html
    assert html.count("(48)</td>") == 2
