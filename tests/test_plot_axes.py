"""Places on an axis are proportional to values, or to their logarithms; ticks are round and inside."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentalign import plot_axes

NUMBERS = st.floats(-1e9, 1e9)


def test_a_linear_axis_holds_its_values_with_room_at_both_ends():
    axis = plot_axes.linear([0.2, 0.7], 100, 500)
    # .02 of room at each end: .18 stands at 100, .72 at 500.
    assert [axis.place(value) for value in (0.18, 0.2, 0.45, 0.7, 0.72)] == [100, 114.8, 300, 485.2, 500]
    assert [label for _, label in axis.ticks] == ["0.2", "0.4", "0.6"]
    assert [place for place, _ in axis.ticks] == [axis.place(float(label)) for _, label in axis.ticks]


def test_equal_factors_are_equal_distances_on_a_logarithmic_axis():
    axis = plot_axes.logarithmic([0.01, 100], 0, 432)
    assert [axis.place(value) for value in (0.01, 0.1, 1, 10, 100)] == [16, 116, 216, 316, 416]
    assert [label for _, label in axis.ticks] == ["0.01", "0.1", "1", "10", "100"]


@pytest.mark.parametrize(
    ("ends", "labels"),
    [
        ((0.05, 0.4), ["0.05", "0.1", "0.2"]),
        ((5e-4, 4e-3), ["0.0005", "0.001", "0.002"]),
        ((10, 13), ["10", "11", "12", "13"]),
        ((0.1, 10), ["0.1", "1", "10"]),
    ],
)
def test_ticks_of_short_logarithmic_axes(ends, labels):
    assert [label for _, label in plot_axes.logarithmic(ends, 0, 100).ticks] == labels


def test_categories_have_equal_slots():
    axis = plot_axes.categorical(["a", "b", "c", "d"], 40, 440)
    assert axis.ticks == ((90, "a"), (190, "b"), (290, "c"), (390, "d"))
    assert [axis.place(number) for number in range(4)] == [90, 190, 290, 390]


@given(st.lists(NUMBERS, min_size=1))
def test_every_value_of_a_linear_axis_lies_on_it_in_order(values):
    axis = plot_axes.linear(values, 400, 30)  # upwards, as y of an SVG
    places = [axis.place(value) for value in sorted(values)]
    assert places == sorted(places, reverse=True)
    assert all(30 <= place <= 400 for place in places)
    assert all(30 <= place <= 400 for place, _ in axis.ticks)


@given(st.lists(st.floats(1e-12, 1e12), min_size=1))
def test_every_value_of_a_logarithmic_axis_lies_on_it(values):
    axis = plot_axes.logarithmic(values, 10, 300)
    assert all(10 <= axis.place(value) <= 300 for value in values)
    assert all(10 <= place <= 300 for place, _ in axis.ticks)
    assert len(axis.ticks) <= 4 * plot_axes.TICKS


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.05, "0.05"),
        (12800, "12,800"),
        (1e-5, "1e-05"),
        (2.5e7, "2.5e+07"),
        (9472, "9472"),
        (-0.25, "-0.25"),
    ],
)
def test_labels_are_short(value, text):
    assert plot_axes.label(value) == text
    assert math.isclose(float(plot_axes.label(value).replace(",", "")), value)
