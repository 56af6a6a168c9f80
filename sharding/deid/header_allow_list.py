"""The elements of a DICOM header that may leave, and in what form: all others are dropped.

In: a parsed dataset. Out: a new dataset with what the display of the image needs and a few coded facts about it. After
the Basic Application Level Confidentiality Profile (PS3.15 E.2), but stricter: no free text, no date, no device, and
coded words only from the lists below. No value is copied: each is read, checked and encoded anew. Pixels, UIDs and
pseudonyms: `deidentified_dicom`.
"""

# E entries of a lookup table, C colour channels
from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.multival import MultiValue
from pydicom.valuerep import format_number_as_ds

from sharding.pixels.decode.palette import Palette
from sharding.pixels.examination import VIEWS
from sharding.pixels.header import value
from sharding.pixels.transforms import lookup

DECIMAL = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
ORIENTATION = re.compile(r"[LRAPHF]{1,3}")
# PS3.3 C.7.3.1.1.1, the modalities of images
MODALITIES = """
    AR BI BMD CR CT DG DX EM ES FID FS GM IO IVUS LS MG MR NM OAM OP OPM OPT OPTBSV OPTENF OT PT PX RF RG SM TG US XA XC
"""
# PS3.16 annex L, the parts that radiographs show
BODY_PARTS = """
    ABDOMEN ABDOMENPELVIS ACJOINT ANKLE ARM BREAST CALCANEUS CHEST CHESTABDOMEN CHESTABDPELVIS CLAVICLE COCCYX CSPINE
    CTSPINE ELBOW EXTREMITY FEMUR FINGER FOOT FOREARM HAND HEAD HEART HIP HUMERUS JAW KNEE LEG LSPINE LSSPINE LUNG
    MEDIASTINUM NECK ORBIT PELVIS RIB SCAPULA SCJOINT SHOULDER SIJOINT SKULL SPINE SSPINE STERNUM THIGH THORAX THUMB
    TLSPINE TOE TSPINE WHOLEBODY WRIST ZYGOMA
"""
UNITS = "OD HU US MGML Z_EFF ED EDW HU_MOD PCT"  # PS3.3 C.11.1.1.2
VIEW_CODES, REGION_CODES = "cid4010", "cid4009"  # PS3.16, DX View and DX Anatomy Imaged

Clean = Callable[[Any], Any]


def allowed(dataset: Dataset) -> Dataset:
    """The elements that may leave; damaged values raise any exception."""
    kept = Dataset()
    for name, clean in ELEMENTS.items():
        cleaned = clean(value(dataset, name))
        if cleaned is not None:
            setattr(kept, name, cleaned)
    _add_padding(kept, dataset)
    _add_tables(kept, dataset, "ModalityLUTSequence", {"ModalityLUTType": _one_of(UNITS, "US")})
    _add_tables(kept, dataset, "VOILUTSequence", {})
    _add_palette(kept, dataset)
    _add_codes(kept, dataset, "ViewCodeSequence", VIEW_CODES)
    _add_codes(kept, dataset, "AnatomicRegionSequence", REGION_CODES)
    return kept


def _values(raw: Any) -> list[Any]:
    return list(raw) if isinstance(raw, list | MultiValue) else [] if raw is None else [raw]


def _one_of(words: str | Iterable[str], otherwise: str | None = None) -> Clean:
    """The word if it is one of these, else `otherwise`."""
    listed = frozenset(words.split() if isinstance(words, str) else words)

    def clean(raw: Any) -> str | None:
        word = str(raw).strip().upper() if raw is not None else ""
        return word if word in listed else otherwise

    return clean


def _each_of(*positions: str) -> Clean:
    """The words of a multi-valued element, each from the list of its position; further ones are dropped."""

    def clean(raw: Any) -> list[str] | None:
        words = [str(word).strip().upper() for word in _values(raw)][: len(positions)]
        agree = all(word in listed.split() for word, listed in zip(words, positions, strict=False))
        return words if agree and len(words) == len(positions) else None

    return clean


def _decimals(raw: Any) -> list[str] | None:
    """Decimal strings (VR DS), up to the first that is not a finite number."""
    numbers = itertools.takewhile(lambda number: number is not None, map(_decimal, _values(raw)))
    return [number for number in numbers if number is not None] or None


def _decimal(raw: Any) -> str | None:
    """The decimal as written if it has at most 16 characters, else the nearest that has."""
    try:
        number = float(raw)
    except (TypeError, ValueError):
        return None
    written = str(raw).strip()
    if not math.isfinite(number):
        return None
    return written if len(written) <= 16 and DECIMAL.fullmatch(written) else format_number_as_ds(number)


def _integers(raw: Any) -> list[int] | None:
    try:
        return [int(number) for number in _values(raw)] or None
    except (TypeError, ValueError):
        return None


def _spacing(raw: Any) -> list[str] | None:
    """Two positive decimals; some writers give zeros for an unknown spacing."""
    numbers = _decimals(raw) or []
    return numbers if len(numbers) == 2 and all(float(number) > 0 for number in numbers) else None


def _sign(raw: Any) -> int | None:
    return raw if raw in (-1, 1) else None


def _orientation(raw: Any) -> list[str] | None:
    words = [str(word).strip() for word in _values(raw)]
    return words if len(words) == 2 and all(ORIENTATION.fullmatch(word) for word in words) else None


# Keyword of an element at the top level → how its value is cleaned.
ELEMENTS: dict[str, Clean] = {
    "ImageType": _each_of("ORIGINAL DERIVED", "PRIMARY SECONDARY"),
    "Modality": _one_of(MODALITIES, "OT"),
    "ConversionType": _one_of("DV DI DF WSD SYN"),
    "PresentationIntentType": _one_of(("FOR PRESENTATION", "FOR PROCESSING")),
    "BodyPartExamined": _one_of(BODY_PARTS),
    "ViewPosition": _one_of(VIEWS),
    "PatientOrientation": _orientation,
    "Laterality": _one_of("L R"),
    "ImageLaterality": _one_of("L R U B"),
    "BurnedInAnnotation": _one_of("NO"),
    "RecognizableVisualFeatures": _one_of("NO"),
    "PixelSpacing": _spacing,
    "ImagerPixelSpacing": _spacing,
    "PixelAspectRatio": _integers,
    "PixelIntensityRelationship": _one_of("LIN LOG DISP"),
    "PixelIntensityRelationshipSign": _sign,
    "RescaleIntercept": _decimals,
    "RescaleSlope": _decimals,
    "RescaleType": _one_of(UNITS),
    "WindowCenter": _decimals,
    "WindowWidth": _decimals,
    "VOILUTFunction": _one_of("LINEAR LINEAR_EXACT SIGMOID"),
    "PresentationLUTShape": _one_of("IDENTITY INVERSE"),
    "LossyImageCompression": _one_of("00 01"),
    "LossyImageCompressionRatio": _decimals,
    "LossyImageCompressionMethod": _one_of("ISO_10918_1 ISO_14495_1 ISO_15444_1 ISO_15444_15"),
}


def _add_padding(kept: Dataset, dataset: Dataset) -> None:
    for tag, name in ((0x00280120, "PixelPaddingValue"), (0x00280121, "PixelPaddingRangeLimit")):
        numbers = _integers(value(dataset, name))
        if numbers:
            _add_short(kept, tag, numbers[:1])


def _add_short(item: Dataset, tag: int, numbers: list[int]) -> None:
    """16-bit numbers as SS if one is negative, else as US: the VR of the source may contradict its pixels."""
    item.add_new(tag, "SS" if min(numbers) < 0 else "US", numbers if len(numbers) > 1 else numbers[0])


def _add_tables(kept: Dataset, dataset: Dataset, name: str, facts: dict[str, Clean]) -> None:
    """The lookup tables of a sequence without their explanations (PS3.3 C.11), up to the first damaged one."""
    items = []
    for source in value(dataset, name) or ():
        try:
            item = _table(source)
        except Exception:
            # Only the first table is displayed, and decoding the image has read it.
            break
        for fact, clean in facts.items():
            setattr(item, fact, clean(value(source, fact)))
        items.append(item)
    if items:
        setattr(kept, name, items)


def _table(source: Dataset) -> Dataset:
    count, first, bits = (int(number) for number in source.LUTDescriptor)
    entries = count or 2**16
    entries_E, _ = lookup(np.arange(first, first + entries), source)
    item = Dataset()
    _add_descriptor(item, 0x00283002, entries, first, bits)
    item.add_new(0x00283006, "OW", entries_E.astype("<u2").tobytes())
    return item


def _add_descriptor(item: Dataset, tag: int, entries: int, first: int, bits: int) -> None:
    """The three numbers of a lookup table; the count wraps if the first value is negative (PS3.3 C.11.1.1)."""
    count = entries % 2**16
    _add_short(item, tag, [count - 2**16 if first < 0 and count >= 2**15 else count, first, bits])


def _add_palette(kept: Dataset, dataset: Dataset) -> None:
    """The palette in full, also if the source has it in segments (PS3.3 C.7.9)."""
    if value(dataset, "PhotometricInterpretation") != "PALETTE COLOR":
        return
    palette = Palette.of(dataset)
    rgb_EC = palette.rgb_EC
    if len(rgb_EC) % 2:
        # An even number of bytes; values beyond the table map to its last entry anyway.
        rgb_EC = np.concatenate([rgb_EC, rgb_EC[-1:]])
    for channel in range(3):
        _add_descriptor(kept, 0x00281101 + channel, len(rgb_EC), palette.first, palette.bits)
        table_E = rgb_EC[:, channel].astype("<u2" if palette.bits > 8 else "u1")
        kept.add_new(0x00281201 + channel, "OW", table_E.tobytes())


def _add_codes(kept: Dataset, dataset: Dataset, name: str, group: str) -> None:
    """Items of a code sequence that a context group of PS3.16 lists, with the meaning of the group."""
    sequence = value(dataset, name)
    if not sequence:
        return
    from pydicom.sr.codedict import codes  # takes half a second
    from pydicom.sr.coding import Code

    items = []
    known = {code.value: code for code in getattr(codes, group).concepts.values()}
    for source in sequence:
        written = Code(str(value(source, "CodeValue")), str(value(source, "CodingSchemeDesignator")), "")
        code = known.get(written.value) or next((code for code in known.values() if code == written), None)
        if code is not None and code == written:
            item = Dataset()
            item.CodeValue, item.CodingSchemeDesignator = code.value, code.scheme_designator
            item.CodeMeaning = code.meaning
            items.append(item)
    if items:
        setattr(kept, name, items)
