"""Each step of the chain against its definition in the standard, or numpy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from pydicom import Dataset

from sharding.pixels.transforms import lookup, luminance, percentiles, stretch, window


def table(descriptor: list[int], data: list[int] | bytes) -> Dataset:
    item = Dataset()
    item.add_new(0x00283002, "US", descriptor)
    item.add_new(0x00283006, "OW" if isinstance(data, bytes) else "US", data)
    item.set_original_encoding(is_implicit_vr=False, is_little_endian=True)
    return item


def looked_up(values: list[int], item: Dataset, dtype: str = "i4") -> list[int]:
    return lookup(np.array(values, dtype), item)[0].tolist()


def test_values_beside_a_table_take_its_ends():
    assert looked_up([-5, 9, 10, 11, 12, 99], table([3, 10, 8], [1, 2, 3])) == [1, 1, 1, 2, 3, 3]


def test_a_table_of_more_entries_than_the_stored_type_counts():
    entries = list(range(0, 4096 * 4, 4))
    assert looked_up([0, 255], table([4096, 0, 16], entries), "u1") == [0, 1020]


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_the_top_of_a_table_is_that_of_its_bits(bits):
    for entry in (2**bits - 1, 2 ** (bits - 1)):  # white needs not be there, but more than half of it
        assert lookup(np.array([0]), table([1, 0, bits], [entry]))[1] == 2**bits - 1


@pytest.mark.parametrize(
    ("bits", "highest", "top"),
    [(16, 4095, 4095), (16, 255, 255), (16, 0, 255), (10, 511, 511), (10, 1024, 2047), (8, 4000, 4095)],
)
def test_a_depth_that_the_entries_contradict_is_theirs(bits, highest, top):
    assert lookup(np.array([0]), table([2, 0, bits], [0, highest]))[1] == top


def test_a_table_as_words_and_as_bytes():
    words = np.array([7, 300, 65535], "<u2").tobytes()
    assert looked_up([0, 1, 2], table([3, 0, 16], words)) == [7, 300, 65535]
    assert looked_up([0, 1, 2, 3], table([4, 0, 8], bytes([7, 8, 9, 255]))) == [7, 8, 9, 255]
    assert looked_up([0, 1, 2], table([3, 0, 8], bytes([7, 8, 9, 0]))) == [7, 8, 9]  # padded to an even length


def test_words_of_a_big_endian_file():
    item = table([2, 0, 16], np.array([7, 300], ">u2").tobytes())
    item.set_original_encoding(is_implicit_vr=False, is_little_endian=False)
    assert looked_up([0, 1], item) == [7, 300]


def test_nought_stands_for_all_entries_that_sixteen_bits_can_count():
    assert looked_up([65535], table([0, 0, 16], np.arange(65536, dtype="<u2").tobytes())) == [65535]


def test_a_first_value_below_nought_written_as_unsigned():
    assert looked_up([-2, -1, 0], table([3, 65534, 8], [1, 2, 3])) == [1, 2, 3]


@pytest.mark.parametrize("item", [table([3, 0, 8], [1, 2]), table([2, 0, 0], [1, 2]), table([2, 0, 17], [1, 2])])
def test_a_table_that_contradicts_its_descriptor_is_refused(item):
    with pytest.raises(ValueError, match="descriptor"):
        lookup(np.array([0]), item)


def test_window_functions_of_the_standard():
    values = np.array([0, 100, 200], np.float32)
    assert window(values, 100, 200, "LINEAR_EXACT").tolist() == [0, 0.5, 1]
    np.testing.assert_allclose(window(values, 100, 200, "SIGMOID"), [0.1192, 0.5, 0.8808], atol=1e-4)
    assert window(values, 100, 1, "LINEAR").tolist() == [0, 1, 1]


@given(
    st.lists(st.tuples(st.floats(-1e6, 1e6, width=32), st.integers(0, 30)), min_size=1, max_size=40).filter(
        lambda pairs: any(count for _, count in pairs)
    ),
    st.tuples(st.floats(0, 100), st.floats(0, 100)),
)
def test_percentiles_of_counted_values_are_those_of_numpy(pairs, shares):
    values_V, counts_V = np.array([v for v, _ in pairs], np.float32), np.array([c for _, c in pairs])
    expected = np.percentile(np.repeat(values_V, counts_V), shares).astype(np.float32)
    assert percentiles(values_V, counts_V, shares) == tuple(expected)


def test_values_that_no_pixel_has_do_not_count():
    values_V, counts_V = np.arange(100, dtype=np.float32), np.zeros(100, np.int64)
    counts_V[[40, 60]] = 500
    stretched_V = stretch(values_V, counts_V)
    assert (stretched_V[40], stretched_V[60], stretched_V[0], stretched_V[99]) == (0, 1, -2, 2.95)


def test_a_constant_image_is_black():
    assert stretch(np.full(4, 7, np.float32), np.ones(4, np.int64)).max() == 0


@given(arrays(np.uint8, (5, 7, 3)))
def test_luminance_is_that_of_pillow(rgb_HWC):
    assert luminance(rgb_HWC).tolist() == np.asarray(Image.fromarray(rgb_HWC).convert("L")).tolist()


def test_luminance_of_sixteen_bits_does_not_overflow():
    assert luminance(np.full((1, 3), 65535, np.uint16)).tolist() == [65535]
