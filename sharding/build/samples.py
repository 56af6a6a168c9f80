"""Source images → encoded samples, in a worker process.

In: `SourceImage` rows and a `WorkerConfig`. Out: the bytes of each sample and its manifest row, or why it was rejected.
What a sample holds is decided in `sentence_tuple`. This module writes no file.
"""

from __future__ import annotations

import hashlib
import json
import signal
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sharding.build.sentence_tuple import LedgerRows, WorkerConfig, record_pseudonym, sentence_tuple
from sharding.contract import Reason, Rejected, SentenceTuple, UserError
from sharding.sources import SourceImage

STAGES = {
    **dict.fromkeys((Reason.DECODE, Reason.PHOTOGRAPH, Reason.BLANK), "pixels"),
    **dict.fromkeys((Reason.DEIDENTIFICATION, Reason.PIXEL_TEXT), "pixels"),
    **{Reason.TEXT: "report", Reason.LANGUAGE: "report"},
}


@dataclass(frozen=True)
class EncodedSample:
    """The bytes of one sample and its manifest row, which lacks the shard and the offsets."""

    key: str
    image: bytes
    description: bytes
    row: dict[str, Any]


@dataclass(frozen=True)
class SampleReference:
    """A sample that has stayed on the machine that made it: which of the samples of a chunk."""

    chunk: Any
    place: int
    node: str


@dataclass(frozen=True)
class SampleResult:
    """What became of one image: a sample, or a reason and a message; with its ledger rows and audit counts."""

    key: str
    ledger: LedgerRows
    sample: EncodedSample | SampleReference | None = None
    stage: str = ""
    reason: str = ""
    message: str = ""
    audit: Counter[str] = field(default_factory=Counter)


def make_samples(images: Iterable[SourceImage], config: WorkerConfig) -> list[SampleResult]:
    """The result of each image, in order. A decoder that crashes or hangs ends the process."""
    results = []
    for image in images:
        # The signal's default action ends the process, even inside a decoder written in C.
        signal.setitimer(signal.ITIMER_REAL, config.timeout)
        results.append(make_sample(image, config))
        signal.setitimer(signal.ITIMER_REAL, 0)
    return results


def make_sample(image: SourceImage, config: WorkerConfig) -> SampleResult:
    """The sample of one image, or its rejection; no content of a file raises."""
    ledger: LedgerRows = []
    key = _image_key(ledger, config.salt, image)
    audit: Counter[str] = Counter()
    try:
        sample = _encoded(sentence_tuple(image, key, config, ledger, audit))
    except Rejected as rejected:
        return _rejection(key, ledger, rejected)
    except UserError:
        raise  # an unreachable store is no fault of the image
    except Exception as error:
        # No input ends a build. The text of an unforeseen error may quote the input, its type does not.
        return _rejection(key, ledger, Rejected(Reason.DECODE, f"unforeseen {type(error).__name__}; please report it"))
    return SampleResult(key, ledger, sample, audit=audit)


def _rejection(key: str, ledger: LedgerRows, rejected: Rejected) -> SampleResult:
    stage = STAGES.get(rejected.reason, "header")
    return SampleResult(key, ledger, None, stage, rejected.reason.value, rejected.message)


def crash_result(image: SourceImage, config: WorkerConfig) -> SampleResult:
    """The rejection of an image that ended its worker process."""
    ledger: LedgerRows = []
    key = _image_key(ledger, config.salt, image)
    message = f"the decoder crashed on this file, or did not end within {config.timeout:g} seconds"
    return _rejection(key, ledger, Rejected(Reason.DECODE, message))


def _image_key(ledger: LedgerRows, salt: bytes, image: SourceImage) -> str:
    key = record_pseudonym(ledger, salt, "image", image.id)
    if image.file:
        ledger.append(("file", key, image.file))
    return key


def _encoded(row: SentenceTuple) -> EncodedSample:
    description = json.dumps(row.as_json(), sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    manifest_row = {
        "key": row.key,
        "image_member": row.image_member,
        "image_bytes": len(row.image),
        "image_sha256": hashlib.sha256(row.image).hexdigest(),
        "json_bytes": len(description),
        "json_sha256": hashlib.sha256(description).hexdigest(),
        "width": row.geometry["width"],
        "height": row.geometry["height"],
        "image_likeness": row.perceptual_hash,  # the column name of format 2
        "view": row.view,
        "patient": row.patient,
        "study": row.study,
        "split": row.split,
        "sentence_count": len(row.sentences),
        "text_hashes": [sentence.hash for sentence in row.sentences],
    }
    return EncodedSample(row.key, row.image, description, manifest_row)
