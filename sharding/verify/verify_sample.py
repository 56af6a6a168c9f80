"""The two members of a sample and its manifest row → their disagreements.

In: bytes whose checksums agree already, and a row. Out: a text per fault, which quotes nothing of the report or the
header: a wrong value may be an identity.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from PIL import Image
from pydicom import Dataset

from sharding import pixels
from sharding.contract import FORMAT_VERSION, Rejected, Sentence, SentenceTuple, text_hash
from sharding.deid import header_allow_list
from sharding.pixels.picture import Geometry

MAX_JSON = 16 << 20
# The `info` of Pillow for a picture that holds only pixels.
PLAIN_INFO = frozenset(("jfif", "jfif_version", "jfif_unit", "jfif_density", "dpi"))
FORMATS = {"jpg": "JPEG", "png": "PNG"}
# What `deidentified_dicom` adds to the elements that `header_allow_list` keeps.
RELEASED = """
    SOPClassUID SOPInstanceUID StudyInstanceUID SeriesInstanceUID ConversionType PatientID PatientIdentityRemoved
    DeidentificationMethod DeidentificationMethodCodeSequence LongitudinalTemporalInformationModified
    LossyImageCompression LossyImageCompressionMethod RescaleType SamplesPerPixel PhotometricInterpretation
    PlanarConfiguration Rows Columns BitsAllocated BitsStored HighBit PixelRepresentation PixelData
"""
NOT_IN_JSON = {"key", "image", "image_member", "perceptual_hash"}
FIELDS = {field.name for field in dataclasses.fields(SentenceTuple)} - NOT_IN_JSON | {"format_version"}
SENTENCE_FIELDS = {field.name for field in dataclasses.fields(Sentence)} | {"hash"}
GEOMETRY_FIELDS = {field.name for field in dataclasses.fields(Geometry)}

Row = Mapping[str, Any]


def image_faults(data: bytes, row: Row) -> list[str]:
    """The faults of an image member by its header; its pixels are covered by the checksum."""
    try:
        image = pixels.open_image(data)
    except Rejected as rejected:
        return [f"no readable image: {rejected.message}"]
    size = (row["width"], row["height"])
    if image.raster is not None:
        return _raster_faults(image.raster, row["image_member"], size)
    assert image.dataset is not None, "an image is a raster or a DICOM data set"
    if row["image_member"] != "dcm":
        return ["is DICOM, unlike its name"]
    try:
        return _dicom_faults(image.dataset, row["patient"], size)
    except Exception:
        return ["no readable image: its header is damaged"]  # pydicom raises nearly any type for damaged values


def _raster_faults(image: Image.Image, member: str, size: tuple[int, int]) -> list[str]:
    faults = []
    if image.format != FORMATS.get(member):
        faults.append(f"is {image.format}, unlike its name")
    if image.size != size:
        faults.append(f"has {image.width} x {image.height} pixels, {size[0]} x {size[1]} in its row")
    if image.mode != "L":
        faults.append("is not 8-bit grey")
    if set(image.info) - PLAIN_INFO:
        faults.append("holds more than pixels (a comment, EXIF or a profile), which may identify somebody")
    return faults


def _dicom_faults(dataset: Dataset, patient: str, size: tuple[int, int]) -> list[str]:
    """The faults of a header that must hold only what `deidentified_dicom` writes, for this patient."""
    allowed = header_allow_list.allowed(dataset)
    extra = [
        element
        for element in dataset
        if not element.is_empty and element.keyword not in RELEASED.split() and allowed.get(element.tag) != element
    ]
    faults = ["holds a header element that a build never writes, which may identify somebody"] if extra else []
    if (dataset.get("PatientID"), dataset.get("PatientIdentityRemoved")) != (patient, "YES"):
        faults.append("has another patient than its row, or is not de-identified")
    sides = list(zip(size, (dataset.Columns, dataset.Rows), strict=True))
    # The display enlarges at most one side, if pixels are not square.
    if any(shown < stored for shown, stored in sides) or all(shown != stored for shown, stored in sides):
        faults.append("has another size than its row")
    return faults


def description_faults(data: bytes, row: Row) -> list[str]:
    """The faults of a KEY.json."""
    if len(data) > MAX_JSON:
        return [f"is larger than {MAX_JSON >> 20} MB"]
    try:
        content = json.loads(data)
        return _faults_of_fields(content) or _disagreements(content, row)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ["cannot be read"]


def _faults_of_fields(content: Any) -> list[str]:
    """Only fields of the format are allowed: any other may identify somebody."""
    if set(content) != FIELDS or content["format_version"] != FORMAT_VERSION:
        return [f"has other fields than format {FORMAT_VERSION}"]
    parts = [set(sentence) == SENTENCE_FIELDS for sentence in content["sentences"]]
    if not all(parts) or set(content["geometry"]) != GEOMETRY_FIELDS:
        return ["has other nested fields than a build writes"]
    if not all(isinstance(value, str) for value in content["pixels"].values()):
        return ["has pixel provenance that is not text"]
    return [] if all(map(_is_valid, content["sentences"])) else ["has a sentence without text, offsets or tags"]


def _is_valid(sentence: Mapping[str, Any]) -> bool:
    start, end = sentence["start"], sentence["end"]
    has_offsets = type(start) is int and type(end) is int and 0 <= start < end
    has_tags = isinstance(sentence["tags"], list) and all(isinstance(tag, str) for tag in sentence["tags"])
    return has_offsets and has_tags and bool(sentence["text"].strip()) and isinstance(sentence["section"], str)


def _disagreements(content: Any, row: Row) -> list[str]:
    hashes = [text_hash(sentence["text"]) for sentence in content["sentences"]]
    faults = []
    if [sentence["hash"] for sentence in content["sentences"]] != hashes:
        faults.append("has a sentence whose hash is wrong")
    if hashes != row["text_hashes"] or row["sentence_count"] != len(hashes):
        faults.append("and its row disagree about the sentences")
    if (content["geometry"]["height"], content["geometry"]["width"]) != (row["height"], row["width"]):
        faults.append("and its row disagree about the size")
    different = [name for name in ("view", "study", "patient", "split") if content[name] != row[name]]
    return faults + ([f"and its row disagree about {', '.join(different)}"] if different else [])
