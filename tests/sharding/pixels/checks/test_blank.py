"""Pictures that show nothing are told from those that show little."""

from __future__ import annotations

import numpy as np
import pytest

from sharding.pixels.checks.blank import largest_share, says_nothing


def plain_share(grey_HW) -> float:
    values = grey_HW.ravel().tolist()
    return max(values.count(value) for value in set(values)) / len(values)


@pytest.mark.parametrize("levels", [1, 2, 7, 8, 200])
def test_grey_levels(levels):
    grey_HW = (np.arange(3600) % levels).astype(np.uint8).reshape(60, 60)
    assert says_nothing(grey_HW) == (levels < 8)
    assert largest_share(grey_HW) == pytest.approx(plain_share(grey_HW))


@pytest.mark.parametrize(("shape", "nothing"), [((1, 1), True), ((7, 900), True), ((8, 8), False)])
def test_sides(shape, nothing):
    assert says_nothing(np.arange(shape[0] * shape[1]).astype(np.uint8).reshape(shape)) == nothing


def test_large_pictures_are_counted_whole_where_a_sample_says_nothing():
    grey_HW = np.zeros((3000, 3000), np.uint8)
    assert says_nothing(grey_HW)
    grey_HW[1, 1:9] = np.arange(1, 9)
    assert not says_nothing(grey_HW)
    grey_HW[:, 1500:] = np.arange(1500) % 250
    assert largest_share(grey_HW) == pytest.approx(0.502, abs=0.002)
