"""A manifest row → the picture and the description of its sample, by one range read each.

In: an open store and a row. Out: grey pixels, or the content of KEY.json. `verify` checks the checksums.
"""

# H rows, W columns
from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sharding import pixels
from sharding.contract import Reason, Rejected
from sharding.pixels.picture import Grey
from sharding.store.base import Store

Row = Mapping[str, Any]


def grey(store: Store, row: Row, long_side: int) -> Grey:
    """The stored picture (H, W), uint8; a JPEG may be decoded smaller, but not below `long_side`, which is faster.

    Raises UserError if the bytes are missing, Rejected if they are no picture.
    """
    raw = pixels.open_image(store.get_range(row["shard"], row["image_offset"], row["image_bytes"]))
    if raw.raster is not None:
        raw.raster.draft("L", (long_side, long_side))  # JPEG decodes straight to an eighth, a quarter or a half
    return raw.picture().grey_HW


def description(store: Store, row: Row) -> dict[str, Any]:
    """The content of KEY.json; raises UserError if the bytes are missing, Rejected if they are no JSON object."""
    data = store.get_range(row["shard"], row["json_offset"], row["json_bytes"])
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise Rejected(Reason.PARSE, "no description in JSON")
    return content
