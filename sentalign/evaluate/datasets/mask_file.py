"""A mask in an image file or an array file → a boolean mask.

In: a PNG, JPEG, BMP, GIF or TIFF of any mode, or .npy. Out: which pixels are marked: those that are not 0.
"""

# H W rows and columns

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

HALF = 127  # of a lossy grey mask, whose zeros are not all 0


def read(file: Path) -> NDArray[np.bool_]:
    """The marked pixels (H, W): of a palette those of another number than 0, with transparency the opaque ones.

    Raises ValueError where the file cannot be read.
    """
    try:
        return _read(file)
    except Exception as error:  # Pillow and numpy raise nearly any type
        raise ValueError(f"{type(error).__name__}: no mask") from None


def _read(file: Path) -> NDArray[np.bool_]:
    if file.suffix.lower() == ".npy":
        values_HW = np.load(file, allow_pickle=False)
        if not isinstance(values_HW, np.ndarray) or values_HW.dtype.kind not in "buif":
            raise ValueError("no array of numbers")
        if values_HW.ndim != 2:
            raise ValueError(f"an array of {values_HW.ndim} axes is no mask")
        return np.asarray(np.nan_to_num(values_HW) != 0)
    with Image.open(file) as opened:
        if opened.format == "JPEG":
            return np.asarray(opened.convert("L")) > HALF
        if opened.mode in ("RGBA", "LA"):
            grey_HW, alpha_HW = (np.asarray(opened.convert("LA").getchannel(channel)) for channel in ("L", "A"))
            return (grey_HW > 0) & (alpha_HW > 0)
        if opened.mode in ("RGB", "CMYK", "YCbCr"):
            return np.asarray(np.asarray(opened.convert("RGB")).any(axis=2))
        return np.asarray(np.asarray(opened) != 0)
