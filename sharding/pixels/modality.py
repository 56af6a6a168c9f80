"""Stored values → values in the units of the modality: by its lookup table, else by rescale slope and intercept.

In: a dataset and values. Out: values, and what was done. Also the items of any sequence of lookup tables. What is shown
of the values: `voi`.
"""

# V values that a pixel may have
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataelem import RawDataElement

from sharding.contract import Reason, Rejected
from sharding.pixels.header import is_present, number
from sharding.pixels.transforms import lookup

MAX_TABLE_BYTES = 2**21


def in_units(dataset: Dataset, stored_V: NDArray[Any]) -> tuple[NDArray[Any], str]:
    """The values in the units of the modality: by its LUT, else by rescale slope and intercept (PS3.3 C.11.1)."""
    items = tables(dataset, "ModalityLUTSequence")
    if items:
        try:
            return lookup(stored_V, items[0])[0], "lut"
        except Exception:  # pydicom raises any type for an element that cannot be read
            raise Rejected(Reason.DECODE, "the modality lookup table is unreadable or shorter than it says") from None
    slope, intercept = rescale(dataset)
    if (slope, intercept) == (1, 0):
        return stored_V, "no"
    return stored_V.astype(np.float64) * slope + intercept, "rescale"


def tables(dataset: Dataset, name: str) -> Sequence[Dataset]:
    """The items of a sequence of lookup tables; rejected unread if longer than 16 tables of 65,536 entries."""
    unread = dataset.get_item(name) if name in dataset else None
    if isinstance(unread, RawDataElement) and unread.length > MAX_TABLE_BYTES:
        raise Rejected(Reason.DECODE, "more lookup tables than any X-ray has")
    return [item for item in dataset.get(name) or () if _says_something(item)]


def _says_something(item: Dataset) -> bool:
    """Whether the item of a lookup table has a descriptor or data; some writers leave both empty."""
    return any(is_present(item, name) for name in ("LUTDescriptor", "LUTData"))


def rescale(dataset: Dataset) -> tuple[float, float]:
    slope, intercept = number(dataset, "RescaleSlope"), number(dataset, "RescaleIntercept")
    for name, read in (("RescaleSlope", slope), ("RescaleIntercept", intercept)):
        if read is None and is_present(dataset, name):
            raise Rejected(Reason.DECODE, f"{name} cannot be read as a number")
    return (1.0, 0.0) if slope is None or intercept is None else (slope, intercept)
