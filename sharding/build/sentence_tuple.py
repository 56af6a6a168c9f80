"""One source image → SentenceTuple: the encoded image and the sentences of its report, under pseudonyms.

In: a `SourceImage` and a `WorkerConfig`. Out: a `SentenceTuple`, ledger rows and audit counts, or `Rejected`. The order
of the checks is that of `contract.Reason`. Processes and results are in `samples`.
"""

# H rows, W columns
from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from PIL import Image
from pydicom import Dataset

from sharding import pixels
from sharding.build.inputs import input_file, report_sentences
from sharding.contract import Reason, Rejected, SentenceTuple
from sharding.deid import deidentified_dicom, pixel_text, pseudonyms, secondary_captures
from sharding.leaks import perceptual_hash
from sharding.pixels import header
from sharding.pixels.checks import blank, noticed
from sharding.pixels.picture import MAX_PIXELS, Grey, Picture
from sharding.sources import SourceImage
from sharding.sources.tables.photometric import INVERTED
from sharding.sources.tables.views import FRONTAL

JPEG_QUALITY = 95
TIMEOUT = 120.0  # seconds for one image; the decoders need less than one, a store that stalls may need more

BLANK = "blank"  # the count of pictures that say nothing and were kept
OTHER_MODEL = "other photometric"  # of those whose header contradicts the table

LedgerRows = list[tuple[str, str, str]]  # kind, pseudonym, source id


@dataclass(frozen=True)
class SampleSettings:
    """What decides the bytes of a sample; part of the manifest's metadata. None takes any modality or language."""

    size: int = 1024
    image: str = "jpg"
    modalities: tuple[str, ...] | None = ("CR", "DX")
    allow_no_text: bool = False
    languages: tuple[str, ...] | None = ("en",)
    frontal_only: bool = True
    chest_only: bool = True
    reject_blank: float | None = None
    max_megapixels: int = MAX_PIXELS // 2**20
    strict_captures: bool = False
    pixel_text: str | None = None  # the engine that looks for text in the pixels
    split_share: tuple[float, float, float] = (0.8, 0.1, 0.1)


@dataclass(frozen=True)
class WorkerConfig:
    """What a worker needs beside the image: settings, the salt, and which patients are the same as which."""

    settings: SampleSettings
    salt: bytes
    same_patient: Mapping[str, str] = field(default_factory=dict)
    timeout: float = TIMEOUT


def sentence_tuple(
    image: SourceImage, key: str, config: WorkerConfig, ledger: LedgerRows, audit: Counter[str]
) -> SentenceTuple:
    """The sample of one image; adds to `ledger` and `audit`. Raises Rejected; UserError if a store is unreachable."""
    settings = config.settings
    raw = pixels.open_image(input_file.image_bytes(image), image.file)
    view = image.view or raw.view
    _check_examination(raw, view, settings)
    if raw.size > settings.max_megapixels * 2**20:
        raise Rejected(Reason.DECODE, f"more than {settings.max_megapixels} megapixels, the limit of --max-megapixels")
    picture = _as_stated(raw.picture(), image, raw.dataset, audit)
    if settings.chest_only and raw.is_photograph():
        raise Rejected(Reason.PHOTOGRAPH, "its colours are those of a photograph; --body-part any takes it")
    if settings.reject_blank is not None and blank.largest_share(picture.grey_HW) >= settings.reject_blank:
        raise Rejected(Reason.BLANK, f"one grey level has {settings.reject_blank:g} of the picture or more")
    refusal = secondary_captures.refusal(raw.dataset, settings.strict_captures) if raw.dataset else ""
    if refusal:
        raise Rejected(Reason.DEIDENTIFICATION, refusal)
    if settings.pixel_text and pixel_text.shows_text(picture.grey_HW):
        raise Rejected(Reason.PIXEL_TEXT, "the picture shows text that is no side marker")
    audit.update(secondary_captures.counted(raw.dataset))
    is_blank = blank.says_nothing(picture.grey_HW)
    picture, seen = noticed.judged(picture, not is_blank and (not view or view in FRONTAL))
    audit.update([*seen, BLANK] if is_blank else seen)
    report = report_sentences.of_image(image, raw.dataset, settings.languages, audit)
    if not report and not settings.allow_no_text:
        raise Rejected(Reason.TEXT, "no sentence; --allow-no-text keeps such images")
    study_id = image.study or raw.study or image.id
    # A study of nobody known is one patient's: all of its images go into one split.
    patient = record_pseudonym(ledger, config.salt, "patient", image.patient or raw.patient or study_id)
    patient = config.same_patient.get(patient, patient)
    study = record_pseudonym(ledger, config.salt, "study", study_id)
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


def _check_examination(raw: pixels.RawImage, view: str, settings: SampleSettings) -> None:
    if settings.modalities and raw.modality is not None and raw.modality not in settings.modalities:
        raise Rejected(Reason.MODALITY, f"modality is not one of {', '.join(settings.modalities)}")
    if settings.chest_only and raw.other_body:
        what = f"{raw.other_body.lower()}, not a human chest"
        raise Rejected(Reason.BODY_PART, f"the header says: {what}; --body-part any takes it")
    if settings.frontal_only and view and view not in FRONTAL:
        raise Rejected(Reason.MODALITY, "the header says that the view is not frontal; --views all takes it")


def _as_stated(picture: Picture, image: SourceImage, dataset: Dataset | None, audit: Counter[str]) -> Picture:
    """The picture as the table's column of the colour model says; a DICOM header knows better."""
    if dataset is not None:
        said, own = image.photometric, header.text(dataset, "PhotometricInterpretation").upper()
        audit.update([OTHER_MODEL] if said and (said == INVERTED) != (own == INVERTED) else [])
        return picture
    if image.photometric != INVERTED:
        return picture
    return replace(picture, grey_HW=255 - picture.grey_HW, provenance=picture.provenance | {"inverted": "by the table"})


def record_pseudonym(ledger: LedgerRows, salt: bytes, kind: str, source: str) -> str:
    """The pseudonym of a source id, which is added to the ledger."""
    pseudonym = pseudonyms.pseudonym(salt, kind, source)
    ledger.append((kind, pseudonym, source))
    return pseudonym


def split_of(patient: str, share: tuple[float, float, float]) -> str:
    """train, validate or test by the patient's pseudonym, so that nobody is in two of them."""
    position = int(hashlib.sha256(patient.encode()).hexdigest()[:12], 16) / 16**12
    return "train" if position < share[0] else "validate" if position < share[0] + share[1] else "test"


def _encode(grey_HW: Grey, member: str) -> bytes:
    buffer = io.BytesIO()
    if member == "png":
        Image.fromarray(grey_HW).save(buffer, "PNG")
    else:
        Image.fromarray(grey_HW).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()
