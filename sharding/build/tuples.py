"""Study → SentenceTuple: one image and the sentences said of it, under pseudonyms.

In: `SourceImage` rows and a `Recipe`. Out: what the writer needs of each, or why it was rejected. The order of the
checks is the order of `contract.Reason`. This module runs in worker processes; it writes no file.
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
from sharding.deid import deidentified_dicom, header_identifiers, pseudonyms, scan, secondary_captures
from sharding.deid.identifiers import identifiers_of
from sharding.leaks import perceptual_hash
from sharding.pixels.picture import Grey
from sharding.sources import REPORT, SourceImage
from sharding.sources.tables.views import FRONTAL
from sharding.store import locations
from sharding.text import sections, sentences

JPEG_QUALITY = 95
TIMEOUT = 120.0  # seconds for one study; the decoders need less than one, a store that stalls may need more
STAGES = {Reason.DECODE: "pixels", Reason.DEIDENTIFICATION: "pixels", Reason.TEXT: "report"}


@dataclass(frozen=True)
class TupleSettings:
    """What decides the bytes of a sample; stands in the manifest's metadata. `modalities` None takes any."""

    size: int = 1024
    image: str = "jpg"
    modalities: tuple[str, ...] | None = ("CR", "DX")
    allow_no_text: bool = False
    frontal_only: bool = True
    strict_captures: bool = False
    split_share: tuple[float, float, float] = (0.8, 0.1, 0.1)


@dataclass(frozen=True)
class Recipe:
    """All that a worker needs beside the study: settings, the salt, and which patients are the same as which."""

    settings: TupleSettings
    salt: bytes
    same_patient: Mapping[str, str] = field(default_factory=dict)
    timeout: float = TIMEOUT


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


def make_all(studies: Iterable[SourceImage], recipe: Recipe) -> list[Outcome]:
    """The outcome of each study, in order, in a process that a decoder may take down: one that hangs ends it too."""
    outcomes = []
    for study in studies:
        signal.setitimer(
            signal.ITIMER_REAL, recipe.timeout
        )  # the default action ends the process, even inside a C decoder
        outcomes.append(make(study, recipe))
        signal.setitimer(signal.ITIMER_REAL, 0)
    return outcomes


def make(study: SourceImage, recipe: Recipe) -> Outcome:
    """The sample of one study, or its rejection; never raises for what a file may hold."""
    key = pseudonyms.pseudonym(recipe.salt, "image", study.image)
    ledger = [("image", key, study.image)]
    audit: Counter[str] = Counter()
    try:
        row = _tuple(study, recipe, ledger, audit)
    except Rejected as rejected:
        return _rejection(key, ledger, rejected)
    except UserError:
        raise  # a store out of reach is no fault of the study
    except Exception as error:
        # No input ends a build; the text of an unforeseen error may quote the input, its type does not.
        return _rejection(key, ledger, Rejected(Reason.DECODE, f"unforeseen {type(error).__name__}; please report it"))
    return Outcome(key, ledger, _sample(row), audit=audit)


def _rejection(key: str, ledger: list[tuple[str, str, str]], rejected: Rejected) -> Outcome:
    stage = STAGES.get(rejected.reason, "header")
    return Outcome(key, ledger, None, stage, rejected.reason.value, rejected.message)


def crashed(study: SourceImage, recipe: Recipe) -> Outcome:
    """The rejection of a study that took its process down."""
    key = pseudonyms.pseudonym(recipe.salt, "image", study.image)
    message = f"the decoder crashed on this file, or did not end within {recipe.timeout:g} seconds"
    return _rejection(key, [("image", key, study.image)], Rejected(Reason.DECODE, message))


def _tuple(
    study: SourceImage, recipe: Recipe, ledger: list[tuple[str, str, str]], audit: Counter[str]
) -> SentenceTuple:
    settings = recipe.settings
    raw = pixels.open_image(_bytes(study), study.file)
    view = study.view or raw.view
    _check_wanted(raw, view, settings)
    picture = raw.picture()
    refusal = secondary_captures.refusal(raw.dataset, settings.strict_captures) if raw.dataset else ""
    if refusal:
        raise Rejected(Reason.DEIDENTIFICATION, refusal)
    audit.update(secondary_captures.counted(raw.dataset))
    said = _sentences(study, raw.dataset, audit)
    if not said and not settings.allow_no_text:
        raise Rejected(Reason.TEXT, "no sentence; --allow-no-text keeps such images")
    patient = _named(ledger, recipe.salt, "patient", study.patient or raw.patient or study.image)
    patient = recipe.same_patient.get(patient, patient)
    key, name = ledger[0][1], _named(ledger, recipe.salt, "study", study.study or raw.study or study.image)
    if settings.image == "dcm" and raw.dataset:
        image = deidentified_dicom.dicom(raw.dataset, key=key, study=name, patient=patient, salt=recipe.salt)
        member = "dcm"
    else:
        picture = pixels.shrink(picture, settings.size)
        member = "jpg" if settings.image == "jpg" else "png"
        image = _encode(picture.grey_HW, member)
    return SentenceTuple(
        key=key,
        image=image,
        image_member=member,
        sentences=tuple(said),
        view=view,
        study=name,
        patient=patient,
        split=study.split or split_of(patient, settings.split_share),
        geometry=picture.geometry.as_dict(),
        pixels=picture.provenance,
        likeness=perceptual_hash.of(picture.grey_HW),
    )


def _check_wanted(raw: pixels.RawImage, view: str, settings: TupleSettings) -> None:
    if settings.modalities and raw.modality is not None and raw.modality not in settings.modalities:
        raise Rejected(Reason.MODALITY, f"modality is not one of {', '.join(settings.modalities)}")
    if settings.frontal_only and view and view not in FRONTAL:
        raise Rejected(Reason.MODALITY, "the header says that the view is not frontal; --views all takes it")


def _named(ledger: list[tuple[str, str, str]], salt: bytes, kind: str, source: str) -> str:
    name = pseudonyms.pseudonym(salt, kind, source)
    ledger.append((kind, name, source))
    return name


def split_of(patient: str, share: tuple[float, float, float]) -> str:
    """train, validate or test by the patient's pseudonym, so that nobody stands in two of them."""
    place = int(hashlib.sha256(patient.encode()).hexdigest()[:12], 16) / 16**12
    return "train" if place < share[0] else "validate" if place < share[0] + share[1] else "test"


def _bytes(study: SourceImage) -> bytes:
    if not study.file:
        raise Rejected(Reason.PARSE, "the image file is missing, or its name fits several files")
    try:
        return locations.read(study.file)
    except OSError as error:
        raise Rejected(Reason.PARSE, f"the image file cannot be read ({error.strerror})") from None


def _sentences(study: SourceImage, dataset: Dataset | None, audit: Counter[str]) -> list[Sentence]:
    known = identifiers_of(ids=[study.patient, study.study], files=[study.image, study.file])
    if dataset:
        known |= header_identifiers.identifiers(dataset)
    text, counts = scan.mask(_report(study), known)
    audit.update(counts)
    found = sections.official(text) if study.layout == REPORT else sections.plain(text)
    return [sentence for part in found for sentence in sentences.split(text, part.name, part.start, part.end)]


def _report(study: SourceImage) -> str:
    if study.text is not None:
        return study.text
    if not study.text_file:
        return ""
    try:
        return locations.read(study.text_file).decode("utf-8", errors="replace")
    except OSError as error:
        raise Rejected(Reason.TEXT, f"the report cannot be read ({error.strerror})") from None


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
        "image_likeness": row.likeness,
        "view": row.view,
        "patient": row.patient,
        "study": row.study,
        "split": row.split,
        "sentence_count": len(row.sentences),
        "text_hashes": [sentence.hash for sentence in row.sentences],
    }
    return Sample(row.key, row.image, description, manifest_row)
