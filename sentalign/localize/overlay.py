"""A picture with its score map, boxes and sentence, as one image.

In: a grey picture, a score grid, the geometry of both, boxes in original pixels. Out: a Pillow image or a PNG file. The
sentence is the only text in it: no patient name, no file name, no date.
"""

# h w rows and columns of the drawing, C colours, L levels of a map, G greys

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from sentalign.localize.maps.heatmap import Array, bilinear, is_flat, original_taps, shape
from sharding.pixels import Geometry, Picture, resize

# Inferno is perceptually uniform and readable with colour blindness; its dark end is transparent.
COLOURS = "inferno"
MAX_OPACITY = 0.55
TRANSPARENT_BELOW = 0.35
MIN_SIDE = 640  # a smaller drawing is hard to read
# Okabe and Ito's palette, which is safe for colour blindness.
PREDICTED, TRUTH, OUTLINE = (86, 180, 233), (255, 255, 255), (0, 0, 0)
XYWH = tuple[float, float, float, float]
Region = Callable[[Array, Array], NDArray[np.bool_]]


def draw(
    picture: Picture,
    grid_HW: Array,
    frame: Geometry,
    predicted: Iterable[XYWH] = (),
    truth: Iterable[XYWH] = (),
    peak: tuple[int, int] | None = None,
    long_side: int = 1024,
    outlined: Region | None = None,
) -> Image.Image:
    """The picture under its map; boxes (x, y, w, h) and peak in original pixels.

    A picture smaller than 640 pixels is enlarged to 640; the long side of the result is at most `long_side`. `frame`
    leads from the original pixels to the square that `grid_HW` covers. Predicted boxes are blue, true ones white, as is
    the edge of the region `outlined`, a mask that is asked by rows and columns of points in original pixels.
    """
    resized = sized(picture, min(long_side, max(MIN_SIDE, *picture.grey_HW.shape)))
    blended_hwC = _blend(resized, grid_HW, frame)
    if outlined is not None:
        mask_hw = outlined(*pixel_centres(resized))
        blended_hwC[mask_hw & ~ndimage.binary_erosion(mask_hw, iterations=2)] = TRUTH
    image = Image.fromarray(blended_hwC)
    pen = ImageDraw.Draw(image)
    line = max(1, round(max(image.size) / 320))
    for colour, boxes in ((PREDICTED, predicted), (TRUTH, truth)):
        for box in boxes:
            _rectangle(pen, _corners(resized.geometry, box), colour, line)
    if peak is not None:
        _cross(pen, resized.geometry.to_output(np.array([peak]) + 0.5)[0], 4 * line, line)
    return image


def sized(picture: Picture, long_side: int) -> Picture:
    """The picture scaled up or down to that long side."""
    rows, columns = picture.grey_HW.shape
    height, width = (max(1, round(side * long_side / max(rows, columns))) for side in (rows, columns))
    step = Geometry.resized(rows, columns, height, width)
    return Picture(resize(picture.grey_HW, height, width), picture.geometry.then(step), picture.provenance)


def _blend(picture: Picture, grid_HW: Array, frame: Geometry) -> NDArray[np.uint8]:
    map_hw = map_on(picture, grid_HW, frame)
    if is_flat(map_hw):
        return np.repeat(picture.grey_HW[:, :, None], 3, axis=2)
    map_hw -= map_hw.min()
    level_hw = (map_hw * (255.999 / map_hw.max())).astype(np.uint16)
    colour_hw = _blended().take((level_hw << 8) + picture.grey_HW)
    return colour_hw.view(np.uint8).reshape(*colour_hw.shape, 4)[:, :, :3]


@cache
def _blended() -> NDArray[np.uint32]:
    """The colour of every level of the map on every grey, (256 * 256,): one word, which is faster than three bytes."""
    level_L = np.linspace(0, 1, 256)
    colour_LC = matplotlib.colormaps[COLOURS](level_L)[:, :3] * 255
    opacity_L11 = MAX_OPACITY * np.clip((level_L - TRANSPARENT_BELOW) / (1 - TRANSPARENT_BELOW), 0, 1)[:, None, None]
    grey_G1 = np.arange(256)[:, None]
    blended_LG4 = np.zeros((256, 256, 4), np.uint8)
    blended_LG4[:, :, :3] = np.round(grey_G1 + opacity_L11 * (colour_LC[:, None] - grey_G1))
    return blended_LG4.view(np.uint32).reshape(-1)


def map_on(picture: Picture, grid_HW: Array, frame: Geometry) -> Array:
    """The map at the pixel centres of the drawn picture."""
    return bilinear(grid_HW, *original_taps(frame, shape(grid_HW), *pixel_centres(picture)))


def pixel_centres(picture: Picture) -> tuple[Array, Array]:
    """Rows and columns of the pixel centres of a picture, which may be a crop of its original, in original pixels."""
    rows, columns = picture.grey_HW.shape
    ys = picture.geometry.to_original(np.stack([np.zeros(rows), np.arange(rows) + 0.5], axis=1))[:, 1]
    xs = picture.geometry.to_original(np.stack([np.arange(columns) + 0.5, np.zeros(columns)], axis=1))[:, 0]
    return ys, xs


def _corners(geometry: Geometry, box: XYWH) -> tuple[float, float, float, float]:
    x, y, width, height = box
    (left, top), (right, bottom) = geometry.to_output(np.array([[x, y], [x + width, y + height]]))
    return left, top, right - 1, bottom - 1


def _rectangle(pen: ImageDraw.ImageDraw, at: XYWH, colour: tuple[int, int, int], line: int) -> None:
    left, top, right, bottom = at
    right, bottom = max(left, right), max(top, bottom)
    # A dark outline keeps the box visible on bright bone and on the map.
    pen.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline=OUTLINE, width=line + 2)
    pen.rectangle((left, top, right, bottom), outline=colour, width=line)


def _cross(pen: ImageDraw.ImageDraw, at: Array, arm: int, line: int) -> None:
    x, y = at
    for colour, width in ((OUTLINE, line + 2), (PREDICTED, line)):
        pen.line((x - arm, y - arm, x + arm, y + arm), fill=colour, width=width)
        pen.line((x - arm, y + arm, x + arm, y - arm), fill=colour, width=width)


def titled(image: Image.Image, sentence: str) -> Image.Image:
    """The image below its sentence, wrapped to its width."""
    width, size = text_size(image)
    lines = wrapped(sentence, width, size)
    bar = round(size * (1.35 * len(lines) + 1))
    sheet = Image.new("RGB", (width, image.height + bar), (17, 17, 17))
    sheet.paste(image, ((width - image.width) // 2, bar))
    ImageDraw.Draw(sheet).multiline_text(
        (size * 0.6, size * 0.5), "\n".join(lines), font=font(size), fill=TRUTH, spacing=size * 0.2
    )
    return sheet


def text_size(image: Image.Image) -> tuple[int, int]:
    """The width of a sheet with the image and a text, at least 480 pixels to be readable, and that of its letters."""
    width = max(480, image.width)
    return width, max(16, width // 40)


def wrapped(sentence: str, width: float, size: int) -> list[str]:
    """The lines of a sentence that fit into a width, at most six: the rest of a longer one is left out."""
    return textwrap.wrap(sentence, max(20, int(width / (0.56 * size))), max_lines=6, placeholder=" ...") or [""]


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib: it has the letters of all European languages."""
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size)


def write(path: Path, picture: Picture, grid_HW: Array, frame: Geometry, sentence: str, predicted: Sequence[XYWH],
          peak: tuple[int, int] | None) -> None:  # fmt: skip
    """Writes the titled drawing as PNG."""
    titled(draw(picture, grid_HW, frame, predicted, peak=peak), sentence).save(path)
