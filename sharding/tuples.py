"""Study → SentenceTuple: one image and the sentences said of it, under pseudonyms.

In: `Study` rows. Out: what the writer needs of each, or why it was rejected. The order of the checks is the order of
`contract.Reason`. This module runs in worker processes; it writes no file.
"""

# H rows, W columns
from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from sharding import deid, pixels, reports, sentences
from sharding.contract import Reason, Rejected, Sentence, SentenceTuple
from sharding.picture import Grey, Picture
from sharding.sources import REPORT, Study

JPEG_QUALITY = 95
STAGES = {Reason.DECODE: "pixels", Reason.DEIDENTIFICATION: "pixels", Reason.TEXT: "report"}


@dataclass(frozen=True)
class TupleSettings:
    """What decides the bytes of a sample; stands in the manifest's metadata. `modalities` None takes any."""

    size: int = 1024
    image: str = "jpg"
    modalities: tuple[str, ...] | None = ("CR", "DX")
    allow_no_text: bool = False
    split_share: tuple[float, float, float] = (0.8, 0.1, 0.1)


@dataclass(frozen=True)
class Sample:
    """The bytes of one sample and its manifest row, which lacks the place in the shard."""

    key: str
    image: bytes
    description: bytes
    row: dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What became of one study: a sample, or a reason and a message; with its ledger rows and audit counts."""

    key: str
    ledger: list[tuple[str, str, str]]
    sample: Sample | None = None
    stage: str = ""
    reason: str = ""
    message: str = ""
    audit: Counter[str] = field(default_factory=Counter)


def make_all(studies: Iterable[Study], settings: TupleSettings, salt: bytes) -> list[Outcome]:
    """The outcome of each study, in order."""
    return [make(study, settings, salt) for study in studies]


def make(study: Study, settings: TupleSettings, salt: bytes) -> Outcome:
    """The sample of one study, or its rejection; never raises for what a file may hold."""
    key = deid.pseudonym(salt, "image", study.image)
    ledger = [("image", key, study.image)]
    audit: Counter[str] = Counter()
    try:
        row = _tuple(study, settings, salt, ledger, audit)
    except Rejected as rejected:
        stage = STAGES.get(rejected.reason, "header")
        return Outcome(key, ledger, None, stage, rejected.reason.value, rejected.message, audit)
    return Outcome(key, ledger, _sample(row), audit=audit)


def _tuple(
    study: Study, settings: TupleSettings, salt: bytes, ledger: list[tuple[str, str, str]], audit: Counter[str]
) -> SentenceTuple:
    raw = pixels.open_image(_bytes(study), study.path.name if study.path else "")
    if settings.modalities and raw.modality is not None and raw.modality not in settings.modalities:
        raise Rejected(Reason.MODALITY, f"modality is not one of {', '.join(settings.modalities)}")
    picture = pixels.shrink(raw.picture(), settings.size)
    if raw.burned_in:
        raise Rejected(
            Reason.DEIDENTIFICATION, "the header says BurnedInAnnotation YES: identity may stand in the pixels"
        )
    said = _sentences(study, raw.identifiers, audit)
    if not said and not settings.allow_no_text:
        raise Rejected(Reason.TEXT, "no sentence; --allow-no-text keeps such images")
    patient = _named(ledger, salt, "patient", study.patient or raw.patient or study.image)
    return SentenceTuple(
        key=ledger[0][1],
        image=_encode(picture.grey_HW, settings.image),
        image_member=settings.image,
        sentences=tuple(said),
        view=study.view or raw.view,
        study=_named(ledger, salt, "study", study.study or raw.study or study.image),
        patient=patient,
        split=study.split or split_of(patient, settings.split_share),
        geometry=_geometry(picture),
        pixels=picture.provenance,
    )


def _named(ledger: list[tuple[str, str, str]], salt: bytes, kind: str, source: str) -> str:
    name = deid.pseudonym(salt, kind, source)
    ledger.append((kind, name, source))
    return name


def split_of(patient: str, share: tuple[float, float, float]) -> str:
    """train, validate or test by the patient's pseudonym, so that nobody stands in two of them."""
    place = int(hashlib.sha256(patient.encode()).hexdigest()[:12], 16) / 16**12
    return "train" if place < share[0] else "validate" if place < share[0] + share[1] else "test"


def _bytes(study: Study) -> bytes:
    if study.path is None:
        raise Rejected(Reason.PARSE, "the image file is missing, or its name fits several files")
    try:
        return study.path.read_bytes()
    except OSError as error:
        raise Rejected(Reason.PARSE, f"the image file cannot be read ({error.strerror})") from None


def _sentences(study: Study, identifiers: tuple[str, ...], audit: Counter[str]) -> list[Sentence]:
    text, counts = deid.mask(_report(study), identifiers)
    audit.update(counts)
    found = reports.official(text) if study.layout == REPORT else reports.plain(text)
    return [sentence for part in found for sentence in sentences.split(text, part.name, part.start, part.end)]


def _report(study: Study) -> str:
    if study.text is not None:
        return study.text
    if study.text_path is None:
        return ""
    try:
        return study.text_path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise Rejected(Reason.TEXT, f"the report cannot be read ({error.strerror})") from None


def _geometry(picture: Picture) -> dict[str, Any]:
    return picture.geometry.as_dict()


def _encode(grey_HW: Grey, member: str) -> bytes:
    buffer = io.BytesIO()
    if member == "png":
        Image.fromarray(grey_HW).save(buffer, "PNG")
    else:
        Image.fromarray(grey_HW).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def _sample(row: SentenceTuple) -> Sample:
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
        "view": row.view,
        "patient": row.patient,
        "study": row.study,
        "split": row.split,
        "sentence_count": len(row.sentences),
        "text_hashes": [sentence.hash for sentence in row.sentences],
    }
    return Sample(row.key, row.image, description, manifest_row)
