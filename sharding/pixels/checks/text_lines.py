"""A picture → what looks like lines of text in it, cut out, enlarged and put one below another for an OCR engine.

In: the grey picture as it is displayed. Out: a sheet, dark text on white, or nothing. An engine that gets a whole X-ray
reads its ribs and wires, and few of its letters; lines of one size on white are what it was made for. Letters are thin
strokes close to each other: strokes are what a white top-hat leaves (a picture minus its morphological opening). Text
that stands on end is not found.
"""

# H rows, W columns of pixels; h, w of blocks
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from sharding.pixels.picture import Grey

LONGEST = 1024  # pixels of the side that is searched: more finds ribs and noise, less loses small letters
WIDEST = 13  # pixels; the strokes of letters are thinner, and what is wider is no letter
BLOCK = 8  # pixels
STRONG, SHARE = 30, 0.1  # grey levels of a stroke above its ground; share of such pixels in a block with letters
GAP = 2  # blocks between two words of a line, at most
NARROWEST, TALLEST = 3, 10  # blocks of a line
LONGER = 1.3  # a line is so much longer than high, at least
MOST = 16  # lines of a picture, those with the most strokes
MARGIN = 6  # pixels around a line
HEIGHT, ENLARGED = 48, (0.6, 4.0)  # of a line on the sheet, in pixels, and the scales that this allows
SPACE = 30  # pixels between the lines of a sheet


@dataclass
class Line:
    """A box in blocks; `bottom` and `right` are the first ones outside."""

    top: int
    bottom: int
    left: int
    right: int

    def overlap(self, left: int, right: int) -> float:
        """Of two ranges of columns: what they share, of what they cover."""
        return (min(self.right, right) - max(self.left, left)) / (max(self.right, right) - min(self.left, left))

    def is_text(self) -> bool:
        width, height = self.right - self.left, self.bottom - self.top
        return width >= NARROWEST and height <= TALLEST and width >= LONGER * height


def sheets(grey_HW: Grey) -> Iterator[Grey]:
    """The lines of bright letters, and those of dark ones; nothing for a picture without."""
    picture = Image.fromarray(grey_HW)
    picture.thumbnail((LONGEST, LONGEST), Image.Resampling.BOX)
    for letters_HW in (np.asarray(picture), 255 - np.asarray(picture)):
        strokes_HW = letters_HW - _opened(letters_HW)
        share_hw = _share_of_strokes(strokes_HW)
        found = sorted(filter(Line.is_text, _lines(share_hw)), key=lambda line: -_strokes_in(share_hw, line))
        if found:
            yield _sheet(strokes_HW, found[:MOST])


def _share_of_strokes(strokes_HW: Grey) -> np.ndarray:
    h, w = strokes_HW.shape[0] // BLOCK, strokes_HW.shape[1] // BLOCK
    return (strokes_HW[: h * BLOCK, : w * BLOCK] >= STRONG).reshape(h, BLOCK, w, BLOCK).mean((1, 3))


def _strokes_in(share_hw: np.ndarray, line: Line) -> float:
    return float(share_hw[line.top : line.bottom, line.left : line.right].sum())


def _lines(share_hw: np.ndarray) -> Iterator[Line]:
    """Runs of blocks in a row, each joined to the run above it that has nearly the same columns.

    So a wire that touches a line of text does not become one with it, as in a labelling of what is connected.
    """
    growing: list[Line] = []
    for row, is_stroke_w in enumerate(share_hw >= SHARE):
        here: list[Line] = []
        for left, right in _runs(is_stroke_w):
            above = max(growing, key=lambda line: line.overlap(left, right), default=None)
            if above and above.overlap(left, right) >= 0.5:
                growing.remove(above)
                here.append(Line(above.top, row + 1, min(above.left, left), max(above.right, right)))
            else:
                here.append(Line(row, row + 1, left, right))
        yield from growing
        growing = here
    yield from growing


def _runs(is_stroke_w: np.ndarray) -> Iterator[tuple[int, int]]:
    """First column and the one after the last of each run without a gap of more than GAP."""
    columns = np.flatnonzero(is_stroke_w)
    for run in np.split(columns, np.flatnonzero(np.diff(columns) > GAP + 1) + 1):
        if len(run):
            yield int(run[0]), int(run[-1]) + 1


def _sheet(strokes_HW: Grey, lines: list[Line]) -> Grey:
    brightest = max(float(np.percentile(strokes_HW, 99.9)), STRONG + 10.0)
    ink_HW = 255 - np.clip(strokes_HW * (255 / brightest), 0, 255).astype(np.uint8)
    cuts = [_cut(ink_HW, line) for line in lines]
    size = (max(cut.width for cut in cuts) + 2 * SPACE, sum(cut.height + SPACE for cut in cuts) + SPACE)
    sheet, top = Image.new("L", size, 255), SPACE
    for cut in cuts:
        sheet.paste(cut, (SPACE, top))
        top += cut.height + SPACE
    return np.asarray(sheet)


def _cut(ink_HW: Grey, line: Line) -> Image.Image:
    rows = slice(max(0, line.top * BLOCK - MARGIN), line.bottom * BLOCK + MARGIN)
    columns = slice(max(0, line.left * BLOCK - MARGIN), line.right * BLOCK + MARGIN)
    cut = Image.fromarray(ink_HW[rows, columns])
    scale = min(max(HEIGHT / cut.height, ENLARGED[0]), ENLARGED[1])
    return cut.resize((max(1, round(cut.width * scale)), max(1, round(cut.height * scale))), Image.Resampling.BICUBIC)


def _opened(grey_HW: Grey) -> Grey:
    """The morphological opening by a square of WIDEST pixels, in 6 ms for a megapixel; Pillow's filters take 1.4 s."""
    for extreme in (np.minimum, np.maximum):
        for axis in (0, 1):
            grey_HW = _running(extreme, grey_HW, axis)
    return grey_HW


def _running(extreme: np.ufunc, values_HW: Grey, axis: int) -> Grey:
    """The extreme of the WIDEST values around each along an axis, by windows that double."""
    margins = [(0, 0), (0, 0)]
    margins[axis] = (WIDEST // 2, WIDEST // 2)
    found_HW, width = np.pad(values_HW, margins, mode="edge").swapaxes(0, axis), 1
    while width < WIDEST:
        step = min(width, WIDEST - width)
        found_HW = extreme(found_HW[:-step], found_HW[step:])
        width += step
    return found_HW.swapaxes(0, axis)
