"""One source image → one sample: the encoded image and the sentences of its report, under pseudonyms.

In: `SourceImage` rows and a `WorkerConfig`. Out: the bytes of each sample and its manifest row, or why it was rejected.
Checks run in the order of `contract.Reason`. This module runs in worker processes and writes no file.
"""

# H rows, W columns
from __future__ import annotations

import hashlib
import io
import json
import signal
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from PIL import Image
from pydicom import Dataset

from sharding import pixels
from sharding.contract import Reason, Rejected, Sentence, SentenceTuple, UserError
from sharding.deid import deidentified_dicom, header_identifiers, pseudonyms, secondary_captures
from sharding.deid.reports import scan
from sharding.deid.reports.identifiers import identifiers_of
from sharding.leaks import perceptual_hash
from sharding.pixels.picture import Grey
from sharding.sources import REPORT, SourceImage
from sharding.sources.tables.views import FRONTAL
from sharding.store import locations
from sharding.text import sections, sentences

JPEG_QUALITY = 95
TIMEOUT = 120.0  # seconds for one image; the decoders need less than one, a store that stalls may need more
STAGES = {Reason.DECODE: "pixels", Reason.DEIDENTIFICATION: "pixels", Reason.TEXT: "report"}

LedgerRows = list[tuple[str, str, str]]  # kind, pseudonym, source id


@dataclass(frozen=True)
class SampleSettings:
    """What decides the bytes of a sample; part of the manifest's metadata. `modalities` None takes any."""

    size: int = 1024
    image: str = "jpg"
    modalities: tuple[str, ...] | None = ("CR", "DX")
    allow_no_text: bool = False
    frontal_only: bool = True
    strict_captures: bool = False
    split_share: tuple[float, float, float] = (0.8, 0.1, 0.1)


@dataclass(frozen=True)
class WorkerConfig:
    """What a worker needs beside the image: settings, the salt, and which patients are the same as which."""

    settings: SampleSettings
    salt: bytes
    same_patient: Mapping[str, str] = field(default_factory=dict)
    timeout: float = TIMEOUT


@dataclass(frozen=True)
class EncodedSample:
    """The bytes of one sample and its manifest row, which lacks the shard and the offsets."""

    key: str
    image: bytes
    description: bytes
    row: dict[str, Any]


@dataclass(frozen=True)
class SampleResult:
    """What became of one image: a sample, or a reason and a message; with its ledger rows and audit counts."""

    key: str
    ledger: LedgerRows
    sample: EncodedSample | None = None
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
        sample = _encoded(_sentence_tuple(image, key, config, ledger, audit))
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


def _sentence_tuple(
    image: SourceImage, key: str, config: WorkerConfig, ledger: LedgerRows, audit: Counter[str]
) -> SentenceTuple:
    settings = config.settings
    raw = pixels.open_image(_bytes(image), image.file)
    view = image.view or raw.view
    _check_modality_and_view(raw, view, settings)
    picture = raw.picture()
    refusal = secondary_captures.refusal(raw.dataset, settings.strict_captures) if raw.dataset else ""
    if refusal:
        raise Rejected(Reason.DEIDENTIFICATION, refusal)
    audit.update(secondary_captures.counted(raw.dataset))
    report = _sentences(image, raw.dataset, audit)
    if not report and not settings.allow_no_text:
        raise Rejected(Reason.TEXT, "no sentence; --allow-no-text keeps such images")
    patient = _pseudonym(ledger, config.salt, "patient", image.patient or raw.patient or image.id)
    patient = config.same_patient.get(patient, patient)
    study = _pseudonym(ledger, config.salt, "study", image.study or raw.study or image.id)
    if settings.image == "dcm" and raw.dataset:
        data = deidentified_dicom.dicom(raw.dataset, key=key, study=study, patient=patient, salt=config.salt)
        member = "dcm"
    else:
        picture = pixels.shrink(picture, settings.size)
        member = "jpg" if settings.image == "jpg" else "png"
        data = _encode(picture.grey_HW, member)
    return SentenceTuple(
        key=key,
        image=data,
        image_member=member,
        sentences=tuple(report),
        view=view,
        study=study,
        patient=patient,
        split=image.split or split_of(patient, settings.split_share),
        geometry=picture.geometry.as_dict(),
        pixels=picture.provenance,
        perceptual_hash=perceptual_hash.of(picture.grey_HW),
    )


def _check_modality_and_view(raw: pixels.RawImage, view: str, settings: SampleSettings) -> None:
    if settings.modalities and raw.modality is not None and raw.modality not in settings.modalities:
        raise Rejected(Reason.MODALITY, f"modality is not one of {', '.join(settings.modalities)}")
    if settings.frontal_only and view and view not in FRONTAL:
        raise Rejected(Reason.MODALITY, "the header says that the view is not frontal; --views all takes it")


def _image_key(ledger: LedgerRows, salt: bytes, image: SourceImage) -> str:
    key = _pseudonym(ledger, salt, "image", image.id)
    if image.file:
        ledger.append(("file", key, image.file))
    return key


def _pseudonym(ledger: LedgerRows, salt: bytes, kind: str, source: str) -> str:
    pseudonym = pseudonyms.pseudonym(salt, kind, source)
    ledger.append((kind, pseudonym, source))
    return pseudonym


def split_of(patient: str, share: tuple[float, float, float]) -> str:
    """train, validate or test by the patient's pseudonym, so that nobody is in two of them."""
    position = int(hashlib.sha256(patient.encode()).hexdigest()[:12], 16) / 16**12
    return "train" if position < share[0] else "validate" if position < share[0] + share[1] else "test"


def _bytes(image: SourceImage) -> bytes:
    if not image.file:
        raise Rejected(Reason.PARSE, "the image file is missing, or its name fits several files")
    try:
        return locations.read(image.file)
    except OSError as error:
        raise Rejected(Reason.PARSE, f"the image file cannot be read ({error.strerror})") from None


def _sentences(image: SourceImage, dataset: Dataset | None, audit: Counter[str]) -> list[Sentence]:
    known = identifiers_of(ids=[image.patient, image.study], files=[image.id, image.file])
    if dataset:
        known |= header_identifiers.identifiers(dataset)
    text, counts = scan.mask(_report(image), known)
    audit.update(counts)
    parts = sections.official(text) if image.layout == REPORT else sections.plain(text)
    return [sentence for part in parts for sentence in sentences.split(text, part.name, part.start, part.end)]


def _report(image: SourceImage) -> str:
    if image.text is not None:
        return image.text
    if not image.text_file:
        return ""
    try:
        return locations.read(image.text_file).decode("utf-8", errors="replace")
    except OSError as error:
        raise Rejected(Reason.TEXT, f"the report cannot be read ({error.strerror})") from None


def _encode(grey_HW: Grey, member: str) -> bytes:
    buffer = io.BytesIO()
    if member == "png":
        Image.fromarray(grey_HW).save(buffer, "PNG")
    else:
        Image.fromarray(grey_HW).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


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
