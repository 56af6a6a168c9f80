"""Values in the units of the modality → display values: by lookup table, window, full range or percentiles.

In: a dataset, its layout, and the values of its pixels. Out: display values, 0 black and 1 white, and where they are
from. What the header gives is judged by what it shows: a table or a window that hides nearly everything, or squeezes it
into a quarter of the greys, belongs to other values, and the next source serves.
"""

# H rows, W columns, V values that a pixel may have, N sampled pixels
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.multival import MultiValue

from sharding.pixels.decode.layout import AS_SAID, PixelLayout
from sharding.pixels.header import is_present, number, text, value
from sharding.pixels.modality import rescale, tables
from sharding.pixels.transforms import PERCENTILES, Values, lookup, stretch, window
from sharding.pixels.value_table import ValueTable

Mask = NDArray[np.bool_]
Steps = dict[str, str]
Found = tuple[Values | None, str]  # display values with "source: detail", or None with the reason why not

# The share of pixels at one end of the display range that makes a window or a table unfit, also where the depth is in
# doubt; and the share of each 8th pixel of each 8th row at which all are counted.
HIDDEN, HIDDEN_IN_DOUBT, HIDDEN_SAMPLE, SAMPLED = 0.995, 0.5, 0.97, 8
# The part of the greys that nearly all pixels share if they belong to another depth, and their fewest stored levels: an
# unexposed picture is nearly constant, and its noise is nothing to look at.
SQUEEZED, SQUEEZED_LEVELS = 0.25, 32
LESS_DEPTH = "values of less depth than said"
FEWEST, ENOUGH = 200, 2**14  # pixels that can be judged, and that are looked at
FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")


@dataclass(frozen=True)
class ValuesOfInterest:
    """The pixels to be shown: their values in the units of the modality, and which are outside the exposed field."""

    dataset: Dataset
    layout: PixelLayout
    values_V: NDArray[Any]
    table: ValueTable
    padding_V: Mask | None

    def shown(self) -> tuple[Values, Steps]:
        """Display values and their source: the first VOI LUT, the first window, all stored values, or percentiles."""
        reason = ""
        for source in (self._by_table, self._by_window, self._by_full_range):
            shown_V, said = source()
            if shown_V is not None:
                name, detail = said.split(": ", 1)
                return shown_V, {"voi_source": name, "voi": f"{detail}, {reason}" if reason else detail}
            reason = said or reason
        return self._stretched(), {"voi_source": "percentile", "voi": reason or self._no_window()}

    def _by_table(self) -> Found:
        """By the first VOI LUT, if it is fit."""
        items = tables(self.dataset, "VOILUTSequence")
        if not items:
            return None, ""
        try:
            looked_up_V, top = lookup(self.values_V, items[0])
            said = 2 ** int(items[0].LUTDescriptor[2]) - 1
        except Exception:  # pydicom raises any type for an element that cannot be read
            return None, "unusable lookup table"
        shown_V = looked_up_V.astype(np.float32) / np.float32(top)
        depth = "" if top == said else f", of {top.bit_length()} bits and not as said"
        return self._judged(shown_V, "lookup table", f"lut: 1 of {len(items)}{depth}")

    def _by_window(self) -> Found:
        window_2 = self._window()
        if window_2 is None:
            return None, ""
        function = text(self.dataset, "VOILUTFunction").upper()
        function = function if function in FUNCTIONS else "LINEAR"
        shown_V = window(self.values_V.astype(np.float32), *window_2, function)
        centres = value(self.dataset, "WindowCenter")
        count = len(centres) if isinstance(centres, list | MultiValue) else 1
        return self._judged(shown_V, "window", f"window: 1 of {count}, {function}")

    def _by_full_range(self) -> Found:
        """All values that can be stored, for an image without a window that says it needs none, or has few bits."""
        intent = text(self.dataset, "PresentationIntentType").upper()
        has_window = self._window() and self.layout.depth == AS_SAID  # else that of another depth, and as good as none
        if has_window or (self.layout.bits > 8 and intent != "FOR PRESENTATION"):
            return None, ""
        low, high = self._output_range()
        shown_V = (self.values_V.astype(np.float32) - low) / (high - low)
        if self.table.stored_HW.dtype.itemsize > 1 and is_squeezed(shown_V, self.table, self._inside()):
            return None, LESS_DEPTH
        return shown_V, "none: full range"

    def _judged(self, shown_V: Values, what: str, said: str) -> Found:
        limit, inside_V = HIDDEN if self.layout.depth == AS_SAID else HIDDEN_IN_DOUBT, self._inside()
        if hides(shown_V, self.values_V, self.table, inside_V, limit):
            return None, f"{what} beside all values"
        return (None, f"{what} of another depth") if is_squeezed(shown_V, self.table, inside_V) else (shown_V, said)

    def _stretched(self) -> Values:
        counts_V = self.table.counts if self.padding_V is None else np.where(self.padding_V, 0, self.table.counts)
        return stretch(self.values_V.astype(np.float32), counts_V)

    def _output_range(self) -> tuple[np.float32, np.float32]:
        """The lowest and the highest value after the modality transform, for an image without a VOI transform."""
        items = tables(self.dataset, "ModalityLUTSequence")
        if items:
            return np.float32(0), np.float32(lookup(np.zeros(1, np.int64), items[0])[1])
        slope, intercept = rescale(self.dataset)
        low, high = sorted(end * slope + intercept for end in self.layout.range)
        return np.float32(low), np.float32(high)

    def _inside(self) -> Mask | None:
        return None if self.padding_V is None else ~self.padding_V

    def _window(self) -> tuple[float, float] | None:
        """Centre and width of the first window."""
        centre, width = number(self.dataset, "WindowCenter"), number(self.dataset, "WindowWidth")
        return None if centre is None or width is None or width <= 0 else (centre, width)

    def _no_window(self) -> str:
        unreadable = is_present(self.dataset, "WindowCenter") and number(self.dataset, "WindowCenter") is None
        return "unreadable window" if unreadable else "no window"


def hides(
    shown_V: Values, values_V: NDArray[Any], table: ValueTable, among_V: Mask | None, limit: float = HIDDEN
) -> bool:
    """Whether nearly all pixels become black, or white, although they are not alike; some real files have such windows.

    A part of the pixels decides first: most images need no count of all.
    """
    for end_V in (shown_V <= 0, shown_V >= 1):
        end_V = end_V if among_V is None else end_V & among_V
        if table.share(end_V, among_V, SAMPLED) < min(HIDDEN_SAMPLE, limit) or table.share(end_V, among_V) < limit:
            continue
        held_V = values_V[end_V & (table.counts > 0)]
        if held_V.size and np.ptp(held_V) > 0:
            return True
    return False


def is_squeezed(shown_V: Values, table: ValueTable, among_V: Mask | None) -> bool:
    """Whether 99% of the pixels share a quarter of the greys, although they have many stored levels."""
    places_N = table.places(max(1, round((table.stored_HW.size / ENOUGH) ** 0.5)))
    if among_V is not None:
        places_N = places_N[among_V[places_N]]
    if places_N.size < FEWEST:
        return False
    dark, bright = _middle(np.clip(shown_V[places_N], 0, 1))
    if bright - dark >= SQUEEZED:
        return False
    low, high = _middle(table.values_V[places_N].astype(np.float64))
    return bool(high - low >= SQUEEZED_LEVELS)


def _middle(values_N: NDArray[Any]) -> tuple[float, float]:
    """The values between which 99% lie."""
    ordered_N = np.sort(values_N)
    low, high = (round(share / 100 * (ordered_N.size - 1)) for share in PERCENTILES)
    return float(ordered_N[low]), float(ordered_N[high])
