"""What a display chain shows: the display value of every stored value, in 8 bits or with all that a window cuts off.

In: the table of an image's values and their display values, 0 black and 1 white. Out: 8-bit grey, or a
`FullDepthPicture` for viewers in which a person sets the window. The chains are in `display` and `raster`.
"""

# H rows, W columns, V values that a pixel may have
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sharding.pixels.picture import Grey, Picture
from sharding.pixels.transforms import Values, to_8_bit
from sharding.pixels.value_table import ValueTable

TOP = 2**16 - 1
MOST_WINDOWS = 2**16  # on each side of the file's own; headers may make them infinitely many
STRAIGHT = 1e-3  # of the range of display values: what a straight line may miss


@dataclass(frozen=True)
class Shown:
    """The display value of each value of `table`, not cut to 0..1, and how they were made.

    `values_V` are the values before the window, in units of the modality; None for colour. `padding_V` are those of
    pixels outside the exposed field.
    """

    table: ValueTable
    shares_V: Values
    steps: dict[str, str]
    values_V: NDArray[Any] | None = None
    padding_V: NDArray[np.bool_] | None = None

    def grey(self) -> Grey:
        """The picture in 8 bits, (H, W)."""
        grey_HW: Grey = self.table.paint(to_8_bit(self.shares_V))
        return grey_HW


@dataclass(frozen=True)
class FullDepthPicture:
    """A picture, and the same pixels in 16 bits with nothing cut off.

    `picture.grey_HW` shows values up to `black` as black and from `white` on as white. `units` are the values of the
    modality at these two, None where there is no straight line between (a lookup table, a sigmoid, colour).
    """

    picture: Picture
    values_HW: NDArray[np.uint16]
    black: float
    white: float
    units: tuple[float, float] | None

    @classmethod
    def of(cls, picture: Picture, shown: Shown) -> Self:
        """`picture` with the values that it was made from."""
        held_V = shown.table.counts > 0
        shares_V = np.clip(np.nan_to_num(shown.shares_V.astype(np.float64)), -MOST_WINDOWS, MOST_WINDOWS)
        low, high = min(0.0, shares_V[held_V].min()), max(1.0, shares_V[held_V].max())
        deep_V = np.rint(np.clip((shares_V - low) / (high - low), 0, 1) * TOP).astype(np.uint16)
        deep_HW = _resized(shown.table.paint(deep_V), *picture.grey_HW.shape)
        black, white = (float((end - low) / (high - low) * TOP) for end in (0, 1))
        return cls(picture, deep_HW, black, white, _units(shown, held_V))


def _resized(values_HW: NDArray[Any], height: int, width: int) -> NDArray[np.uint16]:
    """As `picture.resize` does, which knows 8 bits alone."""
    if values_HW.shape == (height, width):
        return values_HW
    image = Image.fromarray(values_HW.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    return np.rint(np.asarray(image)).astype(np.uint16)


def _units(shown: Shown, held_V: NDArray[np.bool_]) -> tuple[float, float] | None:
    """The values that are shown as 0 and 1, by the line through all held values; None where they are on none."""
    if shown.values_V is None:
        return None
    if shown.padding_V is not None:
        held_V = held_V & ~shown.padding_V
    values_V, shares_V = shown.values_V[held_V].astype(np.float64), shown.shares_V[held_V].astype(np.float64)
    ends = [int(values_V.argmin()), int(values_V.argmax())]
    (value_0, value_1), (share_0, share_1) = values_V[ends], shares_V[ends]
    if share_0 == share_1 or value_0 == value_1:
        return None
    line_V = share_0 + (values_V - value_0) * ((share_1 - share_0) / (value_1 - value_0))
    if not np.abs(line_V - shares_V).max() <= STRAIGHT * abs(share_1 - share_0):
        return None
    black, white = (value_0 + (end - share_0) * (value_1 - value_0) / (share_1 - share_0) for end in (0, 1))
    return float(black), float(white)
