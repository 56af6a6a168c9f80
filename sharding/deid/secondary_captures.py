"""Images that may show an identity in their pixels: burned-in text, screenshots, scanned sheets, stored documents.

In: a parsed header. Out: why the image is refused, or nothing; and what the audit counts. Only the header decides: the
pixels are not searched for text. Messages hold no value of the header.

By default an image is refused if its header flags it; a flag that is neither YES nor NO counts as YES. Public data sets
are Secondary Captures without a flag for burned-in text, so a missing flag passes and is counted. With `strict` it does
not pass: for a hospital's own archive, where a Secondary Capture is usually a screenshot.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator

from pydicom import Dataset

from sharding.pixels.header import modality, text

# PS3.3 C.8.6.1: scanned document, scanned image, drawing
REFUSED_CONVERSIONS = ("SD", "SI", "DRW")
FILM = "DF"  # digitized film, which often shows the patient's name plate
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
# Storage classes whose objects are not images of a patient (PS3.4 B.5): presentation states, structured reports,
# encapsulated documents, raw data and segmentations, plans and doses (an RT Image is one).
NOT_IMAGES = re.compile(r"1\.2\.840\.10008\.5\.1\.4\.1\.1\.(?:11|88|104|66|9|481(?!\.1$))(?:\..*)?")
NOT_IMAGE_MODALITIES = ("DOC", "SR", "PR", "KO", "PLAN", "REG", "SEG", "RTDOSE", "RTPLAN", "RTSTRUCT", "ECG")
SHEET = re.compile(
    r"SCREEN(?!ING)|SNAPSHOT|\bREPORT|PROTOCOL|\bDOSE (?:INFO|REPORT|PAGE)|DOCUMENT|WORKSHEET|\bSHEET\b|\bSCANNED\b|"
    r"\bPRINT|\bFORM\b|\bSUMMARY\b|REQUISITION|\bCONSENT\b"
)

COUNTED = ("burned_in_no", "burned_in_not_said", "secondary_capture", "digitized_film", "no_dicom_header")


def refusal(dataset: Dataset, strict: bool = False) -> str:
    """Why the pixels may show an identity, as a message of Rejected(DEIDENTIFICATION); empty if the image may pass."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's texts quote values of the header
        return _flagged(dataset) or (_not_cleared(dataset) if strict else "")


def _flagged(dataset: Dataset) -> str:
    if set(_code(dataset, "BurnedInAnnotation").split()) - {"NO"}:
        return "BurnedInAnnotation is not NO: the pixels may show an identity"
    if set(_code(dataset, "RecognizableVisualFeatures").split()) - {"NO"}:
        return "RecognizableVisualFeatures is not NO: the patient may be recognised in the pixels"
    if _code(dataset, "ConversionType") in REFUSED_CONVERSIONS:
        return "ConversionType is scanned document, scanned image or drawing"
    if SHEET.search(_code(dataset, "ImageType").replace("_", " ")):
        return "ImageType is that of a screenshot, a report or a sheet"
    if NOT_IMAGES.fullmatch(text(dataset, "SOPClassUID")) or modality(dataset) in NOT_IMAGE_MODALITIES:
        return "the SOP class or modality is that of a document, not of an image of a patient"
    return ""


def _not_cleared(dataset: Dataset) -> str:
    if _is_secondary_capture(dataset):
        return "a Secondary Capture, which strict rules refuse; --captures flagged takes it"
    if _code(dataset, "BurnedInAnnotation") != "NO":
        return "BurnedInAnnotation is not NO, as strict rules require; --captures flagged takes it"
    return ""


def _is_secondary_capture(dataset: Dataset) -> bool:
    """Whether no modality made the image: by its SOP class, or because it has a ConversionType (PS3.3 C.8.6.1)."""
    is_class = f"{text(dataset, 'SOPClassUID')}.".startswith(f"{SECONDARY_CAPTURE}.")
    return is_class or bool(text(dataset, "ConversionType"))


def counted(dataset: Dataset | None) -> tuple[str, ...]:
    """What the audit counts for an image that was taken; None for a PNG or JPEG, which has no header."""
    if dataset is None:
        return ("no_dicom_header",)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tuple(_counted(dataset))


def _counted(dataset: Dataset) -> Iterator[str]:
    yield "burned_in_no" if _code(dataset, "BurnedInAnnotation") == "NO" else "burned_in_not_said"
    if _is_secondary_capture(dataset):
        yield "secondary_capture"
    if _code(dataset, "ConversionType") == FILM:
        yield "digitized_film"


def _code(dataset: Dataset, name: str) -> str:
    return text(dataset, name).upper()
