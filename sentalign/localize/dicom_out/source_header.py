"""The DICOM file of the picture → its header, fit to be referenced by derived objects.

In: the bytes of the file. Out: a pydicom dataset without pixels. The identity in it is kept on purpose: a derived
object belongs to the same study of the same patient. It goes into DICOM objects alone.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import io
import re
import warnings
from typing import Any

import highdicom
import pydicom
from pydicom import uid
from pydicom.multival import MultiValue
from pydicom.sr.codedict import codes
from pydicom.tag import BaseTag

from sentalign.localize.files.failed import FailedPictureError
from sharding.pixels import header

# Attributes of the patient and study modules that may be empty (type 2), and that some files lack.
MAY_BE_EMPTY = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "ReferringPhysicianName",
    "StudyID", "AccessionNumber",
)  # fmt: skip
NEEDED = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Rows", "Columns")
# Others need a frame of reference, and maps are made for frontal chest X-rays.
XRAY = (
    uid.ComputedRadiographyImageStorage,
    uid.DigitalXRayImageStorageForPresentation,
    uid.DigitalXRayImageStorageForProcessing,
    uid.SecondaryCaptureImageStorage,
    uid.MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    uid.MultiFrameTrueColorSecondaryCaptureImageStorage,
)
SHORT, NUMBER = re.compile(".{0,16}"), re.compile(r"[-+]?\d+(\.\d*)?([eE][-+]?\d+)?")
# What highdicom and validators accept; files have other values too.
DATE, TIME = re.compile(r"\d{8}"), re.compile(r"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?")
FORMS = {
    "PatientSex": re.compile("[MFO]"),
    "PatientAge": re.compile(r"\d{3}[DWMY]"),
    "PatientBirthDate": DATE,
    "StudyDate": DATE,
    "StudyTime": TIME,
    "StudyID": SHORT,
    "AccessionNumber": SHORT,
    "PatientSize": NUMBER,
    "PatientWeight": NUMBER,
    "Laterality": re.compile("[LR]"),
    "PatientOrientation": re.compile(r"[ARLHFP]{1,3}\\[ARLHFP]{1,3}"),
}
NAME = "sentalign"
NOTICE = "Research output of sentalign, not for diagnosis"


def read(data: bytes) -> pydicom.Dataset:
    """The header. Raises FailedPictureError where the file is no DICOM image, or no object can refer to it."""
    if not header.is_dicom(data):
        raise FailedPictureError("no DICOM objects: they need the DICOM file of the image, and this is none")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's texts quote values of the header
        try:
            return _read(data)
        except FailedPictureError:
            raise
        except Exception:  # of nearly any type, with texts that quote values too
            raise FailedPictureError("no DICOM objects: the header has a value that cannot be read") from None


def _read(data: bytes) -> pydicom.Dataset:
    source = pydicom.dcmread(io.BytesIO(data), force=True, stop_before_pixels=True)
    for tag in list(source.keys()):
        if not _is_readable(source, tag):
            del source[tag]
    missing = [name for name in NEEDED if not source.get(name)]
    if missing:
        raise FailedPictureError(f"no DICOM objects: the file has no {missing[0]}, by which they refer to an image")
    if int(source.get("NumberOfFrames") or 1) > 1:
        raise FailedPictureError("no DICOM objects: the file has several frames; give an image of one")
    if source.SOPClassUID not in XRAY:
        raise FailedPictureError("no DICOM objects: the file is no X-ray image (CR, DX or secondary capture)")
    source.decode()
    _mend(source)
    return source


def _is_readable(source: pydicom.Dataset, tag: BaseTag) -> bool:
    """Whether a value has the form of its type: 1,80 is no decimal string, and raises as soon as it is looked at."""
    try:
        return source[tag] is not None
    except Exception:
        return False


def _mend(source: pydicom.Dataset) -> None:
    """Adds what may be empty, and takes out values that a derived object would be faulty with."""
    source.SpecificCharacterSet = "ISO_IR 192"  # UTF-8: sentences may have any letters
    for name in MAY_BE_EMPTY:
        if name not in source or not _is_valid(name, _written(source[name].value)):
            source.pop(name, None)
            setattr(source, name, "")
    source.pop("FrameOfReferenceUID", None)  # a projection lies nowhere in it
    for name in ("PatientAge", "PatientSize", "PatientWeight", "Laterality", "PatientOrientation"):
        if name in source and not _is_valid(name, _written(source[name].value)):
            del source[name]
    for name in [element.keyword for element in source if element.keyword.startswith("ClinicalTrial")]:
        del source[name]  # of another module, of which a part alone would be faulty
    if source.get("PatientIdentityRemoved") == "YES" and not source.get("DeidentificationMethod"):
        source.DeidentificationMethod = "not stated by the image"
    for name in ("PixelSpacing", "ImagerPixelSpacing"):
        if name in source and not _are_lengths(source[name].value):
            del source[name]


def _written(value: Any) -> str:
    """A value as it stands in a file."""
    return "\\".join(map(str, value)) if isinstance(value, MultiValue) else str(value or "")


def _is_valid(name: str, value: str) -> bool:
    if not value or name not in FORMS:
        return True
    if not FORMS[name].fullmatch(value):
        return False
    try:
        if name.endswith("Date"):
            datetime.datetime.strptime(value, "%Y%m%d")
    except ValueError:
        return False
    return True


def _are_lengths(spacing: Any) -> bool:
    """Whether a spacing is two positive numbers."""
    try:
        return len(spacing) == 2 and all(float(value) > 0 for value in spacing)
    except (TypeError, ValueError):
        return False


def equipment() -> dict[str, Any]:
    """The arguments of highdicom that say which software made an object."""
    version = importlib.metadata.version(NAME)
    return {"manufacturer": NAME, "manufacturer_model_name": NAME, "software_versions": version,
            "device_serial_number": "none"}  # fmt: skip


def algorithm() -> highdicom.AlgorithmIdentificationSequence:
    """What made the regions."""
    return highdicom.AlgorithmIdentificationSequence(
        NAME, codes.cid7162.ArtificialIntelligence, importlib.metadata.version(NAME)
    )


def mark_research(made: pydicom.Dataset, description: str) -> None:
    """The description of its series."""
    made.SpecificCharacterSet = "ISO_IR 192"
    made.SeriesDescription = f"Research, {description}, {NAME}"


def mark(made: pydicom.Dataset, source: pydicom.Dataset, description: str) -> None:
    """What every derived image says: that it is research output, and how the source lies."""
    mark_research(made, description)
    made.PatientOrientation = source.get("PatientOrientation") or None
    made.ContentQualification = "RESEARCH"
