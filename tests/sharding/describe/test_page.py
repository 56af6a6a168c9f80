"""Lists and sizes as the page writes them; the whole page is tested with `inspection`."""

from __future__ import annotations

import pytest

from sharding.describe import page


def test_long_lists_are_folded():
    counts = {f"size {number}": 100 - number for number in range(60)}
    text = page._bars("Sizes", counts)
    assert text.count("<tr>") == page.MOST_BARS
    assert f"and {60 - page.MOST_BARS} more" in text
    assert page._folded({"1": 5, "20": 2, "21": 3, "90": 4}) == {"1": 5, "20": 2, "over 20": 7}


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 bytes"), (999, "999 bytes"), (23_700_000, "23.7 MB"), (4.7e12, "4.7 TB")]
)
def test_sizes_are_said_in_their_unit(count, text):
    assert page._size(count) == text
