"""Whether a colour picture is a photograph of something else than an X-ray: skin, a room, a dog.

In: colours of some pixels, a JPEG file, or a parsed dataset. Out: yes or no. X-rays in colour files are grey, but for
markers and lines that a viewer drew, or have one tint that fades towards black: that of a film, of a light box. A
photograph has colours beside one tint, or strong ones everywhere. Error rates: docs/sharding.md.
"""

# H rows, W columns, N pixels, C = 3 colours
from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset
from pydicom.pixels import convert_color_space
from pydicom.uid import JPEGBaseline8Bit

from sharding.pixels.decode import codestream
from sharding.pixels.decode.codecs import frame_of, stored_values
from sharding.pixels.decode.palette import Palette

COLOUR_MODES = ("RGB", "RGBA", "P", "PA", "CMYK", "YCbCr")
SAMPLED = 40  # pixels a side that are looked at
OFF_TINT, OFF_TINT_SHARE = 16, 0.05  # of 255; what a colour differs by, and the share of pixels that do
STRONG = 80  # of 255: the median difference of a pixel's strongest and weakest colour. A blue film has 65
STRIP = 16  # rows of a JPEG that are looked at first
GREY, GREY_SHARE = 8, 0.05  # the same as of `OFF_TINT`, within these rows and for any colour
FEW_BYTES = 0.02  # the share of a JPEG's scans
SHRUNK = 8  # times: JPEG decoders read that scale from one coefficient of each block


def is_photograph(rgb_NC: NDArray[Any]) -> bool:
    """Whether pixels (N, 3) of 0 to 255 are those of a photograph."""
    rgb_NC = rgb_NC.astype(np.int32)
    if np.median(np.ptp(rgb_NC, axis=1)) >= STRONG:
        return True
    brightness_N = rgb_NC @ np.array([299, 587, 114]) / 1000
    colour_NC = rgb_NC - brightness_N[:, None]
    # The tint, which fades towards black: a line by least squares.
    beside_N = brightness_N - brightness_N.mean()
    slope_C = beside_N @ colour_NC / max(1e-9, beside_N @ beside_N)
    off_NC = colour_NC - colour_NC.mean(0) - beside_N[:, None] * slope_C
    return bool((np.abs(off_NC).max(1) > OFF_TINT).mean() >= OFF_TINT_SHARE)


def is_photograph_image(image: Image.Image) -> bool:
    """The same for a decoded image of any colour mode, over black where it is transparent."""
    width, height = (min(side, SAMPLED) for side in image.size)
    small = image.resize((width, height), Image.Resampling.NEAREST).convert("RGBA")  # a palette has no other filter
    over_black = Image.alpha_composite(Image.new("RGBA", small.size, (0, 0, 0, 255)), small)
    return is_photograph(np.asarray(over_black)[..., :3].reshape(-1, 3))


def is_photograph_file(image: Image.Image, data: bytes) -> bool:
    """The same for a PNG or JPEG file that has been decoded, perhaps without its colours."""
    header = codestream.of_jpeg(data)
    if header and header.samples == 3:
        return is_photograph_jpeg(data)
    return image.mode in COLOUR_MODES and is_photograph_image(image)


def is_photograph_jpeg(frame: bytes) -> bool:
    """The same for a JPEG whose colours have not been decoded.

    Colours of a whole JPEG cost nearly as much as its brightness, also at an eighth of its size: most are seen to be
    grey by their first rows, or by what the scans of colours weigh. Raises any exception for damaged data.
    """
    strip = codestream.cut_to_rows(frame, STRIP)
    if strip is None:
        is_grey = codestream.colour_share(frame) <= FEW_BYTES
    else:
        planes_HWC = np.asarray(_shrunk(strip, "YCbCr"), np.int16)
        is_grey = bool((np.abs(planes_HWC[..., 1:] - 128).max(-1) > GREY).mean() <= GREY_SHARE)
    return not is_grey and is_photograph_image(_shrunk(frame, "RGB"))


def is_photograph_dicom(dataset: Dataset) -> bool:
    """The same for a dataset whose pixels can be decoded; grey ones are none."""
    photometric = str(dataset.PhotometricInterpretation)
    if photometric.startswith("MONOCHROME"):
        return False
    if dataset.file_meta.TransferSyntaxUID == JPEGBaseline8Bit:
        return is_photograph_jpeg(frame_of(dataset))
    stored = stored_values(dataset)
    step = max(1, min(stored.values.shape[:2]) // SAMPLED)
    sampled = stored.values[::step, ::step]
    if stored.photometric == "PALETTE COLOR":
        palette = Palette.of(dataset)
        return is_photograph(palette.colours(sampled.reshape(-1)) * 255.0 / palette.white)
    sampled = (sampled >> max(0, stored.layout.bits - 8)).astype(np.uint8)
    if stored.photometric.startswith("YBR_FULL"):
        sampled = convert_color_space(sampled, "YBR_FULL", "RGB")
    return is_photograph(sampled.reshape(-1, 3))


def _shrunk(frame: bytes, mode: str) -> Image.Image:
    image = Image.open(io.BytesIO(frame), formats=("JPEG",))
    image.draft(mode, (max(1, image.width // SHRUNK), max(1, image.height // SHRUNK)))
    image.load()
    return image
