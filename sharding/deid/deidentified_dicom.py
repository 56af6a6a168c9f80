"""KEY.dcm: the stored pixel values of a DICOM file under a header without identities.

In: a parsed dataset and the pseudonyms of its image, study and patient. Out: the bytes of a Part 10 file: the elements
of `header_allow_list`, new UIDs, the de-identification attributes of PS3.15 E.2, and the pixels, decoded and losslessly
encoded again, so that no comment, application marker or overlay of the source survives. Burned-in text:
`secondary_captures`.
"""

# H rows, W columns, C samples
from __future__ import annotations

import hashlib
import hmac
import io
import uuid
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmwrite, uid
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import get_encoder

from sharding.contract import Reason, Rejected
from sharding.deid import header_allow_list
from sharding.pixels import display
from sharding.pixels.decode.codecs import StoredPixels, stored_values
from sharding.pixels.decode.layout import AS_SAID
from sharding.pixels.header import text

PROFILE = "sentalign KEY.dcm 1"
IMPLEMENTATION_CLASS, IMPLEMENTATION_VERSION = uid.UID("2.25.135529297740588104503433416110916659174"), "SENTALIGN_1"
# Required in every image, and allowed to be empty (PS3.3, type 2).
EMPTY = (
    "PatientName PatientBirthDate PatientSex StudyDate StudyTime ReferringPhysicianName StudyID AccessionNumber "
    "SeriesNumber InstanceNumber PatientOrientation Manufacturer"
)
EMPTY_IN_DX = "AnatomicRegionSequence DetectorType AcquisitionContextSequence"
# Storage classes that are kept, and what else may be empty in them. All others become Secondary Captures, because
# elements that their own class requires are dropped.
CLASSES = {
    uid.ComputedRadiographyImageStorage: "BodyPartExamined ViewPosition",
    uid.DigitalXRayImageStorageForPresentation: EMPTY_IN_DX,
    uid.DigitalXRayImageStorageForProcessing: EMPTY_IN_DX,
    uid.SecondaryCaptureImageStorage: "",
}
LOSSY_METHODS = {
    uid.JPEGBaseline8Bit: "ISO_10918_1",
    uid.JPEGExtended12Bit: "ISO_10918_1",
    uid.JPEGLSNearLossless: "ISO_14495_1",
    uid.JPEG2000: "ISO_15444_1",
    uid.HTJ2K: "ISO_15444_15",
}
MAYBE_LOSSY = frozenset((uid.JPEG2000, uid.HTJ2K))  # unless the header tells


def dicom(dataset: Dataset, *, key: str, study: str, patient: str, salt: bytes) -> bytes:
    """The file; the same dataset, pseudonyms and salt give the same bytes.

    `display.decode` gives the same picture for it as for the source, which must have been decoded before. Raises
    Rejected(DECODE) for its pixels and Rejected(DEIDENTIFICATION) for a header that cannot be rewritten.
    """
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # pydicom's texts quote values of the header
            return _encoded_file(_deidentified(dataset, key, study, patient, salt))
    except Rejected:
        raise
    except Exception:
        raise Rejected(Reason.DEIDENTIFICATION, "the header cannot be rewritten without identities") from None


def _deidentified(dataset: Dataset, key: str, study: str, patient: str, salt: bytes) -> Dataset:
    kept = header_allow_list.allowed(dataset)
    source = text(dataset, "SOPClassUID")
    kept.SOPClassUID = source if source in CLASSES else uid.SecondaryCaptureImageStorage
    if kept.SOPClassUID == uid.SecondaryCaptureImageStorage and "ConversionType" not in kept:
        kept.ConversionType = "WSD"
    kept.SOPInstanceUID = _uid(salt, f"image {key}")
    kept.StudyInstanceUID = _uid(salt, f"study {study}")
    kept.SeriesInstanceUID = _uid(salt, f"series {study} {text(dataset, 'SeriesInstanceUID') or key}")
    _mark(kept, patient)
    _mark_lossy(kept, dataset)
    _fill(kept)
    stored = stored_values(dataset)
    _add_pixels(kept, stored)
    if stored.layout.depth != AS_SAID:
        _drop_unfit(kept, display.decode(dataset).provenance["voi_source"])
    return kept


def _drop_unfit(kept: Dataset, source: str) -> None:
    """Drops the table and the window that were unfit beside a contradicted depth, which the new header corrects."""
    for name in ("VOILUTSequence",) * (source != "lut") + ("WindowCenter", "WindowWidth") * (
        source in ("percentile", "none")
    ):
        if name in kept:
            delattr(kept, name)


def _fill(kept: Dataset) -> None:
    """The elements that the class requires and the source lacks, empty or as "unspecified"."""
    if "RescaleSlope" in kept and "RescaleType" not in kept:
        kept.RescaleType = "US"
    sides = "" if "BodyPartExamined" in kept or "ImageLaterality" in kept else "Laterality"
    for name in f"{EMPTY} {CLASSES[kept.SOPClassUID]} {sides}".split():
        if name not in kept:
            setattr(kept, name, None)


def _uid(salt: bytes, source: str) -> str:
    """The UID of a name-based UUID (PS3.5 B.2)."""
    digest = hmac.new(salt, f"uid\0{source}".encode(), hashlib.sha256).digest()
    return f"2.25.{uuid.UUID(bytes=digest[:16], version=5).int}"


def _mark(kept: Dataset, patient: str) -> None:
    """The attributes of a de-identified file (PS3.15 E.2, PS3.3 C.7.1.1, C.12.1.1.3.1 and CID 7050)."""
    kept.PatientID = patient
    kept.PatientIdentityRemoved = "YES"
    kept.DeidentificationMethod = PROFILE
    profile = Dataset()
    profile.CodeValue, profile.CodingSchemeDesignator = "113100", "DCM"
    profile.CodeMeaning = "Basic Application Confidentiality Profile"
    kept.DeidentificationMethodCodeSequence = [profile]
    kept.LongitudinalTemporalInformationModified = "REMOVED"


def _mark_lossy(kept: Dataset, dataset: Dataset) -> None:
    """An image that was compressed with loss once stays marked as lossy (PS3.3 C.7.6.1.1.5)."""
    syntax = dataset.file_meta.TransferSyntaxUID
    header_decides = "LossyImageCompression" in kept and syntax in MAYBE_LOSSY
    if syntax in LOSSY_METHODS and not header_decides:
        kept.LossyImageCompression = "01"
    if kept.get("LossyImageCompression") == "01" and syntax in LOSSY_METHODS:
        kept.LossyImageCompressionMethod = LOSSY_METHODS[syntax]


def _add_pixels(kept: Dataset, stored: StoredPixels) -> None:
    layout, values = stored.layout, _samples(stored)
    low, high = layout.range
    assert low <= values.min() <= values.max() <= high, "the stored bits hold all values"
    kept.SamplesPerPixel = layout.samples
    kept.PhotometricInterpretation = _colour_space(stored)
    if layout.samples > 1:
        kept.PlanarConfiguration = 0
    kept.Rows, kept.Columns = layout.rows, layout.columns
    kept.BitsAllocated = values.dtype.itemsize * 8
    kept.BitsStored, kept.HighBit = layout.bits, layout.bits - 1
    kept.PixelRepresentation = int(layout.signed)
    raw = values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
    frame = _jpeg_ls(raw, kept)
    kept.file_meta = FileMetaDataset()
    kept.file_meta.TransferSyntaxUID = uid.JPEGLSLossless if frame else uid.ExplicitVRLittleEndian
    kept.PixelData = encapsulate([frame]) if frame else raw + b"\0" * (len(raw) % 2)
    kept["PixelData"].VR = "OB" if frame else "OW"


def _samples(stored: StoredPixels) -> NDArray[Any]:
    """The values, (H, W) or (H, W, C); if only the luminance of a colour image was decoded: YBR with neutral chroma."""
    luminance_only = stored.layout.samples > 1 and stored.values.ndim == 2
    if not luminance_only:
        return np.ascontiguousarray(stored.values)
    neutral_HW = np.full_like(stored.values, 2 ** (stored.layout.bits - 1))
    return np.stack([stored.values, neutral_HW, neutral_HW], axis=-1)


def _colour_space(stored: StoredPixels) -> str:
    """That of the decoder, which has upsampled subsampled colour."""
    is_ybr = stored.photometric.startswith("YBR_FULL") or (stored.layout.samples > 1 and stored.values.ndim == 2)
    return "YBR_FULL" if is_ybr else stored.photometric


def _jpeg_ls(raw: bytes, layout: Dataset) -> bytes | None:
    """The frame in lossless JPEG-LS; None if it cannot hold it: more than 16 bits, 1 bit, or a tiny image of noise."""
    if not 2 <= layout.BitsStored <= 16 or layout.BitsAllocated > 16:
        return None
    options = {
        "rows": layout.Rows,
        "columns": layout.Columns,
        "number_of_frames": 1,
        "samples_per_pixel": layout.SamplesPerPixel,
        "photometric_interpretation": layout.PhotometricInterpretation,
        "planar_configuration": 0,
        "bits_allocated": layout.BitsAllocated,
        "bits_stored": layout.BitsStored,
        "pixel_representation": layout.PixelRepresentation,
    }
    encoder = get_encoder(uid.JPEGLSLossless)
    try:
        return bytes(encoder.encode(raw, **options))
    except RuntimeError:  # the encoder's buffer has the size of the raw image, which a few noisy pixels exceed
        return None


def _encoded_file(kept: Dataset) -> bytes:
    """A Part 10 file with an empty preamble and a meta header of its own."""
    meta = kept.file_meta
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = kept.SOPClassUID, kept.SOPInstanceUID
    meta.ImplementationClassUID, meta.ImplementationVersionName = IMPLEMENTATION_CLASS, IMPLEMENTATION_VERSION
    buffer = io.BytesIO()
    dcmwrite(buffer, kept, enforce_file_format=True)
    return buffer.getvalue()
