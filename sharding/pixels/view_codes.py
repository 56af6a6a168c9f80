"""The view in ViewCodeSequence (PS3.16 CID 4010) → a code of ViewPosition.

In: a dataset, or the words of a view as DICOM writes them. Out: one of `VIEWS`, empty for none that is known.
"""

from __future__ import annotations

from pydicom import Dataset

VIEWS = frozenset(
    ["AP", "PA", "LL", "RL", "LLD", "RLD", "RLO", "LLO", "LATERAL", "LPO", "RPO", "LAO", "RAO", "AP AXIAL", "AP LLD"]
    + ["AP RLD", "PA LLD", "PA RLD", "XTABLE LATERAL", "SWIMMERS"]
)
# SNOMED CT, and the same concepts as SNOMED RT (schemes SRT, SNM3, 99SDM); the meaning serves where a code is unknown.
OF_CODE = {
    **dict.fromkeys(("399348003", "R-10206"), "AP"),
    **dict.fromkeys(("272479007", "R-40888", "R-10214"), "PA"),
    **dict.fromkeys(("399067008", "R-102CD"), "LATERAL"),
    **dict.fromkeys(("399173006", "R-10236"), "LL"),
    **dict.fromkeys(("399198007", "R-10232"), "RL"),
    **dict.fromkeys(("399184004", "R-10238"), "LLO"),
    **dict.fromkeys(("399236003", "R-10234"), "RLO"),
    **dict.fromkeys(("399135007", "R-10220"), "LAO"),
    **dict.fromkeys(("399356000", "R-40985"), "RAO"),
    **dict.fromkeys(("399006002", "R-10212"), "LPO"),
    **dict.fromkeys(("399038007", "R-10210"), "RPO"),
}
OF_MEANING = {
    "antero-posterior": "AP",
    "postero-anterior": "PA",
    "lateral": "LATERAL",
    "left lateral": "LL",
    "right lateral": "RL",
    "left oblique": "LLO",
    "right oblique": "RLO",
    "left anterior oblique": "LAO",
    "right anterior oblique": "RAO",
    "left posterior oblique": "LPO",
    "right posterior oblique": "RPO",
}


def of(dataset: Dataset) -> str:
    """The view of the first item; an item that cannot be read names none."""
    try:
        items = dataset.get("ViewCodeSequence") or ()
        found = (of_item(str(item.get("CodeValue", "")), str(item.get("CodeMeaning", ""))) for item in items)
        return next(filter(None, found), "")
    except Exception:  # pydicom raises any type for an element that cannot be read
        return ""


def of_item(code: str, meaning: str = "") -> str:
    words = meaning.strip().lower().replace("anteroposterior", "antero-posterior")
    words = words.replace("posteroanterior", "postero-anterior").removesuffix(" projection").removesuffix(" view")
    return OF_CODE.get(code.strip(), "") or OF_MEANING.get(words, "")
