"""The lookup tables of palette colour (PS3.3 C.7.6.3.1.5 and .6): values → red, green and blue.

In: a dataset and values. Out: colours and their white. Entries are numbers of 8 or 16 bits, 8-bit ones also two to a
16-bit word or each in a word of its own, in the byte order of the file. pydicom expands segmented tables.
"""

# V values, E entries of a table, C = 3 colours
from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels import apply_color_lut

from sharding.contract import Reason, Rejected

COLOURS = ("Red", "Green", "Blue")


def colours(values_V: NDArray[Any], dataset: Dataset) -> tuple[NDArray[np.uint16], int, str]:
    """Colours (V, C), the number that is white, and a note if that is not what the descriptor says.

    Raises Rejected(DECODE) for tables that are missing, shorter than they say, or of another depth than 8 or 16 bits.
    """
    if f"{COLOURS[0]}PaletteColorLookupTableData" not in dataset:
        segmented_VC = apply_color_lut(values_V, dataset)[..., : len(COLOURS)]
        return segmented_VC.astype(np.uint16), int(np.iinfo(segmented_VC.dtype).max), ""
    tables = [_table(dataset, colour) for colour in COLOURS]
    _, first, bits = _descriptor(dataset, COLOURS[0])
    highest = max(int(entries_E.max()) for entries_E in tables)
    if first >= 2**15 and values_V.min() < 0:
        first -= 2**16  # the descriptor of signed values, written as unsigned
    held = 8 if highest <= 255 else bits if 8 < bits < 16 and highest < 2**bits else 16
    note = "" if held == bits else f"palette of {held} bits, {bits} said"
    places_V = values_V.astype(np.int64) - first
    rgb_VC = np.stack([entries_E[np.clip(places_V, 0, len(entries_E) - 1)] for entries_E in tables], axis=-1)
    return rgb_VC.astype(np.uint16), 2**held - 1, note


def _descriptor(dataset: Dataset, colour: str) -> tuple[int, int, int]:
    count, first, bits = (int(part) for part in dataset[f"{colour}PaletteColorLookupTableDescriptor"].value)
    return count or 2**16, first, bits


def _table(dataset: Dataset, colour: str) -> NDArray[Any]:
    count, _, _ = _descriptor(dataset, colour)
    entries_E = entries(dataset[f"{colour}PaletteColorLookupTableData"].value, count, is_little_endian(dataset))
    if len(entries_E) < count:
        raise Rejected(Reason.DECODE, "a palette is shorter than its descriptor says")
    return entries_E[:count]


def is_little_endian(dataset: Dataset) -> bool:
    """The byte order of the file that the dataset or item was read from."""
    return dataset.original_encoding[1] is not False


def entries(data: bytes, count: int, little_endian: bool) -> NDArray[Any]:
    """The entries of a table as stored: `count` numbers of 8 bits, two to a 16-bit word, or of 16 bits."""
    if len(data) not in (count, count + 1) or count == 1:
        return np.frombuffer(data[: len(data) // 2 * 2], "<u2" if little_endian else ">u2")
    bytes_E = np.frombuffer(data, np.uint8)
    # The first entry is the low byte of its word, which a big-endian file has behind the high one.
    is_swapped = not little_endian and len(data) % 2 == 0
    return bytes_E if not is_swapped else bytes_E.reshape(-1, 2)[:, ::-1].reshape(-1)
