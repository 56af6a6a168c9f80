"""The header of one DICOM file: what is required of it, and what decides about the image before its pixels are decoded.

In: the bytes of a Part 10 file. Out: the dataset and single values of it. Nothing is guessed: what the header does not
say is a rejection. The pixels are the business of `display`.
"""

from __future__ import annotations

import io
import logging
import warnings
from typing import Any

import numpy as np
import pydicom
from pydicom import Dataset
from pydicom.multival import MultiValue

from sharding.contract import Reason, Rejected

logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # its warnings quote values of the header

REQUIRED = (
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "SamplesPerPixel",
    "PixelRepresentation",
    "PhotometricInterpretation",
    "PixelData",
)
PERSONS = (
    "PatientName",
    "OtherPatientNames",
    "PatientBirthName",
    "PatientMotherBirthName",
    "ResponsiblePerson",
    "ReferringPhysicianName",
    "PerformingPhysicianName",
    "RequestingPhysician",
    "NameOfPhysiciansReadingStudy",
    "PhysiciansOfRecord",
    "OperatorsName",
)
NUMBERS = ("PatientID", "OtherPatientIDs", "AccessionNumber", "StudyID")
VIEWS = frozenset(
    (
        "AP",
        "PA",
        "LL",
        "RL",
        "LLD",
        "RLD",
        "RLO",
        "LLO",
        "LATERAL",
        "LPO",
        "RPO",
        "LAO",
        "RAO",
        "AP AXIAL",
        "AP LLD",
        "AP RLD",
        "PA LLD",
        "PA RLD",
        "XTABLE LATERAL",
        "SWIMMERS",
    )
)


def is_dicom(data: bytes) -> bool:
    """Whether the file has the preamble and prefix of DICOM PS3.10 7.1; a file without is not guessed at."""
    return data[128:132] == b"DICM"


def parse(data: bytes) -> Dataset:
    """The dataset; raises Rejected(PARSE) where its header cannot be read and Rejected(REQUIRED_TAGS) by name.

    A file that ends inside its pixel data comes without PixelData, which `display.decode` rejects.
    """
    cut_off = False
    try:
        try:
            dataset = _read(data)
        except UserWarning:
            dataset, cut_off = _read(data, stop_before_pixels=True), True
    except Exception:
        # Damaged files raise nearly any type in pydicom, and their texts may quote values of the header.
        raise Rejected(Reason.PARSE, "the DICOM file cannot be parsed to its end") from None
    missing = [name for name in _missing(dataset) if not (cut_off and name == "PixelData")]
    if missing:
        raise Rejected(Reason.REQUIRED_TAGS, "missing or empty: " + ", ".join(missing))
    return dataset


def _read(data: bytes, stop_before_pixels: bool = False) -> Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # pydicom only warns where a file stops in the middle of an element.
        warnings.filterwarnings("error", message=".*(End of file|EOF).*", category=UserWarning)
        return pydicom.dcmread(io.BytesIO(data), stop_before_pixels=stop_before_pixels)


def _missing(dataset: Dataset) -> list[str]:
    missing = [] if value(dataset.file_meta, "TransferSyntaxUID") else ["TransferSyntaxUID"]
    return missing + [name for name in REQUIRED if _absent(value(dataset, name))]


def _absent(found: Any) -> bool:
    return found is None or (hasattr(found, "__len__") and len(found) == 0)


def modality(dataset: Dataset) -> str:
    return text(dataset, "Modality").upper()


def burned_in(dataset: Dataset) -> bool:
    """Whether the header says that identity may stand in the pixels (PS3.3 C.7.6.1.1.3)."""
    return text(dataset, "BurnedInAnnotation").upper() == "YES"


def patient_id(dataset: Dataset) -> str:
    return text(dataset, "PatientID")


def study_id(dataset: Dataset) -> str:
    return text(dataset, "StudyInstanceUID")


def view(dataset: Dataset) -> str:
    """ViewPosition where it is a code of PS3.3 C.8.7.1 or C.8.11.5, else empty: free text could name people."""
    code = text(dataset, "ViewPosition").upper()
    return code if code in VIEWS else ""


def identifiers(dataset: Dataset) -> tuple[str, ...]:
    """Parts of people's names and the numbers given to them, as the header writes them; for the scan of the report."""
    found: set[str] = set()
    for name in PERSONS:
        found.update(
            text(dataset, name).replace("^", " ").replace("=", " ").replace("\\", " ").replace(",", " ").split()
        )
    found.update(text(dataset, name) for name in NUMBERS)
    return tuple(sorted(part for part in found if part))


def text(dataset: Dataset, name: str) -> str:
    """The element as text, several values with a space between; empty where it is absent or cannot be read."""
    found = value(dataset, name)
    values = found if isinstance(found, list | MultiValue) else [found]
    try:
        return " ".join(str(part) for part in values if part is not None).strip()
    except (ValueError, LookupError):
        return ""  # characters that no character set explains say nothing


def pair(dataset: Dataset, name: str) -> tuple[float, float] | None:
    """Two positive numbers; None where the element is anything else."""
    try:
        first, second = (float(part) for part in value(dataset, name) or ())
    except (TypeError, ValueError):
        return None
    return (first, second) if 0 < first < 1e6 and 0 < second < 1e6 else None


def number(dataset: Dataset, name: str) -> float | None:
    """The element's value, the first of several; None where it is absent or no number."""
    found = value(dataset, name)
    if isinstance(found, list | MultiValue):
        found = found[0] if len(found) else None
    try:
        single = float(found)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return single if np.isfinite(single) else None


def value(dataset: Dataset, name: str) -> Any:
    """The element's value, None where it is absent; pydicom converts on access, so damage may show only here."""
    try:
        return dataset.get(name)
    except Exception:
        return None  # an element that cannot be read counts as absent, whatever type pydicom raises for it
