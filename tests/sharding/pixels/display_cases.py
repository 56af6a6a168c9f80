"""Made-up stored values and elements, one pair for each way in which a header shapes the display."""

from __future__ import annotations

import numpy as np
from pydicom import Dataset, Sequence


def ramp(dtype, low: int, high: int, shape=(24, 20)):
    return np.linspace(low, high, shape[0] * shape[1]).astype(dtype).reshape(shape)


def table(first: int, entries, bits: int, vr: str = "US") -> Sequence:
    item = Dataset()
    item.add_new(0x00283002, "SS" if first < 0 else "US", [len(entries), first, bits])
    item.LUTExplanation = "made up"
    item.ModalityLUTType = "US"
    item.add_new(0x00283006, vr, np.array(entries, "<u2").tobytes() if vr == "OW" else list(entries))
    return Sequence([item])


def palette(entries: int, bits: int, first: int = 0) -> dict[str, object]:
    """Red, green and blue tables of so many entries."""
    elements: dict[str, object] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for channel, name in enumerate(("Red", "Green", "Blue")):
        colours = (np.arange(entries) * (channel + 3) % 2**bits).astype(f"<u{bits // 8}")
        elements[f"{name}PaletteColorLookupTableDescriptor"] = [entries, first, bits]
        elements[f"{name}PaletteColorLookupTableData"] = colours.tobytes() + b"\0" * (colours.nbytes % 2)
    return elements


U12, S16, U8 = ramp(np.uint16, 0, 4095), ramp(np.int16, -1000, 1000), ramp(np.uint8, 0, 255)
RGB = np.stack([U8, U8[::-1], U8.T.reshape(U8.shape)], axis=-1)
TWELVE = {"BitsStored": 12, "HighBit": 11}
COLOUR = {"PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
MADE = {
    "without a window": (U12, TWELVE),
    "several windows": (U12, TWELVE | {"WindowCenter": [800, 100], "WindowWidth": [900.5, 10]}),
    "a sigmoid window": (U12, TWELVE | {"WindowCenter": 800, "WindowWidth": 900, "VOILUTFunction": "SIGMOID"}),
    "an inverted image": (U12, TWELVE | {"PhotometricInterpretation": "MONOCHROME1", "PixelPaddingValue": 0}),
    "an inverse shape": (
        U12,
        TWELVE | {"PresentationLUTShape": "INVERSE", "PresentationIntentType": "FOR PRESENTATION"},
    ),
    "signed values": (S16, {"WindowCenter": 0, "WindowWidth": 1500, "RescaleSlope": "1.5", "RescaleIntercept": "-3"}),
    "signed padding": (S16, {"PixelPaddingValue": -1000, "PixelPaddingRangeLimit": -900}),
    "a modality LUT": (U8, {"ModalityLUTSequence": table(3, range(0, 60000, 300), 16)}),
    "a VOI LUT": (U12, TWELVE | {"VOILUTSequence": table(100, [(n * 7) % 1024 for n in range(3000)], 10)}),
    "a VOI LUT in bytes": (U12, TWELVE | {"VOILUTSequence": table(0, range(0, 4096, 2), 12, "OW")}),
    "a VOI LUT from below zero": (S16, {"VOILUTSequence": table(-500, range(1000), 10)}),
    "a palette of 8 bits": (U8, palette(256, 8)),
    "a palette from a later value": (U8, palette(200, 8, first=5)),
    "a palette of 16 bits": (U8, palette(256, 16)),
    "RGB": (RGB, COLOUR),
    "YBR": (RGB, COLOUR | {"PhotometricInterpretation": "YBR_FULL"}),
    "values at the top of the word": (U12 << 4, {"BitsStored": 12, "HighBit": 15}),
    "8 bits in 16": (ramp(np.uint16, 0, 255), {"BitsStored": 8, "HighBit": 7}),
    "16 bits": (ramp(np.uint16, 0, 65535), {}),
    "32 bits": (ramp(np.uint32, 0, 2**20), {}),
    "unlike spacings": (U12, TWELVE | {"ImagerPixelSpacing": ["0.2", "0.1"]}),
    "a pixel aspect": (U12, TWELVE | {"PixelAspectRatio": ["3", "4"]}),
    "a long decimal": (U12, TWELVE | {"WindowCenter": 800.123456789, "WindowWidth": "900.25"}),
}
