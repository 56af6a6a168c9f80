"""The steps of the display chain, each on a list of values: lookup table, window, stretch, luminance, 8 bits.

In: the values of pixels. Out: their new values. `display` and `raster` decide which steps a file needs.
"""

# V values, E entries of a lookup table, C colour channels
from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from sharding.pixels.decode.palette import entries, is_little_endian

Values = NDArray[np.float32]
Grey8 = NDArray[np.uint8]

LEAST_BITS = 8  # of a lookup table
PERCENTILES = (0.5, 99.5)
LUMINANCE = (19595, 38470, 7471)  # 0.299, 0.587, 0.114 (Rec. 601) of 2**16, as Pillow's "L"


def lookup(values_V: NDArray[Any], item: Dataset) -> tuple[NDArray[Any], int]:
    """The values by the table of a modality or VOI LUT item (PS3.3 C.11.1.1 and C.11.2.1.1) and its white.

    White is what the descriptor says, unless the entries have another depth: then the largest number of as few bits as
    hold them. Raises ValueError if the table is shorter than its descriptor says or cannot be read.
    """
    count, first, bits = (int(number) for number in item.LUTDescriptor)
    count = count or 2**16  # 0 means 65,536
    if first >= 2**15 and values_V.min() < 0:
        first -= 2**16  # the descriptor of signed values, written as unsigned
    entries_E = _entries(item, count)
    if len(entries_E) < count or not 1 <= bits <= 16:
        raise ValueError("the lookup table contradicts its descriptor")
    top = white(entries_E[:count], bits)
    return entries_E[np.clip(values_V.astype(np.int64) - first, 0, count - 1)], top


def white(entries_E: NDArray[Any], bits: int) -> int:
    """The number that is white in a table of this depth, or of the depth of its entries if they contradict it."""
    highest, top = int(entries_E.max()), 2**bits - 1
    return top if top <= 2 * highest <= 2 * top else 2 ** max(LEAST_BITS, highest.bit_length()) - 1


def _entries(item: Dataset, count: int) -> NDArray[Any]:
    """16-bit numbers, as bytes or as values; or 8-bit ones, two to a word."""
    data = item.LUTData
    if not isinstance(data, bytes):
        return np.asarray(data, np.int64).reshape(-1) & 0xFFFF
    return entries(data, count, is_little_endian(item))


def window(values_V: Values, centre: float, width: float, function: str) -> Values:
    """Display values by the window functions LINEAR, LINEAR_EXACT and SIGMOID of PS3.3 C.11.2.1.2 and C.11.2.1.3.

    0 is black and 1 white; linear ones are not cut to that range (`to_8_bit` does).
    """
    if function == "SIGMOID":
        return np.float32(1) / (1 + np.exp(-4 * (values_V - np.float32(centre)) / np.float32(width)))
    if function == "LINEAR" and width >= 1:
        centre, width = centre - 0.5, width - 1
    if width <= 0:
        return (values_V > centre).astype(np.float32)
    return (values_V - np.float32(centre)) / np.float32(width) + np.float32(0.5)


def stretch(values_V: Values, counts_V: NDArray[np.int64]) -> Values:
    """Display values, 0 and 1 at two percentiles of the pixels, counted by value; a constant image becomes zeros."""
    low, high = percentiles(values_V, counts_V, PERCENTILES)
    if high <= low:
        held_V = values_V[counts_V > 0]
        low, high = held_V.min(), held_V.max()
    if high <= low:
        return np.zeros(values_V.shape, np.float32)
    return (values_V - low) / (high - low)


def percentiles(
    values_V: Values, counts_V: NDArray[np.int64], shares: tuple[float, float]
) -> tuple[np.float32, np.float32]:
    """Two percentiles of values with these counts, linearly interpolated (like `numpy.percentile`)."""
    order_V = np.argsort(values_V, kind="stable")
    ends_V = np.cumsum(counts_V[order_V])
    places_2 = (ends_V[-1] - 1) * (np.array(shares) / 100)
    below_2 = np.floor(places_2).astype(np.int64)
    above_2 = np.minimum(below_2 + 1, ends_V[-1] - 1)
    low_2, high_2 = (values_V[order_V[np.searchsorted(ends_V, at_2, side="right")]] for at_2 in (below_2, above_2))
    share_2, step_2 = places_2 - below_2, high_2 - low_2
    # From the nearer neighbour, as numpy does, so that rounding agrees.
    percentile_2 = np.where(share_2 < 0.5, low_2 + step_2 * share_2, high_2 - step_2 * (1 - share_2)).astype(np.float32)
    return percentile_2[0], percentile_2[1]


def luminance(rgb: NDArray[Any]) -> NDArray[Any]:
    """The luminance of colours (..., C), in their integer type of up to 16 bits."""
    parts = [rgb[..., channel].astype(np.uint32) * np.uint32(share) for channel, share in enumerate(LUMINANCE)]
    return ((parts[0] + parts[1] + parts[2] + np.uint32(2**15)) >> np.uint32(16)).astype(rgb.dtype)


def to_8_bit(display_V: Values) -> Grey8:
    """Display values as 0..255, 0 and less black, 1 and more white, rounded half up."""
    return (np.clip(display_V, 0, 1) * np.float32(255) + np.float32(0.5)).astype(np.uint8)
