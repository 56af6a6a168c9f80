"""The display chain as the standard tells it, on the whole image, step by step: the twin of `sharding.display`.

In: a dataset that pydicom has read. Out: the 8-bit grey array with pixels as they stand (no squaring). Slow and plain:
no table of values, percentiles by numpy, lookup tables by a loop.
"""

# H rows, W columns, C colour channels
from __future__ import annotations

import numpy as np
from pydicom import Dataset
from pydicom.pixels import apply_color_lut, pixel_array

from sharding.pixels.header import number, text


def grey(dataset: Dataset) -> np.ndarray:
    stored = pixel_array(dataset)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        rgb_HWC = apply_color_lut(stored, dataset)
        return luminance(rgb_HWC, np.iinfo(rgb_HWC.dtype).bits)
    if stored.ndim == 3:
        return luminance(stored, int(dataset.BitsStored))
    return monochrome(dataset, stored)


def luminance(rgb_HWC: np.ndarray, bits: int) -> np.ndarray:
    parts = [rgb_HWC[..., channel].astype(object) * share for channel, share in enumerate((19595, 38470, 7471))]
    grey_HW = (sum(parts) + 2**15) // 2**16
    return to_8_bit(grey_HW.astype(np.float32) / np.float32(2**bits - 1))


def monochrome(dataset: Dataset, stored_HW: np.ndarray) -> np.ndarray:
    padding_HW = padding(dataset, stored_HW)
    display_HW = value_of_interest(dataset, stored_HW, modality(dataset, stored_HW), padding_HW)
    if dataset.PhotometricInterpretation == "MONOCHROME1" or text(dataset, "PresentationLUTShape") == "INVERSE":
        display_HW = 1 - display_HW
    if padding_HW is not None:
        display_HW[padding_HW] = 0
    return to_8_bit(display_HW)


def padding(dataset: Dataset, stored_HW: np.ndarray) -> np.ndarray | None:
    low = number(dataset, "PixelPaddingValue")
    if low is None:
        return None
    high = number(dataset, "PixelPaddingRangeLimit")
    bounds = sorted((low, low if high is None else high))
    padding_HW = (stored_HW >= bounds[0]) & (stored_HW <= bounds[1])
    return padding_HW if padding_HW.any() and not padding_HW.all() else None


def modality(dataset: Dataset, stored_HW: np.ndarray) -> np.ndarray:
    if dataset.get("ModalityLUTSequence"):
        return looked_up(stored_HW, dataset.ModalityLUTSequence[0])
    if "RescaleSlope" in dataset and "RescaleIntercept" in dataset:
        return stored_HW.astype(np.float64) * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    return stored_HW


def looked_up(values_HW: np.ndarray, item: Dataset) -> np.ndarray:
    _, first, _ = item.LUTDescriptor
    entries = [int(entry) for entry in item.LUTData]
    found = [entries[min(max(int(value) - first, 0), len(entries) - 1)] for value in values_HW.ravel()]
    return np.array(found).reshape(values_HW.shape)


def value_of_interest(
    dataset: Dataset, stored_HW: np.ndarray, values_HW: np.ndarray, padding_HW: np.ndarray | None
) -> np.ndarray:
    if dataset.get("VOILUTSequence"):
        item = dataset.VOILUTSequence[0]
        looked_up_HW = looked_up(values_HW, item).astype(np.float32)
        shown_HW = np.clip(looked_up_HW / np.float32(white(item)), 0, 1)
        if not hides(shown_HW, values_HW, padding_HW) and not squeezed(shown_HW, stored_HW, padding_HW):
            return shown_HW
    values_HW = values_HW.astype(np.float32)
    centre, width = number(dataset, "WindowCenter"), number(dataset, "WindowWidth")
    if centre is not None and width is not None and width > 0:
        windowed_HW = window(values_HW, centre, width, text(dataset, "VOILUTFunction") or "LINEAR")
        if not hides(windowed_HW, values_HW, padding_HW) and not squeezed(windowed_HW, stored_HW, padding_HW):
            return windowed_HW
        return stretch(values_HW, padding_HW)
    bits = int(dataset.BitsStored)
    if bits <= 8 or text(dataset, "PresentationIntentType") == "FOR PRESENTATION":
        low, high = output_range(dataset)
        shown_HW = np.clip((values_HW - low) / (high - low), 0, 1)
        if int(dataset.BitsAllocated) <= 8 or not squeezed(shown_HW, stored_HW, padding_HW):
            return shown_HW
    return stretch(values_HW, padding_HW)


def squeezed(shown_HW: np.ndarray, stored_HW: np.ndarray, padding_HW: np.ndarray | None) -> bool:
    """Whether the pixels but the 0.5% darkest and brightest share a quarter of the greys, and have 32 stored levels."""
    spans = []
    for pixels_HW in (shown_HW, stored_HW):
        inside = sorted(pixels_HW.ravel().tolist() if padding_HW is None else pixels_HW[~padding_HW].tolist())
        if len(inside) < 200:
            return False
        spans.append(inside[round(0.995 * (len(inside) - 1))] - inside[round(0.005 * (len(inside) - 1))])
    return spans[0] < 0.25 and spans[1] >= 32


def white(item: Dataset) -> int:
    """The number of the descriptor, unless no entry passes half of it or one passes it: then that of the entries."""
    said, highest, bits = 2 ** int(item.LUTDescriptor[2]) - 1, max(int(entry) for entry in item.LUTData), 8
    if said / 2 <= highest <= said:
        return said
    while 2**bits - 1 < highest:
        bits += 1
    return 2**bits - 1


def hides(shown_HW: np.ndarray, values_HW: np.ndarray, padding_HW: np.ndarray | None) -> bool:
    """Whether 99.5% of the field, and 97% of each 8th pixel of each 8th row, are black or white but not alike."""
    field_HW = np.full(shown_HW.shape, True) if padding_HW is None else ~padding_HW
    for at_end_HW in (shown_HW == 0, shown_HW == 1):
        at_end_HW = at_end_HW & field_HW
        few_HW, few_field_HW = at_end_HW[::8, ::8], field_HW[::8, ::8]
        if few_HW.sum() < 0.97 * max(1, few_field_HW.sum()) or at_end_HW.sum() < 0.995 * field_HW.sum():
            continue
        if at_end_HW.any() and len(set(values_HW[at_end_HW].tolist())) > 1:
            return True
    return False


def window(values_HW: np.ndarray, centre: float, width: float, function: str) -> np.ndarray:
    if function == "SIGMOID":
        return np.float32(1) / (1 + np.exp(-4 * (values_HW - np.float32(centre)) / np.float32(width)))
    if function == "LINEAR" and width >= 1:
        centre, width = centre - 0.5, width - 1
    if width <= 0:
        return (values_HW > centre).astype(np.float32)
    return np.clip((values_HW - np.float32(centre)) / np.float32(width) + np.float32(0.5), 0, 1)


def output_range(dataset: Dataset) -> tuple[np.float32, np.float32]:
    if dataset.get("ModalityLUTSequence"):
        return np.float32(0), np.float32(white(dataset.ModalityLUTSequence[0]))
    bits = int(dataset.BitsStored)
    ends = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if int(dataset.PixelRepresentation) == 1 else (0, 2**bits - 1)
    low, high = sorted(float(value) for value in modality(dataset, np.array(ends)))
    return np.float32(low), np.float32(high)


def stretch(values_HW: np.ndarray, padding_HW: np.ndarray | None) -> np.ndarray:
    inside = values_HW if padding_HW is None else values_HW[~padding_HW]
    low, high = np.percentile(inside, (0.5, 99.5)).astype(np.float32)
    if high <= low:
        low, high = inside.min(), inside.max()
    if high <= low:
        return np.zeros(values_HW.shape, np.float32)
    return np.clip((values_HW - low) / (high - low), 0, 1)


def to_8_bit(display_HW: np.ndarray) -> np.ndarray:
    return (np.clip(display_HW, 0, 1) * np.float32(255) + np.float32(0.5)).astype(np.uint8)
