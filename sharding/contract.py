"""The format of shards and manifests, shared by the sharding tool and the training stream.

In: nothing. Out: row types, manifest schema, key rule, text hash, errors. Nothing is read or written here.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

import pyarrow as pa

FORMAT_VERSION = "2"
MANIFEST_NAME = "manifest.parquet"
QUARANTINE_NAME = "quarantine.parquet"
AUDIT_NAME = "audit.json"
CHECKSUMS_NAME = "SHA256SUMS"
PROBE_NAME = ".probe-"  # begins the names of files that are there for a moment, to see who can write to the output
IMAGE_MEMBERS = ("jpg", "png", "dcm")
SPLITS = ("train", "validate", "test")
SHARD_NAME = "shard-{:06d}.tar"
SHARD_PATTERN = re.compile(r"shard-[0-9]{6,12}\.tar")  # no folder, no scheme
# webdataset takes everything after the first dot as the member's extension, so a key has none.
KEY_PATTERN = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


class UserError(ValueError):
    """A user's mistake, in one line that says what is wrong and how to correct it; the command line exits with 2."""


class Reason(StrEnum):
    """Why an input was rejected: the first of these that applies, in this order."""

    ABSENT = "image not in the input"
    NO_IMAGE = "no image"
    PARSE = "parse"
    REQUIRED_TAGS = "required tags"
    MODALITY = "modality"
    BODY_PART = "body part"
    DECODE = "decode"
    PHOTOGRAPH = "photograph"
    BLANK = "blank"
    DEIDENTIFICATION = "de-identification"
    PIXEL_TEXT = "text in the pixels"
    TEXT = "text"
    LANGUAGE = "language"


# What is left out because nobody asked for it: no fault of the input, and no reason for a build to fail.
NO_FAULT = frozenset((Reason.NO_IMAGE, Reason.MODALITY, Reason.BODY_PART, Reason.PHOTOGRAPH, Reason.BLANK))
NO_FAULT |= {Reason.PIXEL_TEXT, Reason.LANGUAGE}


class Rejected(Exception):
    """One input that cannot become a sample: it is quarantined and never ends a build. The message names nobody."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason, self.message = reason, message


@dataclass(frozen=True)
class Sentence:
    """One sentence of a report; `start` and `end` are character offsets into the report's text."""

    text: str
    section: str
    start: int
    end: int
    tags: tuple[str, ...] = ()

    @property
    def hash(self) -> str:
        return text_hash(self.text)


@dataclass(frozen=True)
class SentenceTuple:
    """One sample: an encoded image, the sentences of its report and the origin of both (pseudonyms only).

    `perceptual_hash` serves the search for near-duplicates; only the manifest holds it (column `image_likeness`).
    """

    key: str
    image: bytes
    image_member: str
    sentences: tuple[Sentence, ...]
    view: str
    study: str
    patient: str
    split: str
    geometry: dict[str, Any]
    pixels: dict[str, str] = field(default_factory=dict)
    perceptual_hash: str = ""

    def as_json(self) -> dict[str, Any]:
        """The content of KEY.json (docs/formats.md, shards)."""
        return {
            "format_version": FORMAT_VERSION,
            "sentences": [{**asdict(s), "tags": list(s.tags), "hash": s.hash} for s in self.sentences],
            "view": self.view,
            "study": self.study,
            "patient": self.patient,
            "split": self.split,
            "geometry": self.geometry,
            "pixels": self.pixels,
        }


MANIFEST_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("shard", pa.string()),
        ("image_member", pa.string()),
        ("image_offset", pa.int64()),
        ("image_bytes", pa.int64()),
        ("image_sha256", pa.string()),
        ("json_offset", pa.int64()),
        ("json_bytes", pa.int64()),
        ("json_sha256", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("image_likeness", pa.string()),
        ("view", pa.string()),
        ("patient", pa.string()),
        ("study", pa.string()),
        ("split", pa.string()),
        ("sentence_count", pa.int32()),
        ("text_hashes", pa.list_(pa.string())),
    ]
)
# The schema's metadata, all values JSON: format_version, settings, shards {name: {sha256, bytes, samples}}, counts;
# `checksums` names the file of the checksums beside it, and is not there in a data set of an earlier version.
METADATA_KEYS = ("format_version", "settings", "shards", "counts")
CHECKSUMS_KEY = "checksums"


def normal_form(text: str) -> str:
    """NFKC, case-folded, punctuation to space, spaces collapsed (docs/method.md, duplicate-aware targets)."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join("".join(c if c.isalnum() else " " for c in folded).split())


def text_hash(text: str) -> str:
    """sha256 of the normal form, hexadecimal: equal for sentences with the same words."""
    return hashlib.sha256(normal_form(text).encode()).hexdigest()
