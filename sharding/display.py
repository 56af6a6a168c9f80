"""The display chain of a DICOM image: stored values → 8-bit grey, dense bright, square pixels.

In: a parsed dataset. Out: a `Picture`. The order is that of DICOM PS3.4 N.2: modality LUT, VOI LUT or window, then
inversion. Where the header gives no window, percentiles of the values serve, and the provenance says so.
"""

# H rows, W columns, C colour channels
from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi, pixel_array
from pydicom.uid import RLELossless

from sharding.contract import Reason, Rejected
from sharding.header import number, pair, text
from sharding.picture import Geometry, Grey, Picture, resize

Values = NDArray[np.float32]
Mask = NDArray[np.bool_]

LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # Rec. 601, as Pillow's "L"
PERCENTILES = (0.5, 99.5)
SQUARE = 2e-3  # spacings that differ by less are the same pixel


def decode(dataset: Dataset) -> Picture:
    """The picture in display space; raises Rejected(DECODE)."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return _picture(dataset)
    except (Rejected, KeyboardInterrupt, SystemExit):
        raise
    except BaseException:
        # Decoders raise nearly any type, Rust ones even panics that are no Exception; texts may quote header values.
        raise Rejected(Reason.DECODE, "the pixel data is damaged, cut off or in an unknown coding") from None


def _picture(dataset: Dataset) -> Picture:
    frames = number(dataset, "NumberOfFrames") or 1
    if frames > 1:
        raise Rejected(Reason.DECODE, f"multi-frame: {frames:.0f} frames, one is expected")
    if int(dataset.Rows) * int(dataset.Columns) > (Image.MAX_IMAGE_PIXELS or 0):
        raise Rejected(Reason.DECODE, "more pixels than any X-ray has: refused as a decompression bomb")
    stored = _stored_values(dataset)
    grey_HW, steps = _colour_chain(dataset, stored) if _has_colour(dataset) else _grey_chain(dataset, stored)
    square_HW, geometry = _square(grey_HW, dataset)
    header = {
        "codec": dataset.file_meta.TransferSyntaxUID.name,
        "photometric": str(dataset.PhotometricInterpretation),
        "bits": str(int(dataset.BitsStored)),
    }
    return Picture(square_HW, geometry, header | steps)


def _stored_values(dataset: Dataset) -> NDArray[Any]:
    # The plugin of pylibjpeg panics on damaged RLE and prints a trace; pydicom's own decoder raises.
    plugin = "pydicom" if dataset.file_meta.TransferSyntaxUID == RLELossless else ""
    return pixel_array(dataset, decoding_plugin=plugin)


def _has_colour(dataset: Dataset) -> bool:
    return int(dataset.SamplesPerPixel) > 1 or dataset.PhotometricInterpretation == "PALETTE COLOR"


def _colour_chain(dataset: Dataset, stored: NDArray[Any]) -> tuple[Grey, dict[str, str]]:
    """Colour has no VOI transform (PS3.3 C.11.2): luminance of the RGB that pydicom makes of YBR and palettes."""
    rgb_HWC = stored
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        rgb_HWC = apply_color_lut(stored, dataset)
        bits = int(np.iinfo(rgb_HWC.dtype).bits)
    else:
        bits = int(dataset.BitsStored)
    grey_HW = to_8_bit(rgb_HWC[..., :3].astype(np.float32) @ LUMINANCE / np.float32(2**bits - 1))
    return grey_HW, {"voi_source": "none", "inverted": "no", "luminance": "Rec. 601"}


def _grey_chain(dataset: Dataset, stored_HW: NDArray[Any]) -> tuple[Grey, dict[str, str]]:
    padding_HW = _padding(dataset, stored_HW)
    values_HW = apply_modality_lut(stored_HW, dataset)
    display_HW, voi_source = _value_of_interest(dataset, values_HW, padding_HW)
    inverted = dataset.PhotometricInterpretation == "MONOCHROME1" or text(dataset, "PresentationLUTShape") == "INVERSE"
    if inverted:
        display_HW = 1 - display_HW
    if padding_HW is not None:
        display_HW[padding_HW] = 0
    steps = {"voi_source": voi_source, "inverted": "yes" if inverted else "no", "luminance": "no"}
    return to_8_bit(display_HW), steps


def _padding(dataset: Dataset, stored_HW: NDArray[Any]) -> Mask | None:
    """Pixels outside the exposed field (PS3.3 C.7.5.1.1.2), in stored values; None where there are none."""
    low = number(dataset, "PixelPaddingValue")
    if low is None:
        return None
    high = number(dataset, "PixelPaddingRangeLimit")
    bounds = sorted(_as_stored(dataset, value) for value in (low, low if high is None else high))
    padding_HW = (stored_HW >= bounds[0]) & (stored_HW <= bounds[1])
    return padding_HW if padding_HW.any() and not padding_HW.all() else None


def _as_stored(dataset: Dataset, value: float) -> float:
    """Some writers give a negative padding value as the unsigned number of the same bits."""
    wraps = int(dataset.PixelRepresentation) == 1 and value >= 2 ** (int(dataset.BitsAllocated) - 1)
    return value - 2 ** int(dataset.BitsAllocated) if wraps else value


def _value_of_interest(dataset: Dataset, values_HW: NDArray[Any], padding_HW: Mask | None) -> tuple[Values, str]:
    """Values in 0..1 and where the range comes from: a VOI LUT goes before a window, the first of several is taken."""
    if dataset.get("VOILUTSequence"):
        depth = int(dataset.VOILUTSequence[0].LUTDescriptor[2])
        looked_up_HW = apply_voi(values_HW.astype(np.int64), dataset, index=0)
        return np.clip(looked_up_HW.astype(np.float32) / np.float32(2**depth - 1), 0, 1), "lut"
    values_HW = values_HW.astype(np.float32)
    centre, width = number(dataset, "WindowCenter"), number(dataset, "WindowWidth")
    if centre is not None and width is not None and width > 0:
        windowed_HW = window(values_HW, centre, width, text(dataset, "VOILUTFunction").upper() or "LINEAR")
        # Real files have windows that lie wholly outside their values; what would be blank is stretched, and says so.
        if np.ptp(windowed_HW) > 0 or np.ptp(values_HW) == 0:
            return windowed_HW, "window"
        return stretch(values_HW, padding_HW), "percentile"
    if int(dataset.BitsStored) <= 8 or text(dataset, "PresentationIntentType").upper() == "FOR PRESENTATION":
        low, high = _output_range(dataset)
        return np.clip((values_HW - low) / (high - low), 0, 1), "none"
    return stretch(values_HW, padding_HW), "percentile"


def window(values_HW: Values, centre: float, width: float, function: str) -> Values:
    """Values in 0..1 by the window functions LINEAR, LINEAR_EXACT and SIGMOID of PS3.3 C.11.2.1.2 and C.11.2.1.3."""
    if function == "SIGMOID":
        return np.float32(1) / (1 + np.exp(-4 * (values_HW - np.float32(centre)) / np.float32(width)))
    if function == "LINEAR" and width >= 1:
        centre, width = centre - 0.5, width - 1
    if width <= 0:
        return (values_HW > centre).astype(np.float32)
    return np.clip((values_HW - np.float32(centre)) / np.float32(width) + np.float32(0.5), 0, 1)


def _output_range(dataset: Dataset) -> tuple[np.float32, np.float32]:
    """Lowest and highest value after the modality transform of an image that is ready for display as it stands."""
    if dataset.get("ModalityLUTSequence"):
        return np.float32(0), np.float32(2 ** int(dataset.ModalityLUTSequence[0].LUTDescriptor[2]) - 1)
    bits, signed = int(dataset.BitsStored), int(dataset.PixelRepresentation) == 1
    stored = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    slope = number(dataset, "RescaleSlope")
    intercept = number(dataset, "RescaleIntercept")
    if slope is None or intercept is None:
        return np.float32(stored[0]), np.float32(stored[1])
    low, high = sorted((stored[0] * slope + intercept, stored[1] * slope + intercept))
    return np.float32(low), np.float32(high)


def stretch(values_HW: NDArray[Any], padding_HW: Mask | None) -> Values:
    """Values in 0..1 between two percentiles of what is not padding; a constant image becomes zeros."""
    inside = values_HW if padding_HW is None else values_HW[~padding_HW]
    low, high = np.percentile(inside, PERCENTILES).astype(np.float32)
    if high <= low:
        low, high = np.float32(inside.min()), np.float32(inside.max())
    if high <= low:
        return np.zeros(values_HW.shape, np.float32)
    return np.clip((values_HW.astype(np.float32) - low) / (high - low), 0, 1)


def to_8_bit(display_HW: Values) -> Grey:
    """Display values in 0..1 as 0..255, rounded half up."""
    return (np.clip(display_HW, 0, 1) * np.float32(255) + np.float32(0.5)).astype(np.uint8)


def _square(grey_HW: Grey, dataset: Dataset) -> tuple[Grey, Geometry]:
    """The image with square pixels: the coarser axis is enlarged, so nothing is lost."""
    rows, columns = grey_HW.shape
    identity = Geometry.identity(rows, columns, _spacing(dataset))
    ratio = _aspect(dataset)
    if abs(ratio - 1) <= SQUARE:
        return grey_HW, identity
    height, width = (max(1, round(rows * ratio)), columns) if ratio > 1 else (rows, max(1, round(columns / ratio)))
    if height * width > (Image.MAX_IMAGE_PIXELS or 0):
        raise Rejected(Reason.DECODE, "the pixel aspect ratio is beyond any X-ray's")
    return resize(grey_HW, height, width), identity.then(Geometry.resized(rows, columns, height, width))


def _spacing(dataset: Dataset) -> tuple[float, float] | None:
    """(row, column) spacing in mm, PixelSpacing before ImagerPixelSpacing (PS3.3 10.7.1.3)."""
    for name in ("PixelSpacing", "ImagerPixelSpacing"):
        found = pair(dataset, name)
        if found:
            return found
    return None


def _aspect(dataset: Dataset) -> float:
    """Height of a pixel by its width; 1 where the header says nothing."""
    found = _spacing(dataset) or pair(dataset, "PixelAspectRatio")
    return found[0] / found[1] if found else 1.0
