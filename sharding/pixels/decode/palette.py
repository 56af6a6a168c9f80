"""The lookup tables of palette colour (PS3.3 C.7.6.3.1.5 and .6): values → red, green and blue.

In: a dataset and values. Out: a `Palette`, colours. Entries are numbers of 8 or 16 bits, 8-bit ones also two to a
16-bit word or each in a word of its own, in the byte order of the file. pydicom expands segmented tables.
"""

# V values, E entries of a table, C = 3 colours
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels import apply_color_lut

from sharding.contract import Reason, Rejected

COLOURS = ("Red", "Green", "Blue")


@dataclass(frozen=True)
class Palette:
    """The colours (E, C) of values from `first` on, in numbers of `bits`; `note` if the descriptor says others."""

    rgb_EC: NDArray[np.uint16]
    first: int
    bits: int
    note: str

    @classmethod
    def of(cls, dataset: Dataset) -> Self:
        """Raises Rejected(DECODE) for a table that is shorter than it says, any exception for one that is missing."""
        count, first, said = _descriptor(dataset, COLOURS[0])
        if f"{COLOURS[0]}PaletteColorLookupTableData" in dataset:
            rgb_EC = np.stack([_table(dataset, colour, count) for colour in COLOURS], axis=-1)
        else:
            rgb_EC = apply_color_lut(np.arange(first, first + count), dataset)[..., : len(COLOURS)]
        highest = int(rgb_EC.max())
        bits = 8 if highest <= 255 else said if 8 < said < 16 and highest < 2**said else 16
        note = "" if bits == said else f"palette of {bits} bits, {said} said"
        return cls(rgb_EC.astype(np.uint16), first, bits, note)

    @property
    def white(self) -> int:
        return 2**self.bits - 1

    def colours(self, values_V: NDArray[Any]) -> NDArray[np.uint16]:
        """The colours of values (V, C)."""
        wraps = self.first >= 2**15 and values_V.min() < 0  # of signed values, written as unsigned
        places_V = values_V.astype(np.int64) - (self.first - 2**16 if wraps else self.first)
        return self.rgb_EC[np.clip(places_V, 0, len(self.rgb_EC) - 1)]


def _descriptor(dataset: Dataset, colour: str) -> tuple[int, int, int]:
    count, first, bits = (int(part) for part in dataset[f"{colour}PaletteColorLookupTableDescriptor"].value)
    return count or 2**16, first, bits


def _table(dataset: Dataset, colour: str, count: int) -> NDArray[Any]:
    entries_E = entries(dataset[f"{colour}PaletteColorLookupTableData"].value, count, is_little_endian(dataset))
    if len(entries_E) < count:
        raise Rejected(Reason.DECODE, "a palette is shorter than its descriptor says")
    return entries_E[:count].astype(np.uint16)


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
