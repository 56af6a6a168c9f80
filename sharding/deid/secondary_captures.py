"""Whether identity may stand in the pixels: burned-in text, screenshots, scanned sheets, reports stored as images.

In: a parsed header. Out: why the image is refused, or nothing; and what to count for the audit. Only what the header
says is judged: text that no header admits is not looked for. Messages hold no value of the header.

By default what the header flags is refused; a flag that is neither YES nor NO counts as YES. Public sets are Secondary
Captures that say nothing about burned-in text, so silence passes and is counted. With `strict` it does not: for
a hospital's own archive, where a Secondary Capture is most often a screenshot.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator

from pydicom import Dataset

from sharding.pixels.header import modality, text

# PS3.3 C.8.6.1: scanned document, scanned image, drawing
REFUSED_CONVERSIONS = ("SD", "SI", "DRW")
FILM = "DF"  # digitized film, which often shows the name plate of the patient
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
# Storage classes whose objects are no pictures of a patient (PS3.4 B.5): presentation states, structured reports,
# encapsulated documents, raw data and segmentations, plans and doses (the RT Image is a picture).
NOT_IMAGES = re.compile(r"1\.2\.840\.10008\.5\.1\.4\.1\.1\.(?:11|88|104|66|9|481(?!\.1$))(?:\..*)?")
NOT_IMAGE_MODALITIES = ("DOC", "SR", "PR", "KO", "PLAN", "REG", "SEG", "RTDOSE", "RTPLAN", "RTSTRUCT", "ECG")
SHEET = re.compile(
    r"SCREEN(?!ING)|SNAPSHOT|\bREPORT|PROTOCOL|\bDOSE (?:INFO|REPORT|PAGE)|DOCUMENT|WORKSHEET|\bSHEET\b|\bSCANNED\b|"
    r"\bPRINT|\bFORM\b|\bSUMMARY\b|REQUISITION|\bCONSENT\b"
)

COUNTED = ("burned_in_no", "burned_in_not_said", "secondary_capture", "digitized_film", "no_dicom_header")


def refusal(dataset: Dataset, strict: bool = False) -> str:
    """Why identity may stand in the pixels, for Rejected(DEIDENTIFICATION); empty where nothing speaks for it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's texts quote values of the header
        return _flagged(dataset) or (_not_cleared(dataset) if strict else "")


def _flagged(dataset: Dataset) -> str:
    if set(_code(dataset, "BurnedInAnnotation").split()) - {"NO"}:
        return "the header says BurnedInAnnotation YES: identity may stand in the pixels"
    if set(_code(dataset, "RecognizableVisualFeatures").split()) - {"NO"}:
        return "the header says RecognizableVisualFeatures YES: the patient may be recognised in the pixels"
    if _code(dataset, "ConversionType") in REFUSED_CONVERSIONS:
        return "the header says ConversionType scanned document, scanned image or drawing"
    if SHEET.search(_code(dataset, "ImageType").replace("_", " ")):
        return "the header's ImageType is that of a screenshot, a report or a sheet"
    if NOT_IMAGES.fullmatch(text(dataset, "SOPClassUID")) or modality(dataset) in NOT_IMAGE_MODALITIES:
        return "the SOP class or modality is that of a document and no image of a patient"
    return ""


def _not_cleared(dataset: Dataset) -> str:
    if _is_secondary_capture(dataset):
        return "a Secondary Capture, which strict rules refuse; --captures flagged takes it"
    if _code(dataset, "BurnedInAnnotation") != "NO":
        return "BurnedInAnnotation is not NO, as strict rules require; --captures flagged takes it"
    return ""


def _is_secondary_capture(dataset: Dataset) -> bool:
    """Whether no modality made the image: by its SOP class, or since a conversion is named (PS3.3 C.8.6.1)."""
    found = text(dataset, "SOPClassUID")
    return (
        found == SECONDARY_CAPTURE or found.startswith(SECONDARY_CAPTURE + ".") or bool(text(dataset, "ConversionType"))
    )


def counted(dataset: Dataset | None) -> tuple[str, ...]:
    """What the audit counts of one image that was taken; None stands for a PNG or JPEG, which has no header."""
    if dataset is None:
        return ("no_dicom_header",)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tuple(_said(dataset))


def _said(dataset: Dataset) -> Iterator[str]:
    yield "burned_in_no" if _code(dataset, "BurnedInAnnotation") == "NO" else "burned_in_not_said"
    if _is_secondary_capture(dataset):
        yield "secondary_capture"
    if _code(dataset, "ConversionType") == FILM:
        yield "digitized_film"


def _code(dataset: Dataset, name: str) -> str:
    return text(dataset, name).upper()
