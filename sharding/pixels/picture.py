"""A grey image in display space, and the geometry that maps it to the pixels of its file.

In: 8-bit grey arrays. Out: smaller or square ones, each with the `Geometry` that maps points both ways. Files are read
in `pixels`. Pixel i covers [i, i + 1): a point at 0 is the outer edge of the first pixel.
"""

# H rows, W columns, S side of a square, N points; a point is (x, y)
from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Grey = NDArray[np.uint8]
Points = NDArray[np.float64]

REDUCING_GAP = 1.2
MAX_DEEP_PIXELS = 2**24  # of more than 16 bits, whose values are not listed in a table: ten times the memory
MAX_PIXELS = 2**26  # three of the largest detectors stitched to a leg have 55 million


@dataclass(frozen=True)
class Geometry:
    """Crop, scale and padding between an original image and the one at hand; invertible.

    `crop` is (top, left, height, width) in original pixels, `scale` and `pad` are (y, x), `spacing` is (row, column) in
    mm of the original pixels, None if unknown.
    """

    rows: int
    columns: int
    crop: tuple[float, float, float, float]
    scale: tuple[float, float]
    pad: tuple[float, float]
    height: int
    width: int
    spacing: tuple[float, float] | None = None

    @classmethod
    def identity(cls, rows: int, columns: int, spacing: tuple[float, float] | None = None) -> Self:
        return cls(
            rows, columns, (0.0, 0.0, float(rows), float(columns)), (1.0, 1.0), (0.0, 0.0), rows, columns, spacing
        )

    @classmethod
    def resized(cls, rows: int, columns: int, height: int, width: int) -> Self:
        """The whole image scaled to (height, width), each axis by its exact ratio."""
        return replace(cls.identity(rows, columns), scale=(height / rows, width / columns), height=height, width=width)

    def to_output(self, points_xy_N2: Points) -> Points:
        """Original points (x, y), shape (N, 2), in output pixels."""
        return (np.asarray(points_xy_N2, float) - self._corner()) * self._scale() + self._pad()

    def to_original(self, points_xy_N2: Points) -> Points:
        """Output points (x, y), shape (N, 2), in original pixels; the inverse of `to_output`."""
        return (np.asarray(points_xy_N2, float) - self._pad()) / self._scale() + self._corner()

    def then(self, other: Geometry) -> Geometry:
        """This geometry followed by `other`, whose original is this output."""
        assert (other.rows, other.columns) == (self.height, self.width), "geometries do not follow each other"
        window = np.array(
            [[other.crop[1], other.crop[0]], [other.crop[1] + other.crop[3], other.crop[0] + other.crop[2]]]
        )
        low, high = self.to_original(window)
        top, left = max(self.crop[0], float(low[1])), max(self.crop[1], float(low[0]))
        bottom = max(top, min(self.crop[0] + self.crop[2], float(high[1])))
        right = max(left, min(self.crop[1] + self.crop[3], float(high[0])))
        pad_x, pad_y = other.to_output(self.to_output(np.array([[left, top]])))[0]
        return Geometry(
            self.rows,
            self.columns,
            (top, left, bottom - top, right - left),
            (self.scale[0] * other.scale[0], self.scale[1] * other.scale[1]),
            (float(pad_y), float(pad_x)),
            other.height,
            other.width,
            self.spacing,
        )

    def as_dict(self) -> dict[str, Any]:
        """The JSON form; `from_dict` is the inverse."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        pairs: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        return cls(**pairs)

    def _corner(self) -> Points:
        return np.array([self.crop[1], self.crop[0]])

    def _scale(self) -> Points:
        return np.array([self.scale[1], self.scale[0]])

    def _pad(self) -> Points:
        return np.array([self.pad[1], self.pad[0]])


@dataclass(frozen=True)
class Picture:
    """An 8-bit grey image in display space (dense is bright), its place in the file, and how it was made."""

    grey_HW: Grey
    geometry: Geometry
    provenance: dict[str, str]


def resize(grey_HW: Grey, height: int, width: int) -> Grey:
    """Scaled to (height, width) with antialiasing (Pillow's triangle filter: it does not ring at bone edges).

    Far down (from REDUCING_GAP times 2), whole pixels are averaged first: nearly twice as fast, 0.3 grey values apart
    in the mean, and less aliasing than the area filter that others use.
    """
    if grey_HW.shape == (height, width):
        return grey_HW
    image = Image.fromarray(grey_HW)
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=REDUCING_GAP))


def shrink(picture: Picture, long_side: int) -> Picture:
    """The picture with its long side at most `long_side`; the aspect is kept and nothing is enlarged."""
    rows, columns = picture.grey_HW.shape
    ratio = long_side / max(rows, columns)
    if ratio >= 1:
        return picture
    height, width = max(1, round(rows * ratio)), max(1, round(columns * ratio))
    step = Geometry.resized(rows, columns, height, width)
    return replace(
        picture,
        grey_HW=resize(picture.grey_HW, height, width),
        geometry=picture.geometry.then(step),
        provenance=picture.provenance | {"resize": f"triangle, reducing gap {REDUCING_GAP}"},
    )


def letterbox(grey_HW: Grey, size: int, long_side: int = 0) -> tuple[Grey, Geometry]:
    """The image scaled to the long side `long_side` (0: `size`), centred on zeros: (size, size) uint8 and its geometry.

    In the paper's mode (docs/method.md): long side 224, letterboxed with zeros to 299 x 299.
    """
    rows, columns = grey_HW.shape
    ratio = (long_side or size) / max(rows, columns)
    height, width = max(1, round(rows * ratio)), max(1, round(columns * ratio))
    top, left = (size - height) // 2, (size - width) // 2
    square_SS = np.zeros((size, size), np.uint8)
    square_SS[top : top + height, left : left + width] = resize(grey_HW, height, width)
    step = Geometry.resized(rows, columns, height, width)
    return square_SS, replace(step, pad=(float(top), float(left)), height=size, width=size)
