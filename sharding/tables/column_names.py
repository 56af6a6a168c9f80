"""The header of a table → what a message may show of it.

In: the cells of a table's first line. Out: those that are sure to be names of columns. A table without a header begins
with a patient, so a cell is shown only if all of its words are words of column names.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

SHOWN = 30  # names in a message
WORDS = frozenset(
    re.findall(
        r"[a-z]+",
        """
        abnormal abnormality accession acquisition adult age ap base birth body bounding box boxes caption category
        chest class clinical code column comment count cxr data dataset date day decubitus description diagnosis
        dicom dir disease examination exam extension file filename filenames files finding findings folder format
        frontal gender group hash head header height hospital id ids image images impression index indication
        institution instance label labels language lateral lesion license link location lung main manufacturer mask
        medical method metadata modality month name names no note notes number obs observation offset order
        orientation pa page part path paths pathology patient patients person photometric pixel position postero
        procedure projection prompt protocol race raw reason record ref reference referring region rel relative
        report reports resolution row sample scan score section sentence sentences series set sex side site size sop
        source spacing split splits src station status study subject subset table tag tags target test text texts
        time title top train type uid uids unit unnamed url urls valid validate validation value view views volume
        weight width words x xray y year z
        """,
    )
)
WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
NAME = re.compile(r"(?=.*[A-Za-z])[A-Za-z_ ./()#:;|\t-]{1,80}")  # no digit: it may be a date or an id


def shown(header: Sequence[str]) -> str:
    """The columns for a message, and whether there are others."""
    names = [cell for cell in header if _is_name(cell)][:SHOWN]
    if len(names) == len(header):
        return ", ".join(names)
    others = "others, not shown since they may be values: does the table begin with a header?"
    return " and ".join(filter(None, (", ".join(names), others)))


def _is_name(cell: str) -> bool:
    return bool(NAME.fullmatch(cell)) and all(word.lower() in WORDS for word in WORD.findall(cell))
