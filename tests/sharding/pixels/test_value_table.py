"""A table of grey values paints what the chain would make of every pixel, and counts what numpy counts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sharding.pixels.value_table import ValueTable

DTYPES = ["u1", "i1", "u2", "i2", ">u2", ">i2", "u4", "i4"]


@st.composite
def stored(draw):
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    ends = np.iinfo(dtype)
    low = draw(st.integers(int(ends.min), int(ends.max)))
    high = draw(st.integers(low, min(int(ends.max), low + draw(st.sampled_from([0, 3, 40, 2**16])))))
    shape = draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
    return draw(arrays(dtype, shape, elements=st.integers(low, high)))


@given(stored())
def test_painting_is_looking_every_pixel_up(stored_HW):
    table = ValueTable.of(stored_HW)
    grey_V = (table.values_V.astype(np.int64) * 37 % 256).astype(np.uint8)
    assert table.paint(grey_V).tolist() == (stored_HW.astype(np.int64) * 37 % 256).tolist()


@given(stored())
def test_counts_are_those_of_numpy(stored_HW):
    table = ValueTable.of(stored_HW)
    counted = {}
    for value, count in zip(table.values_V.tolist(), table.counts.tolist(), strict=True):
        counted[value] = counted.get(value, 0) + count
    values, counts = np.unique(stored_HW, return_counts=True)
    assert {value: count for value, count in counted.items() if count} == dict(
        zip(values.tolist(), counts.tolist(), strict=True)
    )


@given(stored(), st.integers(-(2**15), 2**16), st.integers(0, 100))
def test_holding_a_range(stored_HW, low, width):
    expected = ((stored_HW >= low) & (stored_HW <= low + width)).any()
    assert ValueTable.of(stored_HW).any_between(low, low + width) == expected


@pytest.mark.parametrize("shape", [(700, 600), (3, 300_000)])
def test_large_images_are_painted_in_blocks(shape):
    stored_HW = np.random.default_rng(0).integers(-300, 300, shape).astype(np.int16)
    table = ValueTable.of(stored_HW)
    assert table.low == -300
    grey_V = np.random.default_rng(1).integers(0, 256, table.values_V.shape).astype(np.uint8)
    np.testing.assert_array_equal(table.paint(grey_V), grey_V[stored_HW.astype(int) + 300])
    assert table.counts.sum() == stored_HW.size


def test_eight_bits_as_they_stand_are_not_copied():
    stored_HW = np.arange(256, dtype=np.uint8).reshape(8, 32)
    table = ValueTable.of(stored_HW)
    assert table.paint(table.values_V) is stored_HW
    assert table.paint(255 - table.values_V).tolist() == (255 - stored_HW).tolist()
