"""The display chain of a DICOM image: stored values → 8-bit grey, dense bright, square pixels.

In: a parsed dataset. Out: a `Picture`, or a `FullDepthPicture` with what the window cuts off. The order is that of
DICOM PS3.4 N.2: modality LUT (`modality`), VOI LUT or window (`voi`), then inversion, for each distinct value
(`value_table`), not each pixel. Overlays are never burnt in. Decoders: `decode.codecs`.
"""

# H rows, W columns, C colour channels, V values that a pixel may have
from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from sharding.contract import Reason, Rejected
from sharding.pixels.decode.codecs import StoredPixels, stored_values
from sharding.pixels.decode.layout import PixelLayout
from sharding.pixels.decode.palette import Palette
from sharding.pixels.full_depth import FullDepthPicture, Shown
from sharding.pixels.header import number, pair, text
from sharding.pixels.modality import in_units
from sharding.pixels.picture import MAX_PIXELS, Geometry, Picture, resize
from sharding.pixels.transforms import Values, luminance, stretch
from sharding.pixels.value_table import ValueTable
from sharding.pixels.voi import LESS_DEPTH, ValuesOfInterest, is_squeezed

Mask = NDArray[np.bool_]
Steps = dict[str, str]
Decoded = TypeVar("Decoded")

SQUARE = 2e-3  # relative difference of spacings that counts as none
OVERLAYS = 0x60  # first byte of the groups 6000 to 60FF
COLOUR = {"voi_source": "none", "inverted": "no", "luminance": "Rec. 601"}


def decode(dataset: Dataset) -> Picture:
    """The picture in display space; raises Rejected(DECODE)."""
    return _guarded(lambda: _picture(dataset, *_shown(dataset)))


def decode_full_depth(dataset: Dataset) -> FullDepthPicture:
    """The picture with its values before the window cuts them; raises Rejected(DECODE)."""
    return _guarded(lambda: _full_depth_picture(dataset))


def _guarded(decoding: Callable[[], Decoded]) -> Decoded:
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return decoding()
    except (Rejected, KeyboardInterrupt, SystemExit):
        raise
    except BaseException:
        # Decoders raise nearly any type, Rust ones panics, which are not an Exception; texts may quote header values.
        raise Rejected(Reason.DECODE, "the pixel data is damaged, cut off or in an unknown encoding") from None


def _full_depth_picture(dataset: Dataset) -> FullDepthPicture:
    shown, stored = _shown(dataset)
    picture = _picture(dataset, shown, stored)
    return FullDepthPicture.of(picture, shown)


def _shown(dataset: Dataset) -> tuple[Shown, StoredPixels]:
    stored = stored_values(dataset)
    if stored.layout.samples > 1:
        return _colour_chain(stored), stored
    if stored.photometric == "PALETTE COLOR":
        return _palette_chain(dataset, ValueTable.of(stored.values)), stored
    return _grey_chain(dataset, stored.layout, ValueTable.of(stored.values)), stored


def _picture(dataset: Dataset, shown: Shown, stored: StoredPixels) -> Picture:
    grey_HW = shown.grey()
    geometry, aspect = _square(dataset, *stored.values.shape[:2])
    tags = dataset.keys()  # iterating over the dataset itself would convert every element
    header = {
        "codec": dataset.file_meta.TransferSyntaxUID.name,
        "decoder": stored.decoder,
        "photometric": stored.layout.photometric,
        "bits": str(stored.layout.bits),
        "depth": stored.layout.depth,
        "aspect": aspect,
        "overlays": "left out" if any(tag >> 24 == OVERLAYS for tag in tags) else "no",
    }
    return Picture(resize(grey_HW, geometry.height, geometry.width), geometry, header | shown.steps)


def _colour_chain(stored: StoredPixels) -> Shown:
    """Colour has no VOI transform (PS3.3 C.11.2): only its luminance, the first channel of YBR_FULL."""
    values = stored.values
    if values.dtype not in (np.uint8, np.uint16):
        raise Rejected(Reason.DECODE, "colour that is signed or of more than 16 bits")
    if values.ndim == 3:
        values = values[..., 0] if stored.photometric.startswith("YBR_FULL") else luminance(values)
    table = ValueTable.of(values)
    shares_V = _share(table.values_V, 2**stored.layout.bits - 1)
    if stored.layout.bits > 8 and is_squeezed(shares_V, table, None):
        stretched_V = stretch(table.values_V.astype(np.float32), table.counts)
        return Shown(table, stretched_V, COLOUR | {"voi_source": "percentile", "voi": LESS_DEPTH})
    return Shown(table, shares_V, COLOUR)


def _palette_chain(dataset: Dataset, table: ValueTable) -> Shown:
    palette = Palette.of(dataset)
    shares_V = _share(luminance(palette.colours(table.values_V)), palette.white)
    return Shown(table, shares_V, COLOUR | ({"voi": palette.note} if palette.note else {}))


def _share(values_V: NDArray[Any], top: int) -> Values:
    return values_V.astype(np.float32) / np.float32(top)


def _grey_chain(dataset: Dataset, layout: PixelLayout, table: ValueTable) -> Shown:
    padding_V = _padding(dataset, layout, table)
    values_V, modality = in_units(dataset, table.values_V)
    display_V, voi = ValuesOfInterest(dataset, layout, values_V, table, padding_V).shown()
    shape = text(dataset, "PresentationLUTShape").upper()
    inverted = layout.photometric == "MONOCHROME1" or shape == "INVERSE"
    if inverted:
        display_V = 1 - display_V
    if padding_V is not None:
        display_V[padding_V] = 0
    steps = {
        "modality": modality,
        "inverted": "yes" if inverted else "no",
        "padding": "no" if padding_V is None else "black",
        "luminance": "no",
    }
    return Shown(table, display_V, voi | steps, values_V, padding_V)


def _padding(dataset: Dataset, layout: PixelLayout, table: ValueTable) -> Mask | None:
    """Values of pixels outside the exposed field (PS3.3 C.7.5.1.1.2); None if no pixel or every pixel has them."""
    low = number(dataset, "PixelPaddingValue")
    if low is None:
        return None
    limit = number(dataset, "PixelPaddingRangeLimit")
    bounds = sorted(_as_stored(layout, value) for value in (low, low if limit is None else limit))
    padding_V = (table.values_V >= bounds[0]) & (table.values_V <= bounds[1])
    return padding_V if not padding_V.all() and table.any_between(*bounds) else None


def _as_stored(layout: PixelLayout, value: float) -> float:
    """Some writers store a negative padding value as the unsigned number with the same bits."""
    wraps = layout.signed and value >= 2 ** (layout.allocated - 1)
    return value - 2**layout.allocated if wraps else value


def _square(dataset: Dataset, rows: int, columns: int) -> tuple[Geometry, str]:
    """The image with square pixels: the coarser axis is enlarged, so that no detail is lost."""
    identity = Geometry.identity(rows, columns, _spacing(dataset))
    ratio = _aspect(dataset)
    if abs(ratio - 1) <= SQUARE:
        return identity, "square"
    height, width = (max(1, round(rows * ratio)), columns) if ratio > 1 else (rows, max(1, round(columns / ratio)))
    if height * width > MAX_PIXELS:
        raise Rejected(Reason.DECODE, "the pixel aspect ratio is beyond any X-ray's")
    geometry = identity.then(Geometry.resized(rows, columns, height, width))
    return geometry, "rows enlarged" if ratio > 1 else "columns enlarged"


def _spacing(dataset: Dataset) -> tuple[float, float] | None:
    """(row, column) spacing in mm, PixelSpacing before ImagerPixelSpacing (PS3.3 10.7.1.3)."""
    for name in ("PixelSpacing", "ImagerPixelSpacing"):
        spacing = pair(dataset, name)
        if spacing:
            return spacing
    return None


def _aspect(dataset: Dataset) -> float:
    """Height of a pixel by its width; 1 if the header has neither."""
    ratio = _spacing(dataset) or pair(dataset, "PixelAspectRatio")
    return ratio[0] / ratio[1] if ratio else 1.0
