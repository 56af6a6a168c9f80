"""The display chain of a DICOM image: stored values → 8-bit grey, dense bright, square pixels.

In: a parsed dataset. Out: a `Picture`, or a `FullDepthPicture` with what the window cuts off. The order is that of
DICOM PS3.4 N.2: modality LUT, VOI LUT or window, then inversion, for each distinct value (`value_table`), not each
pixel. Without a window in the header, percentiles of the pixels are used, and the provenance records it. Overlays are
never burnt in. Decoders: `codecs`.
"""

# H rows, W columns, C colour channels, V values that a pixel may have
from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.multival import MultiValue
from pydicom.pixels import apply_color_lut

from sharding.contract import Reason, Rejected
from sharding.pixels.codecs import PixelLayout, StoredPixels, stored_values
from sharding.pixels.full_depth import FullDepthPicture, Shown
from sharding.pixels.header import is_present, number, pair, text, value
from sharding.pixels.picture import MAX_PIXELS, Geometry, Picture, resize
from sharding.pixels.transforms import Values, lookup, luminance, stretch, window
from sharding.pixels.value_table import ValueTable

Mask = NDArray[np.bool_]
Steps = dict[str, str]
Decoded = TypeVar("Decoded")

MAX_TABLE_BYTES = 2**21
# The share of pixels at one end of the display range that makes a window or a table unfit; and the share of each 8th
# pixel of each 8th row at which all are counted.
HIDDEN, HIDDEN_SAMPLE, SAMPLED = 0.995, 0.97, 8
SQUARE = 2e-3  # relative difference of spacings that counts as none
OVERLAYS = 0x60  # first byte of the groups 6000 to 60FF
FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")
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
    return Shown(table, _share(table.values_V, 2**stored.layout.bits - 1), COLOUR)


def _palette_chain(dataset: Dataset, table: ValueTable) -> Shown:
    rgb_VC = apply_color_lut(table.values_V, dataset)
    return Shown(table, _share(luminance(rgb_VC), int(np.iinfo(rgb_VC.dtype).max)), COLOUR)


def _share(values_V: NDArray[Any], top: int) -> Values:
    return values_V.astype(np.float32) / np.float32(top)


def _grey_chain(dataset: Dataset, layout: PixelLayout, table: ValueTable) -> Shown:
    padding_V = _padding(dataset, layout, table)
    values_V, modality = _modality(dataset, table.values_V)
    display_V, voi = _value_of_interest(dataset, layout, values_V, table, padding_V)
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


def _modality(dataset: Dataset, stored_V: NDArray[Any]) -> tuple[NDArray[Any], str]:
    """The values in the units of the modality: by its LUT, else by rescale slope and intercept (PS3.3 C.11.1)."""
    tables = _tables(dataset, "ModalityLUTSequence")
    if tables:
        try:
            return lookup(stored_V, tables[0])[0], "lut"
        except Exception:  # pydicom raises any type for an element that cannot be read
            raise Rejected(Reason.DECODE, "the modality lookup table is unreadable or shorter than it says") from None
    slope, intercept = _rescale(dataset)
    if (slope, intercept) == (1, 0):
        return stored_V, "no"
    return stored_V.astype(np.float64) * slope + intercept, "rescale"


def _tables(dataset: Dataset, name: str) -> Sequence[Dataset]:
    """The items of a sequence of lookup tables; rejected unread if longer than 16 tables of 65,536 entries."""
    unread = dataset.get_item(name) if name in dataset else None
    if isinstance(unread, RawDataElement) and unread.length > MAX_TABLE_BYTES:
        raise Rejected(Reason.DECODE, "more lookup tables than any X-ray has")
    return [item for item in dataset.get(name) or () if _says_something(item)]


def _says_something(item: Dataset) -> bool:
    """Whether the item of a lookup table has a descriptor or data; some writers leave both empty."""
    return any(is_present(item, name) for name in ("LUTDescriptor", "LUTData"))


def _rescale(dataset: Dataset) -> tuple[float, float]:
    slope, intercept = number(dataset, "RescaleSlope"), number(dataset, "RescaleIntercept")
    for name, read in (("RescaleSlope", slope), ("RescaleIntercept", intercept)):
        if read is None and is_present(dataset, name):
            raise Rejected(Reason.DECODE, f"{name} cannot be read as a number")
    return (1.0, 0.0) if slope is None or intercept is None else (slope, intercept)


def _value_of_interest(
    dataset: Dataset, layout: PixelLayout, values_V: NDArray[Any], table: ValueTable, padding_V: Mask | None
) -> tuple[Values, Steps]:
    """Display values and their source: the first VOI LUT, else the first window, else as stored, else percentiles."""
    found, reason = _voi_table(dataset, values_V, table, padding_V)
    if found:
        return found
    values_V = values_V.astype(np.float32)
    centre, width = number(dataset, "WindowCenter"), number(dataset, "WindowWidth")
    if centre is not None and width is not None and width > 0:
        function = _function(dataset)
        windowed_V = window(values_V, centre, width, function)
        if not _hides(windowed_V, values_V, table, padding_V):
            also = f", {reason}" if reason else ""
            return windowed_V, {"voi_source": "window", "voi": f"1 of {_windows(dataset)}, {function}{also}"}
        reason = "window beside all values"
    elif layout.bits <= 8 or text(dataset, "PresentationIntentType").upper() == "FOR PRESENTATION":
        low, high = _output_range(dataset, layout)
        return (values_V - low) / (high - low), {"voi_source": "none", "voi": "full range"}
    counts_V = table.counts if padding_V is None else np.where(padding_V, 0, table.counts)
    if not reason:
        reason = "unreadable window" if is_present(dataset, "WindowCenter") and centre is None else "no window"
    return stretch(values_V, counts_V), {"voi_source": "percentile", "voi": reason}


def _voi_table(
    dataset: Dataset, values_V: NDArray[Any], table: ValueTable, padding_V: Mask | None
) -> tuple[tuple[Values, Steps] | None, str]:
    """Display values by the first VOI LUT, None if it is unfit, and why."""
    tables = _tables(dataset, "VOILUTSequence")
    if not tables:
        return None, ""
    try:
        looked_up_V, top = lookup(values_V, tables[0])
        said = 2 ** int(tables[0].LUTDescriptor[2]) - 1
    except Exception:  # pydicom raises any type for an element that cannot be read
        return None, "unusable lookup table"
    shown_V = _share(looked_up_V, top)
    if _hides(shown_V, values_V, table, padding_V):
        return None, "lookup table beside all values"
    depth = "" if top == said else f", of {top.bit_length()} bits and not as said"
    return (shown_V, {"voi_source": "lut", "voi": f"1 of {len(tables)}{depth}"}), ""


def _function(dataset: Dataset) -> str:
    function = text(dataset, "VOILUTFunction").upper()
    return function if function in FUNCTIONS else "LINEAR"


def _windows(dataset: Dataset) -> int:
    centres = value(dataset, "WindowCenter")
    return len(centres) if isinstance(centres, list | MultiValue) else 1


def _hides(shown_V: Values, values_V: NDArray[Any], table: ValueTable, padding_V: Mask | None) -> bool:
    """Whether nearly all pixels become black, or white, although they are not alike; some real files have such windows.

    A part of the pixels decides first: most images need no count of all.
    """
    among_V = None if padding_V is None else ~padding_V
    for end_V in (shown_V <= 0, shown_V >= 1):
        end_V = end_V if among_V is None else end_V & among_V
        if table.share(end_V, among_V, SAMPLED) < HIDDEN_SAMPLE or table.share(end_V, among_V) < HIDDEN:
            continue
        held_V = values_V[end_V & (table.counts > 0)]
        if held_V.size and np.ptp(held_V) > 0:
            return True
    return False


def _output_range(dataset: Dataset, layout: PixelLayout) -> tuple[np.float32, np.float32]:
    """The lowest and the highest value after the modality transform, for an image without a VOI transform."""
    tables = _tables(dataset, "ModalityLUTSequence")
    if tables:
        return np.float32(0), np.float32(lookup(np.zeros(1, np.int64), tables[0])[1])
    slope, intercept = _rescale(dataset)
    low, high = sorted(end * slope + intercept for end in layout.range)
    return np.float32(low), np.float32(high)


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
