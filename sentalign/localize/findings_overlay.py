"""A picture with the regions of several findings, each in its colour, above a legend of the sentences.

In: a grey picture, a score grid for each sentence, the geometry of all. Out: a Pillow image. The sentences are the only
text in it.
"""

# h w rows and columns of the drawing, C colours

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from sentalign.localize import overlay
from sentalign.localize.maps.heatmap import Array, is_flat
from sharding.pixels import Geometry, Picture

# Okabe and Ito's palette, which is safe for colour blindness, without black; reused from the eighth sentence on.
COLOURS = ((86, 180, 233), (230, 159, 0), (0, 158, 115), (204, 121, 167), (240, 228, 66), (213, 94, 0), (0, 114, 178))
OPACITY = 0.3
OUTLINE = 2  # pixels
LONG_SIDE = 1024


def draw(
    picture: Picture, grids: Sequence[Array], frame: Geometry, sentences: Sequence[str], level: float
) -> Image.Image:
    """The picture with what lies above min + `level` · (max - min) of every map, filled and outlined in its colour.

    `frame` leads from the original pixels to the square that the grids cover. A constant map has no region.
    """
    sized = overlay.sized(picture, min(LONG_SIDE, max(overlay.MIN_SIDE, *picture.grey_HW.shape)))
    colour_hwC = np.repeat(sized.grey_HW[:, :, None], 3, axis=2).astype(float)
    for number, grid_HW in enumerate(grids):
        map_hw = overlay.map_on(sized, grid_HW, frame)
        if is_flat(map_hw):
            continue
        region_hw = map_hw >= map_hw.min() + level * (map_hw.max() - map_hw.min())
        outline_hw = region_hw & ~ndimage.binary_erosion(region_hw, iterations=OUTLINE, border_value=1)
        share_hw1 = np.where(outline_hw, 1.0, OPACITY * region_hw)[:, :, None]
        colour_hwC += share_hw1 * (np.array(COLOURS[number % len(COLOURS)]) - colour_hwC)
    return _with_legend(Image.fromarray(np.round(colour_hwC).astype(np.uint8)), sentences)


def _with_legend(image: Image.Image, sentences: Sequence[str]) -> Image.Image:
    width, size = overlay.text_size(image)
    wrapped = [overlay.wrapped(sentence, width - 2 * size, size) for sentence in sentences]
    lines = [(n, line, first == 0) for n, own in enumerate(wrapped) for first, line in enumerate(own)]
    step = round(1.4 * size)
    sheet = Image.new("RGB", (width, image.height + step * len(lines) + size), (17, 17, 17))
    sheet.paste(image, ((width - image.width) // 2, step * len(lines) + size))
    pen = ImageDraw.Draw(sheet)
    for row, (number, line, is_first) in enumerate(lines):
        top = size // 2 + row * step
        if is_first:
            pen.rectangle((size * 0.6, top, size * 1.5, top + size * 0.9), fill=COLOURS[number % len(COLOURS)])
        pen.text((size * 2, top - size * 0.15), line, font=overlay.font(size), fill=overlay.TRUTH)
    return sheet
