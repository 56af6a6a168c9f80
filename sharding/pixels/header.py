"""The header of one DICOM file: parsing, required elements, and values that are needed before decoding.

In: the bytes of a Part 10 file. Out: the dataset and single values of it. Nothing is guessed: a missing
required element is a rejection. Pixels: `display`.
"""

from __future__ import annotations

import io
import logging
import warnings
import zlib
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.multival import MultiValue
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from sharding.contract import Reason, Rejected

logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # its warnings quote values of the header

PREAMBLE = 132  # bytes, with the prefix
PIXEL_DATA = 0x7FE00010
MAX_INFLATED = 2**27 + 2**24  # bytes: 16 bits for each of the most pixels, and a header
ELEMENT_BYTES = 8  # of the shortest element; fewer at the end of a file are padding
MAX_READS = 500_000  # two or three for an element
# Objects whose pixels are no picture.
NO_PICTURES = ("Segmentation Storage", "Label Map Segmentation Storage", "Parametric Map Storage", "RT Dose Storage")
REQUIRED = """
    Rows Columns BitsAllocated BitsStored SamplesPerPixel PixelRepresentation PhotometricInterpretation PixelData
"""


def is_dicom(data: bytes) -> bool:
    """Whether the file has the preamble and prefix of DICOM PS3.10 7.1."""
    return data[128:132] == b"DICM"


def parse(data: bytes) -> Dataset:
    """The dataset; raises Rejected(PARSE) if its header cannot be read, and Rejected(REQUIRED_TAGS) with their names.

    A file that ends inside its pixel data has no PixelData in the dataset, and `display.decode` rejects it.
    """
    cut_off = False
    try:
        try:
            dataset = _read(data)
        except UserWarning:
            dataset, cut_off = _read(data, stop_before_pixels=True), True
    except Rejected:
        raise
    except Exception:
        # Damaged files raise nearly any type in pydicom, and their texts may quote values of the header.
        raise Rejected(Reason.PARSE, "the DICOM file cannot be parsed to its end") from None
    _check_is_image(dataset)
    missing = [name for name in _missing(dataset) if not (cut_off and name == "PixelData")]
    if missing:
        raise Rejected(Reason.REQUIRED_TAGS, "missing or empty: " + ", ".join(missing))
    return dataset


def _read(data: bytes, stop_before_pixels: bool = False) -> Dataset:
    """Like `pydicom.dcmread`, which would inflate a deflated file without a limit."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # pydicom only warns if a file ends inside an element.
        warnings.filterwarnings("error", message=".*(End of file|EOF).*", category=UserWarning)
        file = _Bounded(data)
        file.seek(PREAMBLE)
        meta = FileMetaDataset(read_dataset(file, False, True, stop_when=lambda tag, *_: tag.group != 2))
        syntax = meta.get("TransferSyntaxUID", ImplicitVRLittleEndian)
        if syntax == DeflatedExplicitVRLittleEndian:
            file = _Bounded(_inflated(data[file.tell() :]))
        dataset = read_dataset(
            file,
            is_implicit_VR=syntax == ImplicitVRLittleEndian,
            is_little_endian=syntax != ExplicitVRBigEndian,
            stop_when=(lambda tag, *_: tag == PIXEL_DATA) if stop_before_pixels else None,
        )
        dataset.file_meta = meta
        if not stop_before_pixels and not _is_whole(dataset, file):
            raise EOFError
        return dataset


def _is_whole(dataset: Dataset, file: io.BytesIO) -> bool:
    """Whether the file was read to its end and ends with an element: pydicom stops, or truncates the last, silently.

    `display.decode` rejects truncated pixel data.
    """
    tags = list(dataset.keys())
    last = dataset.get_item(tags[-1]) if tags else None
    is_cut = isinstance(last, RawDataElement) and last.tag != PIXEL_DATA and len(last.value or b"") < last.length
    return not is_cut and len(io.BytesIO.read(file, ELEMENT_BYTES)) < ELEMENT_BYTES


class _Bounded(io.BytesIO):
    """A file with a limit on reads: a small element costs a hundred times its bytes in memory."""

    left = MAX_READS

    def read(self, size: int | None = -1, /) -> bytes:
        self.left -= 1
        if self.left < 0:
            raise Rejected(Reason.PARSE, "more elements than any image file has")
        return super().read(size)


def _inflated(deflated: bytes) -> bytes:
    """The dataset of a deflated file (PS3.5 A.5)."""
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = stream.decompress(deflated, MAX_INFLATED)
    if not stream.eof:
        why = "inflates to more than any image file has" if len(inflated) == MAX_INFLATED else "is cut off"
        raise Rejected(Reason.PARSE, f"the deflated file {why}")
    return inflated


def _check_is_image(dataset: Dataset) -> None:
    """Raises Rejected(MODALITY) for an object that is no image by its SOP class: a report, a segmentation."""
    uid = str(value(dataset, "SOPClassUID") or value(dataset.file_meta, "MediaStorageSOPClassUID") or "")
    name = UID(uid).name if uid else ""
    if name in NO_PICTURES or (name.endswith("Storage") and "Image" not in name and not _has_pixels(dataset)):
        raise Rejected(
            Reason.MODALITY, f"no image but a DICOM object of another kind ({name.removesuffix(' Storage')})"
        )


def _has_pixels(dataset: Dataset) -> bool:
    return "PixelData" in dataset and "Rows" in dataset


def _missing(dataset: Dataset) -> list[str]:
    missing = [] if value(dataset.file_meta, "TransferSyntaxUID") else ["TransferSyntaxUID"]
    syntax = UID(str(value(dataset.file_meta, "TransferSyntaxUID") or ""))
    samples = number(dataset, "SamplesPerPixel") or 1
    if samples > 1 and not (syntax.is_transfer_syntax and syntax.is_compressed):
        missing += ["PlanarConfiguration"] if _absent(value(dataset, "PlanarConfiguration")) else []
    return missing + [name for name in REQUIRED.split() if _absent(value(dataset, name))]


def _absent(element: Any) -> bool:
    return element is None or (hasattr(element, "__len__") and len(element) == 0)


def modality(dataset: Dataset) -> str:
    return text(dataset, "Modality").upper()


def patient_id(dataset: Dataset) -> str:
    return text(dataset, "PatientID")


def study_id(dataset: Dataset) -> str:
    return text(dataset, "StudyInstanceUID")


def text(dataset: Dataset, name: str) -> str:
    """The element as text, several values joined by a space; empty if it is absent or cannot be read."""
    content = value(dataset, name)
    values = content if isinstance(content, list | MultiValue) else [content]
    try:
        return " ".join(str(part) for part in values if part is not None).strip()
    except (ValueError, LookupError):
        return ""  # bytes outside the character set


def pair(dataset: Dataset, name: str) -> tuple[float, float] | None:
    """Two positive numbers; None for anything else."""
    try:
        first, second = (float(part) for part in value(dataset, name) or ())
    except (TypeError, ValueError):
        return None
    return (first, second) if 0 < first < 1e6 and 0 < second < 1e6 else None


def number(dataset: Dataset, name: str) -> float | None:
    """The element's value, the first of several; None if it is absent or not a finite number.

    A decimal comma, which PS3.5 does not allow and some devices write, is read as a point.
    """
    content = value(dataset, name)
    if content is None:
        content = _as_written(dataset, name)
    if isinstance(content, list | MultiValue):
        content = content[0] if len(content) else None
    try:
        single = float(str(content).replace(",", ".") if isinstance(content, str) else content)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return single if np.isfinite(single) else None


def is_present(dataset: Dataset, name: str) -> bool:
    """Whether the element is there and not empty, also if it cannot be read."""
    return not _absent(value(dataset, name)) or bool(_as_written(dataset, name).strip())


def _as_written(dataset: Dataset, name: str) -> str:
    """The first value of an element that pydicom could not convert; empty if there is none or it is no text."""
    element = dataset.get_item(name) if name in dataset else None
    written = element.value if isinstance(element, RawDataElement) else None
    return written.decode("ascii", "replace").split("\\")[0].strip(" \0") if isinstance(written, bytes) else ""


def value(dataset: Dataset, name: str) -> Any:
    """The element's value, None if it is absent. pydicom converts on access, so damage may appear only here."""
    try:
        return dataset.get(name)
    except Exception:
        return None  # pydicom raises any type for an element that cannot be read; it counts as absent
