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
from pydicom.sr.codedict import codes

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
# What highdicom and validators accept; files have other values too.
DATE, TIME = re.compile(r"\d{8}"), re.compile(r"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?")
FORMS = {
    "PatientSex": re.compile("[MFO]"),
    "PatientAge": re.compile(r"\d{3}[DWMY]"),
    "PatientBirthDate": DATE,
    "StudyDate": DATE,
    "StudyTime": TIME,
}
NAME = "sentalign"
NOTICE = "Research output of sentalign, not for diagnosis"


def read(data: bytes) -> pydicom.Dataset:
    """The header. Raises FailedPictureError where the file is no DICOM image, or derived objects cannot refer to it."""
    if not header.is_dicom(data):
        raise FailedPictureError("--dicom needs the DICOM file of the image, and this is none; leave --dicom out")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's texts quote values of the header
        source = pydicom.dcmread(io.BytesIO(data), force=True, stop_before_pixels=True)
        missing = [name for name in NEEDED if not source.get(name)]
    if missing:
        raise FailedPictureError(f"--dicom: the file has no {missing[0]}, by which DICOM objects refer to an image")
    if int(source.get("NumberOfFrames") or 1) > 1:
        raise FailedPictureError("--dicom: the file has several frames; give an image of one")
    if source.SOPClassUID not in XRAY:
        raise FailedPictureError("--dicom: the file is no X-ray image (CR, DX or secondary capture)")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source.decode()
    _mend(source)
    return source


def _mend(source: pydicom.Dataset) -> None:
    """Adds what may be empty, and takes out values that a derived object would be faulty with."""
    source.SpecificCharacterSet = "ISO_IR 192"  # UTF-8: sentences may have any letters
    for name in MAY_BE_EMPTY:
        if name not in source or not _is_valid(name, str(source[name].value or "")):
            source.pop(name, None)
            setattr(source, name, "")
    if "ImagePositionPatient" not in source:
        source.pop("FrameOfReferenceUID", None)  # a projection lies nowhere in it
    if not FORMS["PatientAge"].fullmatch(str(source.get("PatientAge", ""))):
        source.pop("PatientAge", None)
    for name in ("PixelSpacing", "ImagerPixelSpacing"):
        if name in source and not _are_lengths(source[name].value):
            del source[name]


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
