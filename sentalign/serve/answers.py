"""What the page gets: a picture's size and window, a finding with its map, a segmentation.

In: open pictures and findings. Out: JSON-ready dictionaries and bytes.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np

from sentalign.localize import boxes
from sentalign.localize.dicom_out.write import DicomOut
from sentalign.localize.files.failed import FailedPictureError
from sentalign.localize.maps.heatmap import clean_map, is_flat
from sentalign.localize.predict import Predictor
from sentalign.serve.access import RefusedError
from sentalign.serve.open_pictures import Finding, OpenPicture
from sharding.pixels import FullDepthPicture
from sharding.text import encoding

MOST_SIDE = 2**15 - 1  # of a browser's canvas
MOST_SEGMENTED = 2**29  # pixels of all segments together
RASTER = 512  # long side of the map that the page draws; the page interpolates between its pixels
TOP = 2**16 - 1


def about(predictor: Predictor, most_bytes: int) -> dict[str, Any]:
    """What the page says of the server."""
    return {"level": predictor.settings.level, "most_bytes": most_bytes}


def picture(deep: FullDepthPicture, data: bytes) -> OpenPicture:
    """A decoded picture, ready to be looked at. Raises RefusedError where no browser can show it."""
    if max(deep.values_HW.shape) > MOST_SIDE:
        raise RefusedError(422, f"a picture of more than {MOST_SIDE:,} pixels on a side cannot be shown")
    try:
        # Made now, so that the file need not be kept.
        dicom: DicomOut | str = DicomOut.of(("seg",), encoding.inflated(data, "the file"), deep.picture)
    except FailedPictureError as error:
        dicom = str(error)
    return OpenPicture(deep, dicom)


def values(picture: OpenPicture) -> memoryview:
    """The 16-bit values of the pixels, little-endian, row by row."""
    return np.ascontiguousarray(picture.deep.values_HW, "<u2").data.cast("B")


def opened(name: str, picture: OpenPicture) -> dict[str, Any]:
    """Rows and columns of the file and of the values that are shown (pixels become square), and the window."""
    deep = picture.deep
    rows, columns = deep.values_HW.shape
    geometry = deep.picture.geometry
    return {
        "name": name,
        "rows": geometry.rows,
        "columns": geometry.columns,
        "shown": {"rows": rows, "columns": columns},
        "black": deep.black,
        "white": deep.white,
        "units": deep.units,
        "no_segmentation": picture.dicom if isinstance(picture.dicom, str) else None,
    }


def found(finding: Finding) -> dict[str, Any]:
    """Boxes and peak as in boxes.json, and the map: 16-bit values from its minimum to its maximum, little-endian."""
    map_hw = clean_map(finding.grid_HW, finding.geometry, RASTER)
    low, high = float(map_hw.min()), float(map_hw.max())
    flat = is_flat(map_hw)
    scaled_hw = np.zeros(map_hw.shape) if flat else (map_hw - low) / (high - low)
    values_hw = np.rint(scaled_hw * TOP).astype("<u2")
    rows, columns = values_hw.shape
    encoded = base64.b64encode(values_hw.tobytes()).decode("ascii")
    return boxes.entry(finding.result) | {"raster": {"rows": rows, "columns": columns, "values": encoded}}


def segmentation(picture: OpenPicture, found: Sequence[Finding], level: float) -> bytes:
    """A DICOM SEG with a segment for each finding. Raises RefusedError where none can be made."""
    if isinstance(picture.dicom, str):
        raise RefusedError(422, picture.dicom)
    geometry = picture.deep.picture.geometry
    if geometry.rows * geometry.columns * len(found) > MOST_SEGMENTED:
        raise RefusedError(422, "too many sentences for so large a picture; take fewer")
    try:
        return picture.dicom.encoded(
            [one.grid_HW for one in found], found[0].geometry, [one.result for one in found], level
        )
    except FailedPictureError as error:
        raise RefusedError(422, str(error)) from None
