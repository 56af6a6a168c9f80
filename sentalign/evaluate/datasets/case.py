"""What every data set is read to: cases, each an image, a sentence and where it is true.

In: the paths of images as annotation files name them. Out: `Case`s. The readers are beside this file.
"""

# N boxes

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from sentalign.evaluate.scoring.target import Target
from sharding.contract import UserError

SUFFIXES = (".dcm", ".jpg", ".jpeg", ".png")
PNEUMONIA = "Findings suggesting pneumonia."  # the published sentence of the sets that have none (docs/method.md)
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Case:
    """One (image, phrase) and what the phrase says is there.

    `target` is in pixels of the annotated picture, `height` x `width`, or 0 x 0 for the image itself. `image` is None
    where the file is missing, `patient` and `study` are the pseudonyms of the set.
    """

    image: Path | None
    image_id: str
    phrase: str
    category: str
    target: Target
    patient: str
    study: str
    height: int
    width: int

    @property
    def boxes(self) -> NDArray[np.float64]:
        """The boxes of the target (N, 4), x y width height; of a mask, those around its connected parts."""
        return self.target.boxes


def box(values: Iterable[object]) -> Box:
    """x, y, width and height. Raises ValueError, without the values, where they are not four numbers or no area."""
    try:
        x, y, width, height = (float(str(value)) for value in values)
    except ValueError:
        raise ValueError("a box is not four numbers") from None
    if not all(map(math.isfinite, (x, y, width, height))) or width <= 0 or height <= 0:
        raise ValueError("a box without area")
    return x, y, width, height


def boxes_in(text: str) -> list[Box]:
    """The boxes of "x;y;width;height|x;y;width;height". Raises ValueError as `box` does."""
    return [box(part.split(";")) for part in text.split("|") if part.strip()]


def find_image(folder: Path, path: str, file: str) -> Path | None:
    """The image of a path in the annotations `file`, whatever its type: a set may be at hand as DICOM or as JPEG.

    None where it is missing. Links are followed: a large archive is linked beside a small file of annotations, not
    copied. Raises UserError where the path itself leads out of the folder.
    """
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise UserError(f"{file} names an image outside its folder; give an unchanged file")
    stem = (folder / path).with_suffix("")
    # os.path: a name that is too long for a file is no file, and no error.
    return next((p for s in SUFFIXES if os.path.isfile(p := stem.parent / f"{stem.name}{s}")), None)
