"""What a DICOM header says of the examination: the view, and the part of the body.

In: a dataset. Out: codes and words of this module alone, since free text could hold a name; empty where the header says
nothing. The view is that of ViewPosition, else of ViewCodeSequence (PS3.16 CID 4010). An archive of chest images holds
knees and dogs.
"""

from __future__ import annotations

import re

from pydicom import Dataset

from sharding.pixels.header import text

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
HUMAN, CHEST = re.compile(r"HUMAN|HOMO"), re.compile(r"CHEST|THORA|LUNG|RIB|HEART|CARDIAC|STERN|CLAVIC|MEDIASTIN")
# Parts of the body, as in PS3.16 annex L, that are not the chest.
OTHER_PART = re.compile(
    r"(?<![A-Z])(?:"
    r"ABDOMEN|ANKLE|ARM|BREAST|CALCANEUS|CEREBRAL|COCCYX|CSPINE|CERVICAL|EAR|ELBOW|EYE|EXTREMITY|FACE|"
    r"FEMUR|FINGER|FOOT|FOREARM|HAND|HEAD|HIP|HUMERUS|JAW|KIDNEY|KNEE|KUB|LEG|LOWER LIMB|LSPINE|"
    r"LUMBAR|MANDIBLE|MAXILLA|NASAL|NECK|ORBIT|PATELLA|PELVI|RADIUS|SACRUM|SCAPULA|SHOULDER|SINUS|"
    r"SKULL|SPINE|TEETH|THIGH|THUMB|TIBIA|TOE|TOOTH|ULNA|UPPER LIMB|WRIST|ZYGOMA"
    r")"
)


def view(dataset: Dataset) -> str:
    """ViewPosition if it is a code of PS3.3 C.8.7.1 or C.8.11.5, else what ViewCodeSequence names, else empty."""
    code = text(dataset, "ViewPosition").upper()
    return code if code in VIEWS else _of_codes(dataset)


def other_than_chest(dataset: Dataset) -> str:
    """What the header says it shows if that is no human chest: a word of `OTHER_PART`, or "animal"; else empty."""
    species = text(dataset, "PatientSpeciesDescription").upper()
    if species and not HUMAN.search(species):
        return "animal"
    words = f"{text(dataset, 'BodyPartExamined')} {_meanings(dataset, 'AnatomicRegionSequence')}".upper()
    if CHEST.search(words):
        return ""
    found = OTHER_PART.search(words)
    return found[0] if found else ""


def _meanings(dataset: Dataset, name: str) -> str:
    try:
        return " ".join(text(item, "CodeMeaning") for item in dataset.get(name) or ())
    except Exception:
        return ""  # pydicom raises any type for an element that cannot be read


def _of_codes(dataset: Dataset) -> str:
    try:
        items = dataset.get("ViewCodeSequence") or ()
        found = (_of_item(str(item.get("CodeValue", "")), str(item.get("CodeMeaning", ""))) for item in items)
        return next(filter(None, found), "")
    except Exception:  # pydicom raises any type for an element that cannot be read
        return ""


def _of_item(code: str, meaning: str = "") -> str:
    words = meaning.strip().lower().replace("anteroposterior", "antero-posterior")
    words = words.replace("posteroanterior", "postero-anterior").removesuffix(" projection").removesuffix(" view")
    return OF_CODE.get(code.strip(), "") or OF_MEANING.get(words, "")
