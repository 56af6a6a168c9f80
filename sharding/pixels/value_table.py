"""The display chain by table: it runs once for each distinct stored value, not for each pixel.

In: the stored values of an image. Out: the distinct values, their counts, and the picture after a table look-up. The
chain itself is in `display`.
"""

# H rows, W columns, V values that a pixel may have
from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Shade = NDArray[np.unsignedinteger[Any]]  # 8 or 16 bits

BLOCK = 2**18  # pixels per look-up: numpy makes 64-bit indices of them, which stay in the CPU cache


@dataclass(frozen=True)
class ValueTable:
    """All values from the lowest to the highest of an image, in order; `low` is the first.

    For an image with fewer pixels than that, or with more than 16 bits, `values_V` are its pixels (`low` is None).
    """

    stored_HW: NDArray[Any]
    values_V: NDArray[Any]
    low: int | None

    @classmethod
    def of(cls, stored_HW: NDArray[Any]) -> Self:
        low, high = int(stored_HW.min()), int(stored_HW.max())
        if stored_HW.dtype.itemsize > 2 or high - low >= stored_HW.size:
            return cls(stored_HW, stored_HW.reshape(-1), None)
        return cls(stored_HW, np.arange(low, high + 1).astype(stored_HW.dtype), low)

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """The number of pixels with each value."""
        if self.low is None:
            return np.ones(self.values_V.shape, np.int64)
        counts = np.zeros(self.values_V.shape, np.int64)
        for block_HW in self._blocks(self.stored_HW):
            above_low = block_HW.reshape(-1) if self.low == 0 else block_HW.reshape(-1).astype(np.intp) - self.low
            counts += np.bincount(above_low, minlength=len(counts))
        return counts

    def places(self, step: int = 1) -> NDArray[np.intp]:
        """The index into `values_V` of each `step`-th pixel of each `step`-th row, in one dimension."""
        if self.low is None:
            return np.arange(0, self.values_V.size, step * step)
        return self.stored_HW[::step, ::step].reshape(-1).astype(np.intp) - self.low

    def share(self, chosen_V: NDArray[np.bool_], among_V: NDArray[np.bool_] | None, step: int = 1) -> float:
        """The share of the pixels with a chosen value, among those of `among_V`; of each `step`-th row and column."""
        places = self.places(step)
        chosen = chosen_V[places]
        return float(chosen.mean() if among_V is None else chosen.sum() / max(1, among_V[places].sum()))

    def any_between(self, low: float, high: float) -> bool:
        """Whether any pixel lies in low..high."""
        if high < self.values_V.min() or low > self.values_V.max():
            return False
        return bool(((self.stored_HW >= low) & (self.stored_HW <= high)).any())

    def paint(self, shown_V: Shade) -> Shade:
        """The picture with each pixel's value shown by `shown_V`; may share memory with the stored values."""
        if self.low is None:
            return shown_V.reshape(self.stored_HW.shape)
        if self.stored_HW.dtype == shown_V.dtype == np.uint8:
            if np.array_equal(shown_V, self.values_V):
                return self.stored_HW
            if np.array_equal(shown_V, 255 - self.values_V):
                return np.invert(self.stored_HW)
        # Negative values index from the end of the table, as in numpy.
        size = self.low + len(shown_V) if self.low >= 0 else 2 ** (8 * self.stored_HW.dtype.itemsize)
        table = np.zeros(size, shown_V.dtype)
        table[self.values_V] = shown_V
        shown_HW = np.empty(self.stored_HW.shape, shown_V.dtype)
        for stored_BW, part_BW in zip(self._blocks(self.stored_HW), self._blocks(shown_HW), strict=True):
            np.take(table, stored_BW, out=part_BW, mode="wrap")
        return shown_HW

    @staticmethod
    def _blocks(pixels_HW: NDArray[Any]) -> list[NDArray[Any]]:
        rows, columns = pixels_HW.shape
        step = max(1, BLOCK // columns)
        return [pixels_HW[top : top + step] for top in range(0, rows, step)]
