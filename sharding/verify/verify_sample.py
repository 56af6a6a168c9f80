"""The two members of a sample and its manifest row → what they disagree in.

In: bytes whose checksums agree already, and a row. Out: words for each fault, without a word of the report or the
header: what is wrong may be an identity.
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

MOST_JSON = 16 << 20
# What Pillow tells of a picture that holds pixels alone.
PLAIN_INFO = frozenset(("jfif", "jfif_version", "jfif_unit", "jfif_density", "dpi"))
FORMATS = {"jpg": "JPEG", "png": "PNG"}
# What `deidentified_dicom` adds to what `header_allow_list` lets through.
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
    """What is wrong with an image member, by its header: the pixels are what the checksum says they are."""
    try:
        found = pixels.open_image(data)
    except Rejected as rejected:
        return [f"no readable image: {rejected.message}"]
    wanted = (row["width"], row["height"])
    if found.raster is not None:
        return _raster_faults(found.raster, row["image_member"], wanted)
    assert found.dataset is not None, "an image is a raster or a data set"
    if row["image_member"] != "dcm":
        return ["DICOM, and named otherwise"]
    try:
        return _dicom_faults(found.dataset, row["patient"], wanted)
    except Exception:
        return ["no readable image: its header is damaged"]  # pydicom raises nearly any type for damaged values


def _raster_faults(image: Image.Image, member: str, wanted: tuple[int, int]) -> list[str]:
    faults = []
    if image.format != FORMATS.get(member):
        faults.append(f"{image.format}, and named otherwise")
    if image.size != wanted:
        faults.append(f"{image.width} x {image.height} pixels, its row says {wanted[0]} x {wanted[1]}")
    if image.mode != "L":
        faults.append("not grey in 8 bits")
    if set(image.info) - PLAIN_INFO:
        faults.append("holds more than pixels (a comment, EXIF or a profile); it may identify somebody")
    return faults


def _dicom_faults(dataset: Dataset, patient: str, wanted: tuple[int, int]) -> list[str]:
    """Whether the header has nothing but what `deidentified_dicom` writes, for this patient."""
    allowed = header_allow_list.released(dataset)
    more = [
        element
        for element in dataset
        if not element.is_empty and element.keyword not in RELEASED.split() and allowed.get(element.tag) != element
    ]
    faults = ["holds a header that a build would not let out; it may identify somebody"] if more else []
    if (dataset.get("PatientID"), dataset.get("PatientIdentityRemoved")) != (patient, "YES"):
        faults.append("is of another patient than its row, or not de-identified")
    sides = list(zip(wanted, (dataset.Columns, dataset.Rows), strict=True))
    # The display enlarges one side at most, where pixels are not square.
    if any(shown < stored for shown, stored in sides) or all(shown != stored for shown, stored in sides):
        faults.append("is of another size than its row says")
    return faults


def description_faults(data: bytes, row: Row) -> list[str]:
    """What is wrong with a KEY.json."""
    if len(data) > MOST_JSON:
        return [f"larger than {MOST_JSON >> 20} MB"]
    try:
        said = json.loads(data)
        return _faults_of_fields(said) or _disagreements(said, row)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ["cannot be read"]


def _faults_of_fields(said: Any) -> list[str]:
    """No field but those of the format: another could say who it is."""
    if set(said) != FIELDS or said["format_version"] != FORMAT_VERSION:
        return [f"has other fields than format {FORMAT_VERSION}"]
    parts = [set(sentence) == SENTENCE_FIELDS for sentence in said["sentences"]]
    if not all(parts) or set(said["geometry"]) != GEOMETRY_FIELDS:
        return ["has other fields inside than a build writes"]
    if not all(isinstance(value, str) for value in said["pixels"].values()):
        return ["tells of the pixels what is no text"]
    return [] if all(map(_is_sane, said["sentences"])) else ["has a sentence without text, place or tags"]


def _is_sane(sentence: Mapping[str, Any]) -> bool:
    start, end = sentence["start"], sentence["end"]
    placed = type(start) is int and type(end) is int and 0 <= start < end
    tagged = isinstance(sentence["tags"], list) and all(isinstance(tag, str) for tag in sentence["tags"])
    return placed and tagged and bool(sentence["text"].strip()) and isinstance(sentence["section"], str)


def _disagreements(said: Any, row: Row) -> list[str]:
    hashes = [text_hash(sentence["text"]) for sentence in said["sentences"]]
    faults = []
    if [sentence["hash"] for sentence in said["sentences"]] != hashes:
        faults.append("has a sentence that its hash does not fit")
    if hashes != row["text_hashes"] or row["sentence_count"] != len(hashes):
        faults.append("and its row disagree about the sentences")
    if (said["geometry"]["height"], said["geometry"]["width"]) != (row["height"], row["width"]):
        faults.append("and its row disagree about the size")
    different = [name for name in ("view", "study", "patient", "split") if said[name] != row[name]]
    return faults + ([f"and its row disagree about {', '.join(different)}"] if different else [])
