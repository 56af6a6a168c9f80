"""Which elements of a DICOM header may leave, and in what form: all others are dropped.

In: a parsed dataset. Out: a new dataset with what the display of the image needs and a few coded facts about it. After
the Basic Application Level Confidentiality Profile (PS3.15 E.2), but stricter: no free text, no date, no device, and a
coded word only from the lists below. Nothing is copied: every value is read, checked and written anew. Pixels, UIDs and
pseudonyms are the business of `deidentified_dicom`.
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
from pydicom.pixels import apply_color_lut
from pydicom.valuerep import format_number_as_ds

from sharding.pixels.header import VIEWS, value
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


def released(dataset: Dataset) -> Dataset:
    """The elements that may leave; raises what damaged values raise."""
    kept = Dataset()
    for name, clean in ELEMENTS.items():
        found = clean(value(dataset, name))
        if found is not None:
            setattr(kept, name, found)
    _add_padding(kept, dataset)
    _add_tables(kept, dataset, "ModalityLUTSequence", {"ModalityLUTType": _one_of(UNITS, "US")})
    _add_tables(kept, dataset, "VOILUTSequence", {})
    _add_palette(kept, dataset)
    _add_codes(kept, dataset, "ViewCodeSequence", VIEW_CODES)
    _add_codes(kept, dataset, "AnatomicRegionSequence", REGION_CODES)
    return kept


def _values(found: Any) -> list[Any]:
    return list(found) if isinstance(found, list | MultiValue) else [] if found is None else [found]


def _one_of(words: str | Iterable[str], otherwise: str | None = None) -> Clean:
    """The word if it is one of these, else another or none."""
    allowed = frozenset(words.split() if isinstance(words, str) else words)

    def clean(found: Any) -> str | None:
        word = str(found).strip().upper() if found is not None else ""
        return word if word in allowed else otherwise

    return clean


def _each_of(*places: str) -> Clean:
    """The words of a multi-valued element, each one of the list of its place; later ones are dropped."""

    def clean(found: Any) -> list[str] | None:
        words = [str(word).strip().upper() for word in _values(found)][: len(places)]
        agree = all(word in allowed.split() for word, allowed in zip(words, places, strict=False))
        return words if agree and len(words) == len(places) else None

    return clean


def _decimals(found: Any) -> list[str] | None:
    """Decimal strings (VR DS), up to the first that is no finite number."""
    numbers = itertools.takewhile(lambda number: number is not None, map(_decimal, _values(found)))
    return [number for number in numbers if number is not None] or None


def _decimal(found: Any) -> str | None:
    """As written, where that is a decimal of at most 16 characters; the nearest such decimal for longer ones."""
    try:
        number = float(found)
    except (TypeError, ValueError):
        return None
    written = str(found).strip()
    if not math.isfinite(number):
        return None
    return written if len(written) <= 16 and DECIMAL.fullmatch(written) else format_number_as_ds(number)


def _whole(found: Any) -> list[int] | None:
    try:
        return [int(number) for number in _values(found)] or None
    except (TypeError, ValueError):
        return None


def _spacing(found: Any) -> list[str] | None:
    """Two positive decimals; some writers give zeros for what they do not know."""
    numbers = _decimals(found) or []
    return numbers if len(numbers) == 2 and all(float(number) > 0 for number in numbers) else None


def _sign(found: Any) -> int | None:
    return found if found in (-1, 1) else None


def _orientation(found: Any) -> list[str] | None:
    words = [str(word).strip() for word in _values(found)]
    return words if len(words) == 2 and all(ORIENTATION.fullmatch(word) for word in words) else None


# Keyword of an element at the top level → what may remain of its value.
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
    "PixelAspectRatio": _whole,
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
        numbers = _whole(value(dataset, name))
        if numbers:
            _add_short(kept, tag, numbers[:1])


def _add_short(item: Dataset, tag: int, numbers: list[int]) -> None:
    """Numbers of 16 bits as SS where one is negative, else as US: the source may have chosen against its pixels."""
    item.add_new(tag, "SS" if min(numbers) < 0 else "US", numbers if len(numbers) > 1 else numbers[0])


def _add_tables(kept: Dataset, dataset: Dataset, name: str, facts: dict[str, Clean]) -> None:
    """The lookup tables of a sequence without their explanations (PS3.3 C.11.1 and C.11.2); none that is damaged."""
    items = []
    for source in value(dataset, name) or ():
        try:
            item = _table(source)
        except Exception:
            # Only the first table is displayed; whether it can be read was decided when the image was decoded.
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
    """The three numbers of a lookup table; the count wraps where the first value is negative (PS3.3 C.11.1.1)."""
    count = entries % 2**16
    _add_short(item, tag, [count - 2**16 if first < 0 and count >= 2**15 else count, first, bits])


def _add_palette(kept: Dataset, dataset: Dataset) -> None:
    """The palette written out, whether it came whole or in segments (PS3.3 C.7.9)."""
    if value(dataset, "PhotometricInterpretation") != "PALETTE COLOR":
        return
    count, first, _ = (int(number) for number in dataset.RedPaletteColorLookupTableDescriptor)
    rgb_EC = apply_color_lut(np.arange(first, first + (count or 2**16)), dataset)
    if len(rgb_EC) % 2:
        rgb_EC = np.concatenate([rgb_EC, rgb_EC[-1:]])  # bytes come in pairs, and all values beyond are the last
    bits = rgb_EC.dtype.itemsize * 8
    for channel in range(3):
        _add_descriptor(kept, 0x00281101 + channel, len(rgb_EC), first, bits)
        kept.add_new(0x00281201 + channel, "OW", rgb_EC[:, channel].astype(f"<u{bits // 8}").tobytes())


def _add_codes(kept: Dataset, dataset: Dataset, name: str, group: str) -> None:
    """Items of a code sequence that a context group of PS3.16 lists, with the meaning that the group gives."""
    found = value(dataset, name)
    if not found:
        return
    from pydicom.sr.codedict import codes  # takes half a second
    from pydicom.sr.coding import Code

    items = []
    known = {code.value: code for code in getattr(codes, group).concepts.values()}
    for source in found:
        written = Code(str(value(source, "CodeValue")), str(value(source, "CodingSchemeDesignator")), "")
        code = known.get(written.value) or next((code for code in known.values() if code == written), None)
        if code is not None and code == written:
            item = Dataset()
            item.CodeValue, item.CodingSchemeDesignator = code.value, code.scheme_designator
            item.CodeMeaning = code.meaning
            items.append(item)
    if items:
        setattr(kept, name, items)
