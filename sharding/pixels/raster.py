"""PNG or JPEG bytes → a grey image, like in a viewer.

In: the bytes of one file. Out: `Picture`, or `FullDepthPicture`. Colour becomes Rec. 601 luminance, transparency is
composed over black, the EXIF orientation is applied, 16 bits are stretched between percentiles. Colour profiles are
ignored: they describe how to reproduce a grey value, not which it is. DICOM: `display`.
"""

# H rows, W columns, V values that a pixel may have
from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from sharding.contract import Reason, Rejected
from sharding.pixels.decode import codestream
from sharding.pixels.full_depth import FullDepthPicture, Shown
from sharding.pixels.picture import MAX_PIXELS, Geometry, Picture
from sharding.pixels.transforms import stretch
from sharding.pixels.value_table import ValueTable

ORIENTATION = 0x0112  # the EXIF flag
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
WIDE_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N")
GREY_MODES = ("1", "L", "LA", *WIDE_MODES)
STRIP = 2**21  # pixels that are converted at once
OPAQUE = (255, 255)
ALPHA_MODES = ("LA", "PA", "RGBA")


def open_raster(data: bytes) -> Image.Image:
    """The image, not decoded yet; raises Rejected(PARSE), for a decompression bomb or an animation DECODE."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(data), formats=("PNG", "JPEG"))
            pictures = getattr(image, "n_frames", 1) if image.format == "PNG" else 1
    except Image.DecompressionBombError:
        raise _bomb("pixels") from None
    except Exception:
        # Pillow raises nearly any type for damaged headers.
        raise Rejected(Reason.PARSE, "the PNG or JPEG header cannot be read") from None
    if image.width * image.height > MAX_PIXELS:
        raise _bomb("pixels")
    image.decodermaxblock = len(data)  # one block: by default each 64 kB are appended to a copy of the rest
    if image.format != "PNG" and codestream.has_too_many_scans(data):
        raise _bomb("scans")
    if pictures > 1:
        raise Rejected(Reason.DECODE, "animated: one picture is expected")
    return image


def _bomb(what: str) -> Rejected:
    return Rejected(Reason.DECODE, f"more {what} than any X-ray has: refused as a decompression bomb")


def decode(image: Image.Image) -> Picture:
    """The picture; raises Rejected(DECODE)."""
    return _picture(*_shown(image))


def decode_full_depth(image: Image.Image) -> FullDepthPicture:
    """The picture with its values before the stretch cuts them; raises Rejected(DECODE)."""
    shown, codec = _shown(image)
    return FullDepthPicture.of(_picture(shown, codec), shown)


def _picture(shown: Shown, codec: str) -> Picture:
    grey_HW = shown.grey()
    return Picture(grey_HW, Geometry.identity(*grey_HW.shape), {"codec": codec} | shown.steps)


def _shown(image: Image.Image) -> tuple[Shown, str]:
    codec, mode = "PNG" if image.format == "PNG" else "JPEG", image.mode
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's texts quote what the file holds
        orientation = _orientation(image)
        try:
            grey, over_black = _decoded(image)
        except Exception:
            raise Rejected(Reason.DECODE, f"the {codec} data is damaged or cut off") from None
    if orientation in TURNS:
        grey = grey.transpose(TURNS[orientation])
    table = ValueTable.of(_values(grey))
    values_V = table.values_V.astype(np.float32)
    is_deep = table.stored_HW.dtype != np.uint8
    steps = {
        "decoder": "pillow",
        "photometric": mode,
        "bits": "1" if mode == "1" else "16" if mode in WIDE_MODES else "8",
        "voi_source": "percentile" if is_deep else "none",
        "inverted": "no",
        "luminance": "no" if mode in GREY_MODES else "Rec. 601",
        "transparency": "over black" if over_black else "no",
        "orientation": str(orientation),
    }
    shares_V = stretch(values_V, table.counts) if is_deep else values_V / np.float32(255)
    return Shown(table, shares_V, steps, values_V), codec


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 (unchanged) if there is none or the EXIF block cannot be read."""
    try:
        flag = image.getexif().get(ORIENTATION, 1)
    except Exception:
        return 1  # like viewers
    return flag if flag in TURNS else 1


def _decoded(image: Image.Image) -> tuple[Image.Image, bool]:
    """Luminance in 8 bits, or 16 bits unchanged; and whether a transparent image was composed over black."""
    if image.format != "PNG":
        image.draft("L", None)  # the decoder then skips the colours; within 1 of the luminance of decoded colours
    if image.mode in WIDE_MODES or (image.mode == "L" and "transparency" not in image.info):
        image.load()
        return image, False
    return _in_strips(image)


def _in_strips(image: Image.Image) -> tuple[Image.Image, bool]:
    """`_grey` by strips of rows: whole, a transparent picture would take 13 bytes a pixel."""
    width, height = image.size
    rows = max(1, STRIP // width)
    if rows >= height or (image.mode == "RGB" and "transparency" not in image.info):  # converted in one step
        return _grey(image)
    if image.mode in ("LA", "RGBA") and image.getchannel("A").getextrema() == OPAQUE:
        return image.convert("L"), False
    grey, over_black = Image.new("L", image.size), False
    for top in range(0, height, rows):
        strip, is_transparent = _grey(image.crop((0, top, width, min(height, top + rows))))
        grey.paste(strip, (0, top))
        over_black |= is_transparent
    return grey, over_black


def _grey(image: Image.Image) -> tuple[Image.Image, bool]:
    """Luminance; and whether the image was transparent, so that it was composed over black."""
    if image.mode in ALPHA_MODES or "transparency" in image.info:
        rgba = image if image.mode == "RGBA" else image.convert("RGBA")
        if rgba.getchannel("A").getextrema() != OPAQUE:
            over_black = Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba)
            return over_black.convert("L"), True
        image = rgba
    return image.convert("L"), False


def _values(grey: Image.Image) -> NDArray[Any]:
    """The pixels (H, W); of an 8-bit image without a copy if its memory is contiguous."""
    if grey.mode == "L":
        try:
            return pa.array(grey).to_numpy(zero_copy_only=True).reshape(grey.height, grey.width)
        except ValueError:  # Pillow splits images of more than 16 MB
            pass
    return np.asarray(grey)
