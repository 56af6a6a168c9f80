"""A picture with its score map, boxes and sentence, as one image.

In: a grey picture, a score grid, the geometry of both, boxes in original pixels. Out: a Pillow image or a PNG file. The
only text in it is the sentence: no name, no file, no date.
"""

# h w rows and columns of the drawing, C colours

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sentalign.localize.heatmap import Array, bilinear, is_flat, original_taps, shape
from sharding.pixels import Geometry, Picture, resize

# Inferno is even in lightness and told apart with every kind of colour vision; its dark end is left see-through.
COLOURS = "inferno"
STRONGEST = 0.55
FAINTEST_SHARE = 0.35
SMALLEST = 640  # a smaller drawing is hard to read
# Okabe and Ito's colours for all kinds of colour vision.
FOUND, TRUTH, OUTLINE = (86, 180, 233), (255, 255, 255), (0, 0, 0)
XYWH = tuple[float, float, float, float]


def draw(
    picture: Picture,
    grid_HW: Array,
    frame: Geometry,
    found: Iterable[XYWH] = (),
    truth: Iterable[XYWH] = (),
    peak: tuple[int, int] | None = None,
    long_side: int = 1024,
) -> Image.Image:
    """The picture under its map; boxes (x, y, w, h) and peak in original pixels.

    It is at most `long_side` pixels long; a smaller picture is enlarged to 640 pixels, that too at most to `long_side`.

    `frame` leads from the original pixels to the square that `grid_HW` covers. Found boxes are blue, true ones white.
    """
    small = _sized(picture, min(long_side, max(SMALLEST, *picture.grey_HW.shape)))
    image = Image.fromarray(_blend(small, grid_HW, frame))
    pen = ImageDraw.Draw(image)
    line = max(1, round(max(image.size) / 320))
    for colour, boxes in ((FOUND, found), (TRUTH, truth)):
        for box in boxes:
            _rectangle(pen, _corners(small.geometry, box), colour, line)
    if peak is not None:
        _cross(pen, small.geometry.to_output(np.array([peak]) + 0.5)[0], 4 * line, line)
    return image


def _sized(picture: Picture, long_side: int) -> Picture:
    """The picture scaled up or down to that long side."""
    rows, columns = picture.grey_HW.shape
    height, width = (max(1, round(side * long_side / max(rows, columns))) for side in (rows, columns))
    step = Geometry.resized(rows, columns, height, width)
    return Picture(resize(picture.grey_HW, height, width), picture.geometry.then(step), picture.provenance)


def _blend(small: Picture, grid_HW: Array, frame: Geometry) -> np.ndarray:
    grey_hwC = np.repeat(small.grey_HW[:, :, None], 3, axis=2).astype(float)
    map_hw = _map_on(small, grid_HW, frame)
    if is_flat(map_hw):
        return grey_hwC.astype(np.uint8)
    height_hw = (map_hw - map_hw.min()) / (map_hw.max() - map_hw.min())
    colour_hwC = matplotlib.colormaps[COLOURS](height_hw)[:, :, :3] * 255
    cover_hw = STRONGEST * np.clip((height_hw - FAINTEST_SHARE) / (1 - FAINTEST_SHARE), 0, 1)
    return np.round(grey_hwC + cover_hw[:, :, None] * (colour_hwC - grey_hwC)).astype(np.uint8)


def _map_on(small: Picture, grid_HW: Array, frame: Geometry) -> Array:
    """The map at the pixel centres of the picture that is drawn, which may be cropped from its original."""
    rows, columns = small.grey_HW.shape
    ys = small.geometry.to_original(np.stack([np.zeros(rows), np.arange(rows) + 0.5], axis=1))[:, 1]
    xs = small.geometry.to_original(np.stack([np.arange(columns) + 0.5, np.zeros(columns)], axis=1))[:, 0]
    return bilinear(grid_HW, *original_taps(frame, shape(grid_HW), ys, xs))


def _corners(geometry: Geometry, box: XYWH) -> tuple[float, float, float, float]:
    x, y, width, height = box
    (left, top), (right, bottom) = geometry.to_output(np.array([[x, y], [x + width, y + height]]))
    return left, top, right - 1, bottom - 1


def _rectangle(pen: ImageDraw.ImageDraw, at: XYWH, colour: tuple[int, int, int], line: int) -> None:
    left, top, right, bottom = at
    right, bottom = max(left, right), max(top, bottom)
    # A dark rim keeps the box visible on bright bone and on the map alike.
    pen.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline=OUTLINE, width=line + 2)
    pen.rectangle((left, top, right, bottom), outline=colour, width=line)


def _cross(pen: ImageDraw.ImageDraw, at: Array, arm: int, line: int) -> None:
    x, y = at
    for colour, width in ((OUTLINE, line + 2), (FOUND, line)):
        pen.line((x - arm, y - arm, x + arm, y + arm), fill=colour, width=width)
        pen.line((x - arm, y + arm, x + arm, y - arm), fill=colour, width=width)


def titled(image: Image.Image, sentence: str) -> Image.Image:
    """The image under its sentence, wrapped to its width; at least 480 pixels wide so that the words stay readable."""
    width = max(480, image.width)
    size = max(16, width // 40)
    lines = textwrap.wrap(sentence, max(20, int(width / (0.56 * size)))) or [""]
    bar = round(size * (1.35 * len(lines) + 1))
    sheet = Image.new("RGB", (width, image.height + bar), (17, 17, 17))
    sheet.paste(image, ((width - image.width) // 2, bar))
    ImageDraw.Draw(sheet).multiline_text(
        (size * 0.6, size * 0.5), "\n".join(lines), font=_font(size), fill=TRUTH, spacing=size * 0.2
    )
    return sheet


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib carries: it has the letters of every European report."""
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size)


def write(path: Path, picture: Picture, grid_HW: Array, frame: Geometry, sentence: str, found: Sequence[XYWH],
          peak: tuple[int, int] | None) -> None:  # fmt: skip
    """Writes the titled drawing as PNG."""
    titled(draw(picture, grid_HW, frame, found, peak=peak), sentence).save(path)
