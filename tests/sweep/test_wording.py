"""How values, settings, times and foreign texts are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentalign.sweep import wording


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.123456, "0.1235"), (5.0, "5"), (7, "7"), ("word", "word"), (None, "null"), ([1, 2], "[1, 2]")],
)
def test_settings_are_read_as_words(value, text):
    assert wording.setting_text(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (99, "99 s"), (100, "2 min"), (5400, "90 min"), (11100, "3 h 05 min")]
)
def test_durations_have_the_unit_of_their_size(seconds, text):
    assert wording.duration(seconds) == text


@given(st.text())
def test_any_error_is_one_printable_line(text):
    line = wording.one_line(text)
    assert line.isprintable()
    assert len(line) <= wording.LONGEST_LINE


def test_a_value_has_its_range_where_seeds_differ():
    assert wording.value_with_range(0.41, [0.39, 0.43]) == "0.41 (0.39 to 0.43)"
    assert wording.value_with_range(0.41, [0.41, 0.41]) == wording.value_with_range(0.41, []) == "0.41"


def test_settings_are_one_line():
    assert wording.settings_line({"loss.tau": 0.123456, "data.mirror": True}) == "loss.tau=0.1235 data.mirror=true"
