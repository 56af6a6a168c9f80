"""The header of one DICOM file: what is required of it, and what decides about the image before its pixels are decoded.

In: the bytes of a Part 10 file. Out: the dataset and single values of it. Nothing is guessed: what the header does not
say is a rejection. The pixels are the business of `display`.
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
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from sharding.contract import Reason, Rejected

logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # its warnings quote values of the header

PREAMBLE = 132  # bytes, with the prefix
PIXEL_DATA = 0x7FE00010
MOST_INFLATED = 2**27 + 2**24  # bytes: 16 bits for each of the most pixels, and a header
ELEMENT_BYTES = 8  # of the shortest element; fewer at the end of a file are padding
MOST_READS = 500_000  # two or three for an element
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
    except Rejected:
        raise
    except Exception:
        # Damaged files raise nearly any type in pydicom, and their texts may quote values of the header.
        raise Rejected(Reason.PARSE, "the DICOM file cannot be parsed to its end") from None
    missing = [name for name in _missing(dataset) if not (cut_off and name == "PixelData")]
    if missing:
        raise Rejected(Reason.REQUIRED_TAGS, "missing or empty: " + ", ".join(missing))
    return dataset


def _read(data: bytes, stop_before_pixels: bool = False) -> Dataset:
    """As `pydicom.dcmread` reads, which would inflate a deflated file however large it becomes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # pydicom only warns where a file stops in the middle of an element.
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
    """Whether the file was read to its end and ends with an element: pydicom stops, or cuts the last, without a word.

    Pixel data that is cut is the business of `display.decode`.
    """
    tags = list(dataset.keys())
    last = dataset.get_item(tags[-1]) if tags else None
    is_cut = isinstance(last, RawDataElement) and last.tag != PIXEL_DATA and len(last.value or b"") < last.length
    return not is_cut and len(io.BytesIO.read(file, ELEMENT_BYTES)) < ELEMENT_BYTES


class _Bounded(io.BytesIO):
    """A file that ends the reading of one made of countless elements, each of which costs a hundred times its bytes."""

    left = MOST_READS

    def read(self, size: int | None = -1, /) -> bytes:
        self.left -= 1
        if self.left < 0:
            raise Rejected(Reason.PARSE, "more elements than any image file has")
        return super().read(size)


def _inflated(deflated: bytes) -> bytes:
    """The dataset of a deflated file (PS3.5 A.5)."""
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = stream.decompress(deflated, MOST_INFLATED)
    if not stream.eof:
        why = "inflates to more than any image file has" if len(inflated) == MOST_INFLATED else "is cut off"
        raise Rejected(Reason.PARSE, f"the deflated file {why}")
    return inflated


def _missing(dataset: Dataset) -> list[str]:
    missing = [] if value(dataset.file_meta, "TransferSyntaxUID") else ["TransferSyntaxUID"]
    return missing + [name for name in REQUIRED if _absent(value(dataset, name))]


def _absent(found: Any) -> bool:
    return found is None or (hasattr(found, "__len__") and len(found) == 0)


def modality(dataset: Dataset) -> str:
    return text(dataset, "Modality").upper()


def patient_id(dataset: Dataset) -> str:
    return text(dataset, "PatientID")


def study_id(dataset: Dataset) -> str:
    return text(dataset, "StudyInstanceUID")


def view(dataset: Dataset) -> str:
    """ViewPosition where it is a code of PS3.3 C.8.7.1 or C.8.11.5, else empty: free text could name people."""
    code = text(dataset, "ViewPosition").upper()
    return code if code in VIEWS else ""


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
