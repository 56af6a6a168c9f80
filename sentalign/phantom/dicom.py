"""Encoding of a 12-bit picture as a DICOM file, in the variety of real archives.

In: a study (picture bright = dense) and a random generator. Out: the bytes of a DICOM file, and its values for the
metadata table. The header holds an invented identity, for the tests of de-identification. Files are written in `write`.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from sentalign.phantom.devices import GREY_LEVELS
from sentalign.phantom.reports import CENTIMETRES_PER_UNIT
from sentalign.phantom.study import Study

_UID_ROOT = "1.2.826.0.1.3680043.8.498.7"  # pydicom's root for generated identifiers, with an arm for phantoms
_SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless)


@dataclass(frozen=True)
class Encoded:
    """A file's bytes and its row of the metadata table."""

    data: bytes
    view: str
    date: str
    time: str


@dataclass(frozen=True)
class _Coding:
    stored_HW: NDArray[np.uint16]
    bits: int
    inverted: bool
    slope: float
    intercept: float
    rescaled: bool
    window: tuple[float, float] | None


def _code(rng: np.random.Generator, image_HW: NDArray[np.uint16]) -> _Coding:
    """Random bits, polarity, rescale and window that all show the same picture (PS3.3 C.11.1, C.11.2)."""
    bits = int(rng.choice((10, 12, 14)))
    top = (1 << bits) - 1
    inverted, rescaled, windowed = rng.random() < 0.35, rng.random() < 0.5, rng.random() < 0.6
    slope, intercept = (float(rng.choice((1.0, 0.5))), float(rng.choice((0.0, -1024.0)))) if rescaled else (1.0, 0.0)
    scale, offset = (top * 0.8, top * 0.1) if windowed else (float(top), 0.0)
    grey = np.rint(image_HW * np.float32(scale / (GREY_LEVELS - 1)) + np.float32(offset)).astype(np.uint16)
    stored = (top - grey).astype(np.uint16) if inverted else grey
    low, high = (top - offset - scale, top - offset) if inverted else (offset, offset + scale)
    centre, width = (low + high) / 2 * slope + intercept, (high - low) * slope
    window = (round(centre + 0.5, 2), round(width + 1, 2)) if windowed else None  # C.11.2.1.2: centre - 0.5, width - 1
    return _Coding(stored, bits, inverted, slope, intercept, rescaled, window)


def _identity(dataset: pydicom.Dataset, study: Study, dicom_id: str, date: str, time: str) -> None:
    """Invented names, numbers and dates, all of which de-identification must remove."""
    planned = study.planned
    dataset.PatientName = f"Phantom^N{planned.patient:04d}"
    dataset.PatientID = str(planned.subject_id)
    dataset.PatientBirthDate = f"19{30 + planned.patient % 60}0{1 + planned.patient % 9}1{planned.patient % 10}"
    dataset.PatientSex = "FM"[planned.patient % 2]
    dataset.AccessionNumber = f"ACC{planned.study_id}"
    dataset.StudyID = str(planned.study_id)
    dataset.StudyDate = dataset.ContentDate = date
    dataset.StudyTime = dataset.ContentTime = time
    dataset.InstitutionName = "Phantom General Hospital"
    dataset.ReferringPhysicianName = f"Referrer^N{planned.patient % 40:02d}"
    dataset.OperatorsName = f"Operator^N{planned.number % 20:02d}"
    dataset.StationName = f"ROOM{planned.number % 7}"
    dataset.DeviceSerialNumber = f"SN{planned.number % 7:06d}"
    dataset.StudyInstanceUID = f"{_UID_ROOT}.1.{planned.study_id}"
    dataset.SeriesInstanceUID = f"{_UID_ROOT}.2.{planned.study_id}"
    dataset.SOPInstanceUID = f"{_UID_ROOT}.3.{int(dicom_id.replace('-', '')[:16], 16)}"


def _pixels(dataset: pydicom.Dataset, coding: _Coding) -> None:
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME1" if coding.inverted else "MONOCHROME2"
    dataset.Rows, dataset.Columns = coding.stored_HW.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, coding.bits, coding.bits - 1
    dataset.PixelRepresentation = 0
    dataset.PresentationLUTShape = "INVERSE" if coding.inverted else "IDENTITY"
    if coding.rescaled:
        dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = coding.intercept, coding.slope, "US"
    if coding.window:
        dataset.WindowCenter, dataset.WindowWidth = coding.window


def encode(rng: np.random.Generator, study: Study, dicom_id: str) -> Encoded:
    """A Computed Radiography file (PS3.3 A.2) of the study's picture."""
    coding = _code(rng, study.image_HW)
    view = "AP" if study.portable else "PA"
    date = f"21{int(rng.integers(10, 90)):02d}{int(rng.integers(1, 13)):02d}{int(rng.integers(1, 29)):02d}"
    time = f"{int(rng.integers(0, 24)):02d}{int(rng.integers(0, 60)):02d}{int(rng.integers(0, 60)):02d}"
    syntax = _SYNTAXES[int(rng.choice(3, p=(0.7, 0.2, 0.1)))]
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian if syntax == RLELossless else syntax
    meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = ComputedRadiographyImageStorage
    _identity(dataset, study, dicom_id, date, time)
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    dataset.Modality, dataset.BodyPartExamined, dataset.ViewPosition = "CR", "CHEST", view
    dataset.SeriesNumber, dataset.InstanceNumber = 1, 1
    dataset.PatientOrientation = ["L", "F"]
    spacing = round(CENTIMETRES_PER_UNIT * 10 / max(study.image_HW.shape), 4)
    dataset.PixelSpacing = [spacing, spacing]
    dataset.BurnedInAnnotation = "NO"
    _pixels(dataset, coding)
    dataset.PixelData = coding.stored_HW.astype("<u2").tobytes()
    dataset["PixelData"].VR = "OW"
    if syntax == RLELossless:
        dataset.compress(RLELossless, generate_instance_uid=False)
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return Encoded(buffer.getvalue(), view, date, time)
