"""The column of a table that says how pictures without a header are stored → DICOM's colour models.

In: the cells of a table. Out: MONOCHROME1 for a picture whose dense parts are dark, MONOCHROME2, or an empty string.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from sharding.contract import UserError

INVERTED, PLAIN = "MONOCHROME1", "MONOCHROME2"
# A table made of DICOM headers names the colours of the others too: their pictures are as they look.
COLOURS = re.compile(r"RGB|PALETTE COLOR|YBR_(?:FULL|FULL_422|PARTIAL_420|ICT|RCT)")


def read(cells: Iterable[str], where: str) -> list[str]:
    """INVERTED, PLAIN or nothing for each cell; raises UserError for any other word, which it does not quote."""
    words = [cell.upper() for cell in cells]
    known = (INVERTED, PLAIN, "")
    unknown = [number for number, word in enumerate(words, start=1) if word not in known and not _colour(word)]
    if unknown:
        raise UserError(
            f"{where}: {len(unknown)} rows, first row {unknown[0]}, are neither {INVERTED} nor {PLAIN} (the column of "
            "--photometric-column); correct them, or leave them empty"
        )
    return [PLAIN if _colour(word) else word for word in words]


def _colour(word: str) -> bool:
    return COLOURS.fullmatch(word) is not None
