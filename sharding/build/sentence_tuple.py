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
from sharding.contract import Reason, Rejected, Sentence, SentenceTuple, UserError
from sharding.deid import deidentified_dicom, header_identifiers, pixel_text, pseudonyms, secondary_captures
from sharding.deid.reports import masking
from sharding.deid.reports.identifiers import identifiers_of
from sharding.leaks import perceptual_hash
from sharding.pixels import blank
from sharding.pixels.picture import Grey
from sharding.sources import REPORT, SourceImage
from sharding.sources.tables.views import FRONTAL
from sharding.store import locations
from sharding.text import encoding, language, sections, sentences
from sharding.text.readable import readable

JPEG_QUALITY = 95
TIMEOUT = 120.0  # seconds for one image; the decoders need less than one, a store that stalls may need more

BLANK = "blank"  # the count of pictures that say nothing and were kept

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
    raw = pixels.open_image(_bytes(image), image.file)
    view = image.view or raw.view
    _check_examination(raw, view, settings)
    picture = raw.picture()
    if settings.reject_blank is not None and blank.largest_share(picture.grey_HW) >= settings.reject_blank:
        raise Rejected(Reason.BLANK, f"one grey level has {settings.reject_blank:g} of the picture or more")
    refusal = secondary_captures.refusal(raw.dataset, settings.strict_captures) if raw.dataset else ""
    if refusal:
        raise Rejected(Reason.DEIDENTIFICATION, refusal)
    if settings.pixel_text and pixel_text.shows_text(picture.grey_HW):
        raise Rejected(Reason.PIXEL_TEXT, "the picture shows text that is no side marker")
    audit.update(secondary_captures.counted(raw.dataset))
    if blank.says_nothing(picture.grey_HW):
        audit[BLANK] += 1
    report = _sentences(image, raw.dataset, settings.languages, audit)
    if not report and not settings.allow_no_text:
        raise Rejected(Reason.TEXT, "no sentence; --allow-no-text keeps such images")
    patient = record_pseudonym(ledger, config.salt, "patient", image.patient or raw.patient or image.id)
    patient = config.same_patient.get(patient, patient)
    study = record_pseudonym(ledger, config.salt, "study", image.study or raw.study or image.id)
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


def record_pseudonym(ledger: LedgerRows, salt: bytes, kind: str, source: str) -> str:
    """The pseudonym of a source id, which is added to the ledger."""
    pseudonym = pseudonyms.pseudonym(salt, kind, source)
    ledger.append((kind, pseudonym, source))
    return pseudonym


def split_of(patient: str, share: tuple[float, float, float]) -> str:
    """train, validate or test by the patient's pseudonym, so that nobody is in two of them."""
    position = int(hashlib.sha256(patient.encode()).hexdigest()[:12], 16) / 16**12
    return "train" if position < share[0] else "validate" if position < share[0] + share[1] else "test"


def _bytes(image: SourceImage) -> bytes:
    if not image.file:
        if image.several:
            raise Rejected(Reason.PARSE, "the image's name fits several files; name it with its folder")
        raise Rejected(Reason.ABSENT, "no file of this name in the input; --partial allows it")
    return _read(image.file, "the image file", Reason.PARSE)


def _read(location: str, what: str, reason: Reason) -> bytes:
    """A file, without gzip. Raises Rejected if it cannot be read, UserError if the store is out of reach."""
    try:
        data = locations.read(location)
    except OSError as error:
        raise Rejected(reason, f"{what} cannot be read ({error.strerror})") from None
    try:
        return encoding.inflated(data, what)
    except UserError as error:
        raise Rejected(reason, str(error)) from None


def _sentences(
    image: SourceImage, dataset: Dataset | None, languages: tuple[str, ...] | None, audit: Counter[str]
) -> list[Sentence]:
    report = _report(image)
    spoken = language.of(report)
    if report.strip() and languages and spoken not in languages:
        raise Rejected(Reason.LANGUAGE, f"the report's language is {spoken}; --languages takes it")
    known = identifiers_of(ids=[image.patient, image.study], files=[image.id, image.file])
    if dataset:
        known |= header_identifiers.identifiers(dataset)
    text, counts = masking.mask(report, known)
    audit.update(counts)
    parts = sections.official(text) if image.layout == REPORT else sections.plain(text)
    found = [sentence for part in parts for sentence in sentences.split(text, part.name, part.start, part.end)]
    # The rules of tags are English.
    return found if spoken == language.ENGLISH else [replace(sentence, tags=()) for sentence in found]


def _report(image: SourceImage) -> str:
    """The readable text of the report, empty for none. Raises Rejected(TEXT) for one that cannot be decoded or read."""
    if image.text is not None or not image.text_file:
        return readable(image.text or "")
    data = _read(image.text_file, "the report", Reason.TEXT)
    try:
        text = encoding.text(data, "the report", "save it in UTF-8")
    except UserError as error:
        raise Rejected(Reason.TEXT, str(error)) from None
    return readable(text)


def _encode(grey_HW: Grey, member: str) -> bytes:
    buffer = io.BytesIO()
    if member == "png":
        Image.fromarray(grey_HW).save(buffer, "PNG")
    else:
        Image.fromarray(grey_HW).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()
